"""What out-of-fold answers cost and leave: accuracy, and attacks at growing distance from a record.

    python -m benchmarks.out_of_fold --store STORE --out results/benchmarks/out_of_fold.json
    python -m benchmarks.out_of_fold --settings none "models=5,width=0" --seeds 1 --store STORE

Digits as the preset has them: 600 records, 16 models each trained on a random half, each the target
once. A setting is the parameters of the recipe `out_of_fold`, or "none". "direct" queries are the
records themselves (repeated queries have the same outputs), those of a distance the records with
Gaussian noise of that standard deviation and nothing else, and "near" all of them. The key of the
cells is public: shadow models have the target's cells. Settings that are measured already are kept
in the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dynanoise.core.defense import Method
from dynanoise.core.files import write_json
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.registry import DATASETS, MODELS, PRESETS
from dynanoise.data.near_duplicates import NearNumbers
from dynanoise.data.splits import pool_split
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.engine import Task, measure
from dynanoise.evaluation.protocols import adaptive
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.training.designs import pool_jobs, pool_of
from dynanoise.training.execution.executors import InProcess
from dynanoise.training.recipes.out_of_fold import verify
from dynanoise.training.store.store import Store

MODELS_OF_A_POOL = 16
DISTANCES = (0.02, 0.05, 0.1, 0.2, 0.4)
ATTACKS = ("lira", "label_only")
LEARNED = ("direct", "near", "distance 0.1", "distance 0.4")
"""Queries of the learned attack, which takes longer than the training."""

SETTINGS = (
    ("none", 3),
    ("models=5,width=0", 3),
    ("models=10,width=1,noise=0.02", 1),
    ("models=5,width=1", 3),
    ("models=2,width=0", 1),
    ("models=5,width=1,noise=0.02", 1),
    ("models=2,width=1", 1),
    ("models=10,width=2,noise=0.05", 1),
    ("models=20,width=0", 1),
    ("models=20,width=1,noise=0.02", 1),
    ("models=20,width=2,noise=0.1", 1),
)
"""Parameters of the recipe, and the number of seeds."""


def run(setting: str, seed: int, store: Store) -> dict[str, Any]:
    """Train and attack the pool of a setting.

    Args:
        setting: "none", or parameters of the recipe.
        seed: decides records, memberships and weights.
        store: where the models are kept.
    """
    preset = PRESETS.get("digits")
    data, size = DATASETS.get("digits")(), preset.size(None)
    split = pool_split(data, size.pool, MODELS_OF_A_POOL, size.reference, seed)
    text = "plain" if setting == "none" else f"out_of_fold({setting})"
    recipe = size.recipe(
        text if "noise" in setting or setting == "none" else f"{text[:-1]},noise=0)"
    )
    near = NearNumbers(DISTANCES, draws=1)
    model = MODELS.make(preset.model, preset.model_parameters)
    jobs = pool_jobs(split, model, recipe, seed=seed, threads=1, near=near)
    outputs = list(InProcess(store).run(jobs, data))
    pool = pool_of(data, split, outputs, seed=seed)
    kept = 1.0
    if setting != "none":
        kept = 1 - sum(float(part.facts["left_out"].mean()) for part in outputs) / len(outputs)
        for part in outputs:
            verify(part.facts, data.inputs)
    queries = {"direct": [0], "near": list(range(1 + len(DISTANCES)))}
    queries |= {f"distance {size}": [1 + at] for at, size in enumerate(DISTANCES)}
    row: dict[str, Any] = {"setting": setting, "seed": seed, "kept": kept, "attacks": {}}
    for name, inputs in queries.items():
        attacks = (*ATTACKS, "learned") if name in LEARNED else ATTACKS
        protocol = replace(adaptive(near=name == "near"), attacks=attacks)
        task = Task(Method("none", undefended()), ShadowPool(_at(pool, inputs)), protocol)
        measurement = measure(task)
        row["attacks"][name] = {
            attack.scores.name: {
                metric: [value.value, value.low, value.high]
                for metric, value in attack.metrics.items()
                if metric in ("auc", "asr", "tpr@0.01")
            }
            for attack in measurement.attacks
        }
        if name == "direct":
            for metric in ("accuracy", "nll", "ece"):
                values = [model[metric].value for model in measurement.utility]
                row[metric] = sum(values) / len(values)
    return row


def _at(pool: Pool, inputs: Sequence[int]) -> Pool:
    def only(outputs: Outputs) -> Outputs:
        return replace(outputs, logits=outputs.logits[:, :, list(inputs)])

    return replace(pool, records=only(pool.records), reference=only(pool.reference))


def main() -> None:
    """Measure what the file lacks, and write it after every pool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", nargs="*", help="parameters of the recipe, or none")
    parser.add_argument("--seeds", type=int, help="number of seeds of each setting")
    parser.add_argument("--store", type=Path, required=True, help="folder of trained models")
    parser.add_argument("--out", type=Path, help="file of results, which is continued")
    options = parser.parse_args()
    settings = [(text, 1) for text in options.settings] if options.settings else list(SETTINGS)
    rows: list[dict[str, Any]] = []
    if options.out and options.out.exists():
        rows = json.loads(options.out.read_text())["rows"]
    done = {(row["setting"], row["seed"]) for row in rows}
    most = max(seeds for _, seeds in settings)
    for seed in range(options.seeds or most):
        for setting, seeds in settings:
            if (setting, seed) in done or seed >= (options.seeds or seeds):
                continue
            row = run(setting, seed, Store(options.store))
            rows.append(row)
            direct = {
                name: round(value["auc"][0], 3) for name, value in row["attacks"]["direct"].items()
            }
            print(setting, seed, f"{row['accuracy']:.3f}", f"{row['kept']:.2f}", direct, flush=True)
            if options.out:
                about = {"hardware": hardware(), "versions": versions(())}
                command = "python -m benchmarks.out_of_fold --store STORE"
                write_json(options.out, {"command": command, **about, "rows": rows})


if __name__ == "__main__":
    main()
