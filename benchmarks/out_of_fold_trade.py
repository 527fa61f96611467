"""Accuracy of out-of-fold answers against the strongest attack: K, widths and neighbourhoods.

    python -m benchmarks.out_of_fold_trade --out results/benchmarks/out_of_fold_trade.json

Forests on 600 digits, which leak more than networks: 8 models each trained on a random half, each
the target once, the others its shadow models with the same cells (the key is known). The attacker
queries

- "direct": the record itself;
- "near": and versions with Gaussian noise of each standard deviation of `DISTANCES`;
- "records": the 8 records that are most like it, where a model answers that may have seen it;
- "points": the 8 nearest of 80 noisy versions, where such a model answers.

The last two are indirect: the record itself is not queried, and the learned attack weights the
outputs as shadow models teach it. `python -m docs.generate` draws the picture. Settings that are in
the file already are kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from dynanoise.core.defense import Method
from dynanoise.core.files import write_json
from dynanoise.core.numerics import Int64
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.registry import DATASETS, PRESETS
from dynanoise.data.near_duplicates import NearNumbers
from dynanoise.data.splits import pool_split
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.engine import Task, measure
from dynanoise.evaluation.protocols import adaptive
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.partition.cells import Cells
from dynanoise.partition.neighbourhood import NumberNoise
from dynanoise.sklearn import OutOfFoldClassifier

MODELS, TREES = 8, 30
DISTANCES = (0.02, 0.05, 0.1, 0.2, 0.4)
INDIRECT, DRAWS = 8, 16
"""Indirect queries of a record, and noisy versions of each size from which they are chosen."""

ATTACKS = ("lira", "learned", "label_only")
SHAPES = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.02), (1.0, 0.05), (2.0, 0.05))
"""Widths of the cells, and radii of the neighbourhood."""

SETTINGS: tuple[dict[str, float], ...] = (
    {},
    *(
        {"models": models, "width": width, "noise": noise}
        for width, noise in SHAPES
        for models in (2, 5, 10, 20)
    ),
)


def cells_of(reference: Any, setting: Mapping[str, float]) -> Cells | None:
    """Fit the cells of a setting; None for the undefended model."""
    if not setting:
        return None
    near = NumberNoise(setting["noise"]) if setting["noise"] else None
    folds, width = int(setting["models"]), setting["width"]
    return Cells.fit(reference, folds=folds, width=width, neighbourhood=near, standardise=False)


def run(setting: Mapping[str, float]) -> dict[str, Any]:
    """Train and attack the pool of a setting.

    Args:
        setting: number of models, width and noise; empty for the undefended model.
    """
    data, size = DATASETS.get("digits")(), PRESETS.get("digits").size(None)
    split = pool_split(data, size.pool, MODELS, size.reference, 0)
    cells = cells_of(data.inputs[split.reference], setting)
    ids = split.attacked
    near = list(NearNumbers(DISTANCES, draws=1).of(data.inputs[ids], ids))
    chosen = {"direct": data.inputs[ids][:, None], "near": np.stack(near, axis=1)}
    chosen |= indirect(data.inputs[ids], ids, cells)
    queries = np.concatenate(list(chosen.values()), axis=1)
    queried = np.concatenate([queries.reshape(-1, queries.shape[2]), data.inputs[split.test]])
    logits, kept = [], []
    for number, row in enumerate(split.use):
        members = split.pool[row == 1]
        model: Any = RandomForestClassifier(TREES, random_state=number)
        if cells is not None:
            model = OutOfFoldClassifier(
                RandomForestClassifier(TREES), cells=cells, random_state=number
            )
        model.fit(data.inputs[members], data.labels[members])
        if cells is not None:
            model.verify(data.inputs[members])
            kept.append(model.exclusion_.kept)
        probs = np.maximum(model.predict_proba(queried), 0.1 / TREES)
        logits.append(np.log(probs / probs.sum(axis=1, keepdims=True)).astype(np.float32))
    stacked = np.stack(logits)
    count = len(ids) * queries.shape[1]
    records = stacked[:, :count].reshape(MODELS, len(ids), queries.shape[1], -1)

    def outputs(logits: Any, ids: Int64, use: Any) -> Outputs:
        return Outputs(logits, data.labels[ids], ids, use.astype(np.int8))

    def pool(inputs: list[int]) -> Pool:
        part = records[:, :, inputs]
        nobody = [np.zeros((MODELS, len(group))) for group in (split.test, split.reference)]
        places = [np.searchsorted(ids, group) for group in (split.pool, split.reference)]
        return Pool(
            records=outputs(part[:, places[0]], split.pool, split.use),
            test=outputs(stacked[:, count:, None], split.test, nobody[0]),
            reference=outputs(part[:, places[1]], split.reference, nobody[1]),
            seed=0,
            split=split.digest,
            random=np.zeros((MODELS, 1, data.classes), np.float32),
        )

    result: dict[str, Any] = {**setting, "kept": float(np.mean(kept)) if kept else 1.0}
    result["attacks"] = {}
    start = 0
    for name, inputs in chosen.items():
        # Near-duplicates are queried beside the record, indirect queries instead of it.
        first = 0 if name == "near" else start
        part = pool(list(range(first, start + inputs.shape[1])))
        start += inputs.shape[1]
        protocol = replace(adaptive(near=name != "direct"), attacks=ATTACKS)
        measurement = measure(Task(Method("none", undefended()), ShadowPool(part), protocol))
        result["attacks"][name] = {
            attack.scores.name: [getattr(attack.metrics["auc"], end) for end in _ENDS]
            for attack in measurement.attacks
            if attack.scores.name in ATTACKS
        }
        if name == "direct":
            for metric in ("accuracy", "nll"):
                values = [model[metric].value for model in measurement.utility]
                result[metric] = float(np.mean(values))
    return result


_ENDS = ("value", "low", "high")


def indirect(rows: Any, ids: Int64, cells: Cells | None) -> dict[str, Any]:
    """Choose queries that models answer which may have seen the record.

    Args:
        rows: [n, F], the attacked records, among which the attacker looks for similar ones.
        ids: int64 [n], their ids.
        cells: the partition, which the attacker knows; None for one model, which answers all.

    Returns:
        "records" and "points", each [n, INDIRECT, F], the nearest first. A record for which there
        are too few has some of them again, or itself where there is none.
    """
    noise = NearNumbers(DISTANCES, draws=DRAWS, seed=1)
    points = np.stack(list(noise.of(rows, ids)), axis=1)
    others, other_folds = ~np.eye(len(rows), dtype=bool), np.zeros(len(rows), np.int64)
    left_out = np.zeros((len(rows), 1), dtype=bool)
    folds = np.zeros(points.shape[:2], np.int64)
    if cells is not None:
        left_out, other_folds = cells.touched(rows).T, cells.fold(rows)
        folds = cells.fold(points.reshape(-1, rows.shape[1])).reshape(folds.shape)
    similar = np.broadcast_to(rows, (len(rows), *rows.shape))
    return {
        "records": _nearest(rows, similar, others & ~left_out[:, other_folds]),
        "points": _nearest(rows, points, ~np.take_along_axis(left_out, folds, axis=1)),
    }


def _nearest(rows: Any, candidates: Any, usable: Any) -> Any:
    """The INDIRECT nearest usable candidates of each row: [n, INDIRECT, F] of [n, c, F]."""
    chosen = np.empty((len(rows), INDIRECT, rows.shape[1]), rows.dtype)
    for at, (row, options, allowed) in enumerate(zip(rows, candidates, usable, strict=True)):
        queries = options[allowed] if allowed.any() else row[None]
        order = ((queries - row) ** 2).sum(axis=1).argsort(kind="stable")
        chosen[at] = queries[np.resize(order[:INDIRECT], INDIRECT)]
    return chosen


def main() -> None:
    """Measure what the file lacks, and write it after every setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, nargs="*", help="positions in the list of settings")
    parser.add_argument("--out", type=Path, help="file of results, which is continued")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if options.out and options.out.exists():
        rows = json.loads(options.out.read_text())["rows"]
    finished = [
        {name: row[name] for name in ("models", "width", "noise") if name in row} for row in rows
    ]
    for position, setting in enumerate(SETTINGS):
        if setting in finished or (options.only is not None and position not in options.only):
            continue
        rows.append(run(setting))
        print(rows[-1], flush=True)
        if options.out:
            command = "python -m benchmarks.out_of_fold_trade --out FILE"
            about = {"command": command, "hardware": hardware(), "versions": versions(())}
            write_json(options.out, {**about, "rows": rows})


if __name__ == "__main__":
    main()
