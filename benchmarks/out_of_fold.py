"""Cost and remaining leakage of out-of-fold answers: accuracy, attacks far from a record.

    python -m benchmarks.out_of_fold --store STORE --out results/benchmarks/out_of_fold.json
    python -m benchmarks.out_of_fold --settings none "models=5,width=0" --seeds 1 --store STORE
    python -m benchmarks.out_of_fold --preset cifar10 --data DATA --store STORE --out FILE

The records and models of a preset, each model trained on a random half of the records and each the
target once: 600 digits and 16 models, or 10,000 images of CIFAR-10 and 8. A setting is the
parameters of the recipe `out_of_fold`, "" for the preset's, or "none". "direct" queries are the
records themselves (repeated queries have the same outputs); others are changed records alone, by
Gaussian noise of a standard deviation ("distance"), by noise of at most so many steps of 1/255 of
each pixel, or by a shift of so many pixels; and "near" all of them. The key of the cells is public:
shadow models have the target's cells. Settings that are measured already are kept in the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from dynanoise.core.defense import Method
from dynanoise.core.files import write_json
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.registry import MODELS, PRESETS
from dynanoise.data.catalog import load_data
from dynanoise.data.near_duplicates import NearDuplicates, NearNumbers
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

ATTACKS = ("lira", "label_only")
DISTANCES = (0.02, 0.05, 0.1, 0.2, 0.4)
SHIFTS = (1, 2, 4, 8)
NOISE = (8, 16, 32, 64)

_DIGITS_SETTINGS = (
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


class Measured(NamedTuple):
    """Measurements of a preset.

    Attributes:
        models: number of models of a pool.
        near: the changed records.
        names: name of each of them.
        learned: queries of the learned attack, which on digits takes longer than the training.
        settings: parameters of the recipe, and the number of seeds.
    """

    models: int
    near: NearNumbers | NearDuplicates
    names: tuple[str, ...]
    learned: tuple[str, ...]
    settings: tuple[tuple[str, int], ...]


_OF_DIGITS = tuple(f"distance {size}" for size in DISTANCES)
_OF_IMAGES = (*(f"shift {size}" for size in SHIFTS), *(f"noise {size}" for size in NOISE))
MEASURED = {
    "digits": Measured(
        16,
        NearNumbers(DISTANCES, draws=1),
        _OF_DIGITS,
        ("direct", "near", "distance 0.1", "distance 0.4"),
        _DIGITS_SETTINGS,
    ),
    "cifar10": Measured(
        8,
        NearDuplicates(tuple((0, size) for size in SHIFTS), flip=False, noise=NOISE, draws=1),
        _OF_IMAGES,
        ("direct", "near", *_OF_IMAGES),
        (("none", 1), ("", 1)),
    ),
}


def run(name: str, setting: str, seed: int, store: Store, folder: Path | None) -> dict[str, Any]:
    """Train and attack the pool of a setting.

    Args:
        name: name of the preset.
        setting: "none", or parameters of the recipe.
        seed: decides records, memberships and weights.
        store: where the models are kept.
        folder: folder of the data; None for a data set that needs none.
    """
    preset, measured = PRESETS.get(name), MEASURED[name]
    data, size = load_data(preset.dataset, folder), preset.size(None)
    split = pool_split(data, size.pool, measured.models, size.reference, seed)
    text = "plain" if setting == "none" else f"out_of_fold({setting})" if setting else "out_of_fold"
    if setting not in ("none", "") and "noise" not in setting:
        text = f"{text[:-1]},noise=0)"
    recipe = size.recipe(text)
    model = MODELS.make(preset.model, preset.model_parameters)
    jobs = pool_jobs(split, model, recipe, seed=seed, threads=1, near=measured.near)
    outputs = list(InProcess(store).run(jobs, data))
    pool = pool_of(data, split, outputs, seed=seed)
    kept = 1.0
    if setting != "none":
        kept = 1 - sum(float(part.facts["left_out"].mean()) for part in outputs) / len(outputs)
        for part in outputs:
            verify(part.facts, data.inputs)
    queries = {"direct": [0], "near": list(range(1 + len(measured.names)))}
    queries |= {changed: [1 + at] for at, changed in enumerate(measured.names)}
    row: dict[str, Any] = {"setting": setting, "seed": seed, "kept": kept, "attacks": {}}
    for query, inputs in queries.items():
        attacks = (*ATTACKS, "learned") if query in measured.learned else ATTACKS
        protocol = replace(adaptive(near=query == "near"), attacks=attacks)
        task = Task(Method("none", undefended()), ShadowPool(_at(pool, inputs)), protocol)
        measurement = measure(task)
        row["attacks"][query] = {
            attack.scores.name: {
                metric: [value.value, value.low, value.high]
                for metric, value in attack.metrics.items()
                if metric in ("auc", "asr", "tpr@0.01")
            }
            for attack in measurement.attacks
        }
        if query == "direct":
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
    parser.add_argument("--preset", choices=MEASURED, default="digits")
    parser.add_argument("--data", type=Path, help="folder of the data, for CIFAR-10")
    parser.add_argument("--settings", nargs="*", help="parameters of the recipe, or none")
    parser.add_argument("--seeds", type=int, help="number of seeds of each setting")
    parser.add_argument("--store", type=Path, required=True, help="folder of trained models")
    parser.add_argument("--out", type=Path, help="file of results, which is continued")
    options = parser.parse_args()
    settings = MEASURED[options.preset].settings
    if options.settings:
        settings = tuple((text, 1) for text in options.settings)
    rows: list[dict[str, Any]] = []
    if options.out and options.out.exists():
        rows = json.loads(options.out.read_text())["rows"]
    finished = {(row["setting"], row["seed"]) for row in rows}
    most = max(seeds for _, seeds in settings)
    for seed in range(options.seeds or most):
        for setting, seeds in settings:
            if (setting, seed) in finished or seed >= (options.seeds or seeds):
                continue
            row = run(options.preset, setting, seed, Store(options.store), options.data)
            rows.append(row)
            direct = {
                name: round(value["auc"][0], 3) for name, value in row["attacks"]["direct"].items()
            }
            print(setting, seed, f"{row['accuracy']:.3f}", f"{row['kept']:.2f}", direct, flush=True)
            if options.out:
                about = {"hardware": hardware(), "versions": versions(())}
                command = "python -m benchmarks.out_of_fold --store STORE"
                if options.preset != "digits":
                    command += f" --preset {options.preset} --data DATA"
                write_json(options.out, {"command": command, **about, "rows": rows})


if __name__ == "__main__":
    main()
