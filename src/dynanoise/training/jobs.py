"""One model to train, as a value; and training it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from dynanoise.numerics import Int64
from dynanoise.seeding import derive
from dynanoise.training.data import Data

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that determines a trained model.

    Attributes:
        name: for progress and logs, "target" or "shadow 2".
        model: an architecture, such as `models.mlp.Mlp`.
        recipe: how to train it, such as `recipes.plain.Plain`.
        members, reference: int64 [n], ids to train on and ids of known non-members.
        seed: of the initial weights and the order of the records.
        threads: of the processor; another number may round differently.
    """

    name: str
    model: Any
    recipe: Any
    members: Int64
    reference: Int64
    seed: int
    threads: int = 1


class Executor(Protocol):
    """Runs jobs, possibly several at once."""

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[Float32]:
        """Logits [N, A, K] about every record of ``data``, in the order of the jobs."""


@dataclass(frozen=True)
class InProcess:
    """One job after the other in this process."""

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[Float32]:
        """See `Executor.run`."""
        for job in jobs:
            yield train_and_answer(job, data)


@contextmanager
def _isolated(seed: int, threads: int) -> Iterator[None]:
    """Sets torch's global generator and thread count, and gives them back as they were."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def train_and_answer(job: Job, data: Data) -> Float32:
    """Train the job's model and answer every record, float32 [N, A=1, K].

    The same job gives the same bits on the same machine, torch build and thread count.
    """
    with _isolated(job.seed, job.threads):
        generator = torch.Generator().manual_seed(derive(job.seed, "order"))
        model = job.recipe.train(
            lambda: job.model.build(data.inputs.shape[1:], data.classes),
            data,
            job.members,
            job.reference,
            generator,
        )
        with torch.inference_mode():
            logits = model(torch.from_numpy(data.inputs))
    answers: Float32 = logits[:, None].numpy()
    return answers
