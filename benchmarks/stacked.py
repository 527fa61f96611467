"""Training many small models at once beside training them one by one, in the same round.

    python benchmarks/stacked.py

Models of a pool with ragged numbers of members, a few epochs of the preset's own schedule on some
of the records. In each round the same models are trained alone, one after the other, and in one
stack; the ratio is that of the two. Models that differ by more than rounding would show in the
largest difference of their answers, which is told beside what another number of threads does to the
first model alone, and beside that of two models of the pool.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dynanoise.core.errors import MissingDataError
from dynanoise.core.files import write_json
from dynanoise.core.registry import PRESETS, RECIPES
from dynanoise.data import catalog
from dynanoise.data.dataset import Data
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.training import divergence
from dynanoise.training.architecture import named
from dynanoise.training.execution.together import train_together
from dynanoise.training.jobs import Answers, Job, train_and_answer
from dynanoise.training.pools import pool_jobs, pool_split


class Case(NamedTuple):
    """A preset's models, on so many records of a pool and for so many epochs."""

    preset: str
    records: int
    epochs: int


CASES = (Case("digits", 600, 100), Case("sst2", 2_000, 2), Case("cifar10", 512, 1))


def jobs_of(case: Case, count: int, device: str) -> tuple[list[Job], Data]:
    """Jobs as `dynanoise bench` would make them, but for the numbers of the case."""
    preset = PRESETS.get(case.preset)
    data = catalog.load(preset.dataset, None)
    split = pool_split(data, case.records, max(2, count), 100, 0)
    parameters = dict(preset.size(None).recipes["plain"])
    parameters["schedule"] = replace(parameters["schedule"], epochs=case.epochs)
    recipe = RECIPES.get("plain")(**parameters)
    jobs = pool_jobs(
        split, named(preset.model), recipe, seed=0, models=count, threads=1, device=device
    )
    asked = np.unique(np.concatenate([split.pool, split.reference]))
    return [replace(job, asked=asked) for job in jobs], data


def row(case: Case, count: int, device: str, rounds: int) -> dict[str, Any]:
    """Times of all rounds, and how far the answers are apart."""
    jobs, data = jobs_of(case, count, device)
    stack = [replace(job, stacked=True) for job in jobs]
    seconds: dict[str, list[float]] = {"alone": [], "stacked": []}
    apart = others = 0.0
    with divergence.unchecked():
        train_together(stack[:2], data)  # warms up
        train_and_answer(jobs[0], data)
        for _ in range(rounds):
            started = time.perf_counter()
            alone = [train_and_answer(job, data).answers for job in jobs]
            between = time.perf_counter()
            together = [made.answers for made in train_together(stack, data)]
            seconds["alone"].append(between - started)
            seconds["stacked"].append(time.perf_counter() - between)
            apart = max(_apart(one, two) for one, two in zip(alone, together, strict=True))
            others = _apart(alone[0], alone[1])
        threads = _apart(alone[0], train_and_answer(replace(jobs[0], threads=2), data).answers)
    ratios = np.divide(seconds["alone"], seconds["stacked"])
    return {
        "preset": case.preset,
        "model": PRESETS.get(case.preset).model,
        "records": case.records,
        "epochs": case.epochs,
        "models": count,
        "device": device,
        "seconds_alone": round(min(seconds["alone"]), 2),
        "seconds_stacked": round(min(seconds["stacked"]), 2),
        "times_as_fast": [round(float(ratio), 2) for ratio in ratios],
        "largest_difference_of_logits": float(f"{apart:.2g}"),
        "largest_difference_by_another_thread": float(f"{threads:.2g}"),
        "largest_difference_of_two_models": float(f"{others:.2g}"),
    }


def _apart(one: Answers, other: Answers) -> float:
    return float(np.abs(one.logits - other.logits).max())


def main(arguments: Sequence[str] | None = None) -> None:
    """Times everything and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/stacked.json"))
    parser.add_argument("--models", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    chosen = parser.parse_args(arguments)
    load = round(os.getloadavg()[0], 1)
    rows = []
    for case in CASES:
        for count in chosen.models:
            try:
                rows.append(row(case, count, chosen.device, chosen.rounds))
            except MissingDataError as error:
                sys.stderr.write(f"{case.preset} is left out: {error}\n")
                break
            sys.stderr.write(f"{rows[-1]}\n")
    models = " ".join(map(str, chosen.models))
    machine = {**hardware(), "load_before": load}
    if chosen.device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
    result = {
        "command": f"python benchmarks/stacked.py --models {models} --rounds {chosen.rounds} "
        f"--device {chosen.device}",
        "versions": versions(),
        "hardware": machine,
        "rows": rows,
    }
    sys.stdout.write(write_json(chosen.out, result))


if __name__ == "__main__":
    main()
