"""Test accuracy of the presets' networks from the paper's number of training records.

    python benchmarks/accuracy.py

The cnn is trained on 28,000 of CIFAR-10's training images, as many as a target of the paper has,
by the preset's schedule for --epochs epochs; the text model on SST-2's whole training split. Both
are tested on the official test part. One seed each.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.benchmark.preset import Kind
from dynanoise.benchmark.presets import PRESETS
from dynanoise.core.files import write_json
from dynanoise.core.registry import DATASETS, RECIPES
from dynanoise.core.seeding import derive
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.training.jobs import Job, train_and_query

IMAGES = 28_000


def accuracy(name: str, count: int | None, epochs: int | None, seed: int) -> dict[str, Any]:
    """Train a preset's model on ``count`` training records, all if None, and test it."""
    preset, data = PRESETS[name], DATASETS.get(name)()
    training = data.test_from
    rows = np.random.default_rng(derive(seed, "accuracy")).permutation(training)[:count]
    recipe = RECIPES.get("plain")(**preset.size(None).recipes["plain"])
    if epochs is not None:
        recipe = replace(recipe, schedule=replace(recipe.schedule, epochs=epochs))
    started = time.perf_counter()
    job = Job(
        name=name,
        model=preset.architecture(Kind("plain")),
        recipe=recipe,
        members=np.sort(rows),
        reference=rows[:0],
        seed=derive(seed, "accuracy weights"),
        threads=preset.threads,
    )
    logits = train_and_query(job, data).outputs.logits[:, 0]
    right = logits.argmax(axis=-1) == data.labels
    return {
        "dataset": name,
        "model": preset.model,
        "training_records": len(rows),
        "epochs": recipe.schedule.epochs,
        "test_records": len(data) - training,
        "test_accuracy": round(float(right[training:].mean()), 4),
        "training_accuracy": round(float(right[rows].mean()), 4),
        "seconds": round(time.perf_counter() - started, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, test and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/accuracy.json"))
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--epochs", type=int, default=12, help="of the cnn")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    result = {
        "command": f"python benchmarks/accuracy.py --images {chosen.images} "
        f"--epochs {chosen.epochs} --seed {chosen.seed}",
        "versions": versions(),
        "hardware": {**hardware(), "load_average": round(os.getloadavg()[0], 1)},
        "rows": [
            accuracy("sst2", None, None, chosen.seed),
            accuracy("cifar10", chosen.images, chosen.epochs, chosen.seed),
        ],
    }
    sys.stdout.write(write_json(chosen.out, result))


if __name__ == "__main__":
    main()
