"""Out-of-fold answers for scikit-learn: three tables, linear models, forests and boosting.

    python -m benchmarks.out_of_fold_tables --out results/benchmarks/out_of_fold_tables.json

The tables are breast_cancer, and two that scikit-learn makes: "ward", whose frame has a category,
and "visits", with four records of each patient, who are left out together. Of each 300 records take
part in the attack, 100 are the reference of the cells, the rest are test data. 12 models are each
trained on a random half; each is the target once. "near" queries have noise of 0.1 spreads of each
column.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from dynanoise.core.defense import Method
from dynanoise.core.files import write_json
from dynanoise.core.numerics import Int64
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.engine import Task, measure
from dynanoise.evaluation.protocols import ADAPTIVE
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.partition.cells import Cells
from dynanoise.partition.neighbourhood import NumberNoise
from dynanoise.sklearn import OutOfFoldClassifier

TARGETS, RECORDS, REFERENCE = 12, 300, 100
NEAR = NumberNoise(0.1, relative=True)

ESTIMATORS = {
    "linear": LogisticRegression(max_iter=2000),
    "forest": RandomForestClassifier(30, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=30, min_samples_leaf=5, random_state=0),
}

Group = Int64 | None


def table(name: str) -> tuple[pd.DataFrame, Int64, Group]:
    """Inputs, classes, and the patient of each record or None."""
    if name == "breast_cancer":
        X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        order = np.random.default_rng(0).permutation(len(X))
        return X.iloc[order].reset_index(drop=True), y.to_numpy()[order], None
    several = name == "visits"
    settings = {"n_informative": 5, "flip_y": 0.1, "random_state": 1}
    X, y = make_classification(200 if several else 700, 10, **settings)
    patients = None
    if several:
        X, y, patients = X.repeat(4, 0), y.repeat(4), np.arange(200).repeat(4)
        X = X + np.random.default_rng(0).normal(0, 0.2, X.shape)
    frame = pd.DataFrame(X, columns=[f"x{place}" for place in range(10)])
    if name == "ward":
        frame["ward"] = pd.cut(frame.pop("x0"), 4, labels=list("abcd")).astype(object)
    return frame, y, patients


def settings(reference: pd.DataFrame) -> dict[str, Cells | None]:
    """Cells by name; None for a classifier without them."""
    fitted: dict[str, Any] = {"components": 2}
    return {
        "none": None,
        "record, K = 5": Cells.fit(reference, folds=5, width=0),
        "width 1, K = 5": Cells.fit(reference, folds=5, width=1.0, **fitted),
        "width 1, near left out, K = 10": Cells.fit(
            reference, folds=10, width=1.0, neighbourhood=NEAR, **fitted
        ),
    }


def run(name: str, kind: str) -> list[dict[str, Any]]:
    """Train and attack the pools of a table and an estimator."""
    X, y, patients = table(name)
    reference, pool = X.iloc[-REFERENCE:], slice(RECORDS)
    test = slice(RECORDS, len(X) - REFERENCE)
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include=object)),
        remainder=StandardScaler(),
    )
    estimator = make_pipeline(encoder, ESTIMATORS[kind])
    coins = np.random.default_rng(3).random((TARGETS, RECORDS)) < 0.5
    if patients is not None:  # a patient is a member with all records
        coins = coins[:, (patients[pool] - patients[0]) * 4]
    numbers = X.iloc[pool].select_dtypes("number")
    near, scale = X.iloc[pool].copy(), reference.select_dtypes("number").std().to_numpy()
    near[numbers.columns] = NEAR.noisy(numbers.to_numpy(), np.random.default_rng(4), scale)
    rows = []
    for setting, cells in settings(reference).items():
        logits, kept = [], []
        for members in coins:
            ids = np.flatnonzero(members)
            if cells is None:
                model = clone(estimator).fit(X.iloc[ids], y[ids])
            else:
                groups = None if patients is None else patients[ids]
                model = OutOfFoldClassifier(estimator, cells=cells, random_state=0).fit(
                    X.iloc[ids], y[ids], groups=groups
                )
                model.verify(X.iloc[ids], groups=groups)
                kept.append(model.exclusion_.kept)
            queries = pd.concat([X.iloc[pool], near, X.iloc[test], reference])
            probs = np.clip(model.predict_proba(queries), 1e-6, 1)
            logits.append(np.log(probs / probs.sum(axis=1, keepdims=True)).astype(np.float32))
        stacked = np.stack(logits)
        count = len(X) - RECORDS - REFERENCE
        direct, close, rest = np.split(stacked, [RECORDS, 2 * RECORDS], axis=1)

        def outputs(part: Any, ids: Int64, use: Any) -> Outputs:
            return Outputs(part[:, :, None], y[ids], ids, use.astype(np.int8))

        def none(ids: Int64) -> Any:
            return np.zeros((TARGETS, len(ids)))

        row: dict[str, Any] = {"table": name, "estimator": kind, "setting": setting}
        tests, references = (
            np.arange(RECORDS, RECORDS + count),
            np.arange(len(X) - REFERENCE, len(X)),
        )
        for query, part in (("direct", direct), ("near", close)):
            models = Pool(
                records=outputs(part, np.arange(RECORDS), coins),
                test=outputs(rest[:, :count], tests, none(tests)),
                reference=outputs(rest[:, count:], references, none(references)),
                seed=0,
                split=name,
                random=np.zeros((TARGETS, 1, stacked.shape[2]), np.float32),
            )
            protocol = replace(ADAPTIVE, attacks=("lira", "label_only"))
            measured = measure(Task(Method("none", undefended()), ShadowPool(models), protocol))
            for attack in measured.attacks[:2]:
                value = attack.metrics["auc"]
                row[f"{query} {attack.scores.name}"] = [value.value, value.low, value.high]
        for metric in ("accuracy", "nll"):
            row[metric] = float(np.mean([model[metric].value for model in measured.utility]))
        rows.append({**row, "kept": float(np.mean(kept)) if kept else 1.0})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure all tables and estimators."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="file of results")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for kind in ESTIMATORS:
        for name in ("breast_cancer", "ward", "visits"):
            rows += run(name, kind)
            if options.out:
                command = "python -m benchmarks.out_of_fold_tables --out FILE"
                about = {"command": command, "hardware": hardware(), "versions": versions(())}
                write_json(options.out, {**about, "rows": rows})


if __name__ == "__main__":
    main()
