"""Drivers of a Ray cluster, each in a process of its own, for tests; see `ray_nodes` for why.

Run as a program this calls one of the functions below, which have what a driver does: they return
what JSON can hold, or print it as they go.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from dynanoise.benchmark.benchmark import Plan, bench
from dynanoise.report.io.results import to_json
from dynanoise.training.execution import ray_cluster
from dynanoise.training.execution.ray_cluster import RayCluster, connected
from dynanoise.training.jobs import Job, ModelOutputs
from dynanoise.training.recipes.out_of_fold import OutOfFold, verify
from dynanoise.training.schedule import Schedule
from dynanoise.training.store.store import Store
from tests.factories import recordings, tiny
from tests.factories.presets import small_digits
from tests.factories.waiting import LONG, ROOT, until
from tests.training.ray_nodes import PATIENT

DATA = recordings.data()
PLAN = Plan("digits", 2, methods=("dynanoise",), protocols=("paper",), custom=small_digits())


class Driver:
    """One of the functions below, at work in another process.

    Args:
        room: a folder for what it prints and returns.
        name: the function's.
        settings: for the environment, instead of `ray_nodes.PATIENT`'s.
        asked: its arguments.
    """

    def __init__(
        self,
        room: Path,
        name: str,
        settings: dict[str, str] | None = None,
        **asked: Any,
    ) -> None:
        self.out, self.errors, self.file = (
            room / f"{name}.{end}" for end in ("out", "err", "json")
        )
        with self.out.open("w") as out, self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.training.ray_drivers", name),
                    *(json.dumps(asked, default=str), str(self.file)),
                ],
                stdout=out,
                stderr=errors,
                cwd=ROOT,
                env={**os.environ, **PATIENT, **(settings or {})},
            )
        weakref.finalize(self, _end, self.process)  # where a test fails before `result`

    def until(self, condition: Callable[[], object]) -> None:
        """Waits for something that happens while the driver is at work."""
        until(lambda: condition() or self.process.poll() is not None, LONG)
        assert condition(), f"{self.process.poll()}: {self.errors.read_text()}"

    def result(self) -> Any:
        """What the function returned; fails where the process ended otherwise."""
        try:
            assert self.process.wait(LONG) == 0, self.errors.read_text()
        finally:
            self.kill()
        return json.loads(self.file.read_text())

    def kill(self) -> None:
        _end(self.process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def five_models(address: str, store: str, folder: str) -> list[str]:
    """Trains `five`; arrays go into the folder, nodes come back."""
    nodes = []
    for number, answers in enumerate(RayCluster(Store(store), address).run(five(folder), DATA)):
        np.savez(Path(folder) / f"{number}.npz", logits=answers.logits, random=answers.random)
        nodes.append(answers.node)
    time.sleep(1)  # Ray tells in a thread of its own
    return nodes


def five(folder: str) -> list[Job]:
    """Of which the middle one is held back."""
    return [recordings.job(Path(folder), seed, held=seed == 2) for seed in range(5)]


def five_read(folder: Path) -> list[ModelOutputs]:
    read = []
    for number in range(5):
        with np.load(folder / f"{number}.npz") as kept:
            read.append(ModelOutputs(logits=kept["logits"], random=kept["random"]))
    return read


def records(address: str, store: str, folder: str) -> str:
    """Of `PLAN`, with its fifth model and later ones held back; prints each step."""
    executor = recordings.Holding(RayCluster(Store(store, lease=4.0), address), Path(folder), 4)
    return to_json(list(bench(PLAN, lambda step: print(step, flush=True), executor=executor)))


def several(address: str, folder: str) -> dict[str, Any]:
    """Whatever needs no driver of its own, by one connection: a first run takes seconds."""
    job = recordings.job(Path(folder), 1)
    lost = replace(job, members=np.array([10**6]))
    with connected(address) as ray:
        return {
            "hopeless": wrong_among_others(address, folder),
            "lost": raised(partial(one, RayCluster(), lost)),
            "sent": sent(ray, folder),
            "versions": other_versions(job),
            "alone": out_of_fold(ray, None),
            "stored": out_of_fold(ray, Store(Path(folder) / "store")),
        }


PARTS = ("wrong", "others", "later")
"""Folders for the notes of `wrong_among_others`; each holds its models back."""


def wrong_among_others(address: str, folder: str) -> list[str]:
    """What one raises that fails while another is at work and a third is queued; then two more."""
    wrong, others, later = (Path(folder) / part for part in PARTS)
    for part in (wrong, others, later):
        part.mkdir()
    schedule = Schedule(epochs=1, batch=90, learning_rate=1e-9)
    hopeless = recordings.job(wrong, 1, held=True, schedule=schedule)
    cluster = RayCluster(address=address)
    jobs = [hopeless, *(recordings.job(others, seed, held=True) for seed in (2, 3))]
    says = raised(lambda: list(cluster.run(jobs, DATA)))
    list(cluster.run(recordings.jobs(later, 2, held=True), DATA))
    return says


def sent(ray: Any, folder: str) -> list[Any]:
    """How many models came back, and whether the data alone were sent, once."""
    with mock.patch.object(ray, "put", wraps=ray.put) as put:
        found = list(RayCluster().run(recordings.jobs(Path(folder), 3), DATA))
    return [len(found), put.call_args_list == [mock.call(DATA)]]


def other_versions(job: Job) -> list[str]:
    """What is raised if the driver has other versions than the nodes."""
    with mock.patch.object(importlib.metadata, "version", return_value="0.0"):
        return raised(partial(one, RayCluster(), job))


OUT_OF_FOLD = replace(recordings.job(Path(), 3), recipe=OutOfFold(tiny.QUICK, models=3, width=0))


def out_of_fold(ray: Any, store: Store | None) -> list[Any]:
    """Number of tasks of a job of three models, and a digest of its outputs and exclusion."""
    with mock.patch.object(ray, "get", wraps=ray.get) as get:
        outputs = one(RayCluster(store), OUT_OF_FOLD)
    assert verify(outputs.facts, DATA.inputs).tolist() == [90, 3]
    return [get.call_count, digest(outputs)]


def digest(outputs: ModelOutputs) -> str:
    return hashlib.sha256(
        outputs.logits.tobytes() + outputs.facts["left_out"].tobytes()
    ).hexdigest()


def waiting(address: str, folder: str) -> list[str]:
    """What is raised while a model that is held back is waited for, by an impatient driver."""
    held = recordings.job(Path(folder), 1, held=True)
    with mock.patch.object(ray_cluster, "patience", return_value=2.0):
        return raised(partial(one, RayCluster(address=address), held))


def one(cluster: RayCluster, job: Job) -> ModelOutputs:
    (answers,) = cluster.run([job], DATA)
    return answers


def raised(do: Callable[[], object]) -> list[str]:
    """The name and the text of the error."""
    try:
        do()
    except Exception as error:
        return [type(error).__name__, str(error)]
    return []


if __name__ == "__main__":
    name, asked, file = sys.argv[1:]
    Path(file).write_text(json.dumps(globals()[name](**json.loads(asked))))
