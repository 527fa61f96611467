"""Wall time of shadow models on 1 and 2 Ray workers beside local processes, and overhead a task.

    python benchmarks/cluster.py

The models are those of a pool of digits, trained for more epochs than usual so that a training
takes about a second. Each executor is started anew; the time of starting is that of a run of as
many tasks that are found in a store. The overhead of a task is the time of a task whose model is
stored already, on a cluster that runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.core.extras import require
from dynanoise.core.files import write_json
from dynanoise.core.registry import DATASETS, MODELS, RECIPES
from dynanoise.data.dataset import Data
from dynanoise.data.splits import pool_split
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.training.designs import pool_jobs
from dynanoise.training.execution.executors import InProcess, Processes
from dynanoise.training.execution.ray_cluster import RayCluster
from dynanoise.training.jobs import Executor, Job, ModelOutputs
from dynanoise.training.schedule import Schedule
from dynanoise.training.store.store import Store


def jobs_of(data: Data, count: int, epochs: int) -> list[Job]:
    """Models of a pool of 600 digits."""
    split = pool_split(data, 600, max(2, count), 300, 0)
    recipe = RECIPES.get("plain")(Schedule(epochs=epochs))
    return pool_jobs(split, MODELS.get("mlp")(), recipe, seed=0, models=count, threads=1)


def timed(executor: Executor, jobs: Sequence[Job], data: Data) -> tuple[float, list[ModelOutputs]]:
    """Seconds on the wall, and the outputs."""
    started = time.perf_counter()
    answers = list(executor.run(jobs, data))
    return time.perf_counter() - started, answers


class OnCluster:
    """A cluster with some workers of one core each, whose head trains nothing."""

    def __init__(self, workers: int) -> None:
        require("ray", "This benchmark")
        cluster_utils = require("ray.cluster_utils", "This benchmark")
        self.cluster = cluster_utils.Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        for _ in range(workers):
            self.cluster.add_node(num_cpus=1)

    def __enter__(self) -> str:
        return str(self.cluster.address)

    def __exit__(self, *error: object) -> None:
        self.cluster.shutdown()


def row(
    name: str,
    workers: int,
    make: Callable[[Store], Executor],
    jobs: Sequence[Job],
    data: Data,
    expected: Sequence[ModelOutputs],
) -> dict[str, Any]:
    """Time an executor on models that are trained, and on the same once more from the store."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        training, answers = timed(make(store), jobs, data)
        reading, again = timed(make(store), jobs, data)
    same = all(
        np.array_equal(a.logits, b.logits) and np.array_equal(a.logits, c.logits)
        for a, b, c in zip(answers, again, expected, strict=True)
    )
    return {
        "executor": name,
        "workers": workers,
        "seconds": round(training, 2),
        "seconds_all_stored": round(reading, 2),
        "seconds_of_models": round(sum(outputs.seconds for outputs in answers), 2),
        "same_bits_as_in_process": same,
    }


def overhead(address: str, job: Job, data: Data, tasks: int) -> dict[str, Any]:
    """Measure milliseconds a task, beyond finding a stored model in this process."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        list(InProcess(store).run([job], data))
        here, _ = timed(InProcess(store), [job] * tasks, data)
        cluster = RayCluster(store, address)
        ray = require("ray", "This benchmark")
        ray.init(address, log_to_driver=False, logging_level="ERROR")
        try:
            timed(cluster, [job] * 8, data)  # workers start and import
            there, _ = timed(cluster, [job] * tasks, data)
        finally:
            ray.shutdown()
    return {
        "tasks": tasks,
        "ms_each_in_process": round(1000 * here / tasks, 2),
        "ms_each_on_cluster": round(1000 * there / tasks, 2),
        "ms_overhead_a_task": round(1000 * (there - here) / tasks, 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Time everything and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/cluster.json"))
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=400, help="100 is digits' usual")
    parser.add_argument("--tasks", type=int, default=200, help="for the overhead of one")
    chosen = parser.parse_args(arguments)
    load = round(os.getloadavg()[0], 1)
    data: Data = DATASETS.get("digits")()
    jobs = jobs_of(data, chosen.models, chosen.epochs)
    list(InProcess().run([replace(jobs[0], seed=1)], data))  # warms up
    alone, expected = timed(InProcess(), jobs, data)
    rows: list[dict[str, Any]] = [
        {"executor": "in_process", "workers": 1, "seconds": round(alone, 2)}
    ]
    of_a_task: dict[str, Any] = {}
    for workers in (1, 2):
        local = _processes(workers)
        rows.append(row("processes", workers, local, jobs, data, expected))
        with OnCluster(workers) as address:
            rows.append(row("ray", workers, _on_ray(address), jobs, data, expected))
            if workers == 1:
                of_a_task = overhead(address, jobs[0], data, chosen.tasks)
    result = {
        "command": f"python benchmarks/cluster.py --models {chosen.models} "
        f"--epochs {chosen.epochs} --tasks {chosen.tasks}",
        "versions": {**versions(), "ray": require("ray", "This benchmark").__version__},
        "hardware": {**hardware(), "load_before": load},
        "rows": rows,
        "overhead": of_a_task,
    }
    sys.stdout.write(write_json(chosen.out, result))


def _processes(workers: int) -> Callable[[Store], Executor]:
    return lambda store: Processes(workers, store)


def _on_ray(address: str) -> Callable[[Store], Executor]:
    return lambda store: RayCluster(store, address)


if __name__ == "__main__":
    main()
