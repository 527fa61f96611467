"""A recipe that writes down where and when it trains, and can be held back."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from dynanoise.core.registry import MODELS
from dynanoise.data.dataset import Data
from dynanoise.training.jobs import Executor, Job, ModelOutputs
from dynanoise.training.material import Material
from dynanoise.training.recipes.plain import Plain
from dynanoise.training.schedule import Schedule
from tests.factories import tiny


@dataclass(frozen=True)
class Noted:
    """Plain training that leaves a file at its beginning and one at its end.

    Args:
        folder: for the files, "began-SEED-..." with the node's id in it and "ended-SEED-...".
        schedule: schedule of the training.
        held: waits for the file "go" in the folder before it trains.
    """

    folder: str
    schedule: Schedule = field(default_factory=lambda: tiny.QUICK)
    held: bool = False
    version: ClassVar[int] = 1

    def train(self, material: Material) -> nn.Module:
        return Waiting(Plain(self.schedule), self.folder, self.held).train(material)


@dataclass(frozen=True)
class Waiting:
    """Another recipe, with notes, and where it is told so held back as `Noted` is."""

    recipe: Any
    folder: str
    held: bool
    version: ClassVar[int] = 1

    def train(self, material: Material) -> nn.Module:
        note(self.folder, "began", material.seed)
        while self.held and not (Path(self.folder) / "go").exists():
            time.sleep(0.05)
        model: nn.Module = self.recipe.train(material)
        note(self.folder, "ended", material.seed)
        return model


@dataclass(frozen=True)
class Holding:
    """An executor that holds back all jobs from a number on, so that it can be killed meanwhile."""

    executor: Executor
    folder: Path
    free: int

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[ModelOutputs]:
        waiting = [
            replace(job, recipe=Waiting(job.recipe, str(self.folder), number >= self.free))
            for number, job in enumerate(jobs)
        ]
        return self.executor.run(waiting, data)


def note(folder: str, what: str, seed: int) -> None:
    path = Path(folder) / f"{what}-{seed}-{uuid.uuid4().hex[:8]}"
    hidden = path.with_name(f".{path.name}")
    hidden.write_text(where())
    os.rename(hidden, path)


def where() -> str:
    """The id of the Ray node this runs on, or nothing."""
    import sys

    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return ""
    return str(ray.get_runtime_context().get_node_id())


def notes(folder: Path, what: str, seed: int | None = None) -> list[Path]:
    return sorted(folder.glob(f"{what}-{'*' if seed is None else seed}-*"))


def jobs(folder: Path, count: int, **recipe: Any) -> list[Job]:
    return [job(folder, seed, **recipe) for seed in range(count)]


def job(folder: Path, seed: int, **recipe: Any) -> Job:
    return Job(
        name=f"model {seed}",
        model=MODELS.get("mlp")((16,)),
        recipe=Noted(str(folder), **recipe),
        members=np.arange(90),
        reference=np.arange(90, 120),
        seed=seed,
    )


def data() -> Data:
    return tiny.data()
