"""One model to train, as a value; and training it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int64
from dynanoise.core.seeding import derive
from dynanoise.data.dataset import Data
from dynanoise.data.near_duplicates import NearDuplicates
from dynanoise.training import divergence, loop
from dynanoise.training.facts import Facts, facts_of
from dynanoise.training.material import Material

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Further:
    """Further questions to a trained model.

    Attributes:
        near: which near-duplicates.
        ids: int64 [n], of which records.
    """

    near: NearDuplicates
    ids: Int64


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that determines a trained model.

    Attributes:
        name: for progress and logs, "target" or "shadow 2".
        model: an architecture, such as `models.mlp.Mlp`.
        recipe: how to train it, such as `recipes.plain.Plain`.
        members, reference: int64 [n], ids to train on and ids of known non-members.
        seed: of the initial weights and the order of the records.
        asked: int64 [n], ids in ascending order that the model is asked about, the members among
            them; None for all of the data.
        threads: of the processor; another number may round differently.
        device: where to train, "cpu" or "cuda".
        further: what the trained model is asked besides; no part of what determines the model.
    """

    name: str
    model: Any
    recipe: Any
    members: Int64
    reference: Int64
    seed: int
    asked: Int64 | None = None
    threads: int = 1
    device: str = "cpu"
    further: Further | None = None

    def __post_init__(self) -> None:
        if self.asked is None:
            return
        if np.any(np.diff(self.asked) <= 0) or not np.isin(self.members, self.asked).all():
            raise InputError(
                f"The {len(self.asked)} ids asked about are not in ascending order, or lack some "
                f"of the {len(self.members)} members.",
                "Use np.unique of all ids that play a part.",
            )


@dataclass(frozen=True, eq=False)
class Answers:
    """What one trained model said.

    Attributes:
        logits: float32 [n, A, K], about every record it was asked about, in the order of ids.
        random: float32 [R, K], about R random inputs (see `Data.random_inputs`).
        retries: how often training diverged and was repeated (see `divergence.retrying`).
        seconds: wall time of training and answering, when that was done.
        facts: what the recipe says of the model besides, such as DP-SGD's epsilon (see `facts`).
        near: float32 [m, A - 1, K], about the near-duplicates of the records of `Job.further`; None
            where the job asks for none.
        node: of a cluster that gave these answers, for progress; "" for this machine.
    """

    logits: Float32
    random: Float32
    retries: int = 0
    seconds: float = 0.0
    facts: Facts = field(default_factory=dict)
    near: Float32 | None = None
    node: str = ""


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, on the processor, and its answers."""

    model: torch.nn.Module
    answers: Answers


class Executor(Protocol):
    """Runs jobs, possibly several at once."""

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[Answers]:
        """The jobs' answers, in the order of the jobs."""


@contextmanager
def isolated(seed: int, threads: int) -> Iterator[None]:
    """Sets torch's global generator and thread count, and gives them back as they were."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


RANDOM_INPUTS = 100
"""Random inputs every model answers, for defenders who need them."""


def train_and_answer(job: Job, data: Data) -> Trained:
    """Train the job's model and ask it about the records and about random inputs.

    The same job gives the same bits on the same machine, torch build and thread count.

    Raises:
        DivergedError: if the model is at chance on its members, smaller steps included.
    """
    started = time.perf_counter()
    trained, retries = divergence.retrying(
        f"{job.name} ({type(job.recipe).__name__})",
        job.recipe,
        lambda recipe: _attempt(replace(job, recipe=recipe), data),
    )
    seconds = round(time.perf_counter() - started, 1)
    return replace(trained, answers=replace(trained.answers, retries=retries, seconds=seconds))


def _attempt(job: Job, data: Data) -> Trained:
    """One training run, from the job's seed on."""
    with isolated(job.seed, job.threads):
        return asked(job.recipe.train(material_of(job, data)), job, data)


def material_of(job: Job, data: Data) -> Material:
    """What the job's recipe is given."""
    device = torch.device(job.device)
    return Material(
        build=lambda: job.model.build(data.inputs.shape[1:], data.classes).to(device),
        data=data,
        members=job.members,
        reference=job.reference,
        seed=job.seed,
        device=device,
    )


def asked(model: torch.nn.Module, job: Job, data: Data) -> Trained:
    """A model that was just trained, asked about the records and about random inputs.

    Raises:
        DivergedError: if it is at chance on its members.
    """
    device = torch.device(job.device)
    random = data.random_inputs(RANDOM_INPUTS, derive(job.seed, "random inputs"))
    ids = np.arange(len(data)) if job.asked is None else job.asked
    inputs = torch.from_numpy(data.inputs[ids]).to(device)
    answers = Answers(
        logits=loop.answer(model, inputs)[:, None].numpy(),
        random=loop.answer(model, torch.from_numpy(random).to(device)).numpy(),
        facts=facts_of(model),
    )
    own = answers.logits[np.searchsorted(ids, job.members), 0]
    divergence.check("the model", own, data.labels[job.members])
    return Trained(model.cpu(), answers)


_FURTHER = 64
"""Near-duplicates in a batch of questions; fastest in bfloat16."""


def ask_further(model: torch.nn.Module, job: Job, data: Data) -> Answers:
    """What a trained model says about the near-duplicates that its job asks for.

    In the precision it was trained in, which takes a fourth of the time where that is bfloat16.

    Args:
        model: on the processor, which it is left on.
        job: with ``further``.
        data: the data set.

    Returns:
        ``near``, and the seconds it took; nothing else.
    """
    assert job.further is not None
    started = time.perf_counter()
    device = torch.device(job.device)
    ids = job.further.ids
    with isolated(job.seed, job.threads), loop.precision(device, job.recipe.schedule):
        asked = model.to(device)
        said = [
            loop.answer(asked, torch.from_numpy(np.ascontiguousarray(inputs)).to(device), _FURTHER)
            for inputs in job.further.near.of(data.inputs[ids], ids)
        ]
        model.cpu()
    nothing = np.zeros((0, 1, data.classes), dtype=np.float32)
    seconds = round(time.perf_counter() - started, 1)
    near = torch.stack(said, dim=1).numpy()
    return Answers(nothing, nothing[:, 0], seconds=seconds, near=near)
