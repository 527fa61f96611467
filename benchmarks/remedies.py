"""Leakage and accuracy of one model under remedies that need no defense, and beside one.

    python benchmarks/remedies.py

Random forests on scikit-learn's breast cancer table, and on made-up records whose labels are wrong
in one of five: audits of 16 models each, by an attacker with 15 shadow models.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dynanoise.audits.estimator import audit
from dynanoise.core.files import write_json
from dynanoise.core.result import STRONGEST
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.integrations.out_of_fold.classifier import OutOfFoldClassifier

REMEDIES: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "out-of-fold answers": {"folds": 5},
    "min_samples_leaf=10": {"min_samples_leaf": 10},
    "min_samples_leaf=40": {"min_samples_leaf": 40},
    "max_depth=4": {"max_depth": 4},
    "max_samples=0.2": {"max_samples": 0.2},
    "half of the features": {"features": 0.5},
    "logistic regression": {"linear": True},
}
"""Parameters of the forest, or another change."""


def estimator_of(changes: Mapping[str, Any], features: int) -> Any:
    """Make the classifier of a remedy."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.feature_selection import SelectKBest
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if "folds" in changes:
        return OutOfFoldClassifier(RandomForestClassifier(), **changes)
    if "linear" in changes:
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    if "features" in changes:
        kept = SelectKBest(k=round(changes["features"] * features))
        return make_pipeline(kept, RandomForestClassifier())
    return RandomForestClassifier(**changes)


def tables() -> dict[str, tuple[Any, Any]]:
    """Load inputs and labels by name."""
    from sklearn.datasets import load_breast_cancer, make_classification

    noisy = make_classification(
        2000, n_features=20, n_informative=5, n_redundant=5, flip_y=0.2, random_state=0
    )
    return {
        "breast_cancer": load_breast_cancer(return_X_y=True),
        "noisy labels": noisy,
    }


def measure(X: Any, y: Any, changes: Mapping[str, Any], defense: str | None) -> list[Any]:
    """Audit one remedy, and the defense beside it where one is named."""
    report = audit(estimator_of(changes, X.shape[1]), X, y, defense=defense, queries=(1,))
    rows = []
    for method in dict.fromkeys(result.method for result in report.results):
        mine = [result for result in report.results if result.method == method]
        attack = next(result.metrics for result in mine if result.attack == STRONGEST)
        utility = next(result.metrics for result in mine if result.attack is None)
        names = {"auc": attack, "asr": attack, "accuracy": utility, "train_accuracy": utility}
        rows.append({name: vars(metrics[name]) for name, metrics in names.items()})
    return rows


def main() -> None:
    """Measure every remedy on every table, and write a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/remedies.json"))
    out = parser.parse_args().out
    rows = []
    for name, (X, y) in tables().items():
        for remedy, changes in REMEDIES.items():
            defense = None if changes else "calibrated_label"
            labels = [remedy, "calibrated_label"]
            for label, row in zip(labels, measure(X, y, changes, defense), strict=False):
                rows.append({"data": name, "remedy": label, "records": len(y), **row})
                sys.stderr.write(f"{name}, {label}: AUC {row['auc']['value']:.3f}\n")
    write_json(
        out,
        {
            "command": "python benchmarks/remedies.py",
            "models": 16,
            "rows": rows,
            "versions": versions(),
            "hardware": hardware(),
        },
    )


if __name__ == "__main__":
    main()
