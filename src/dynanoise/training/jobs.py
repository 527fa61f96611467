"""Jobs: one model to train, as a value; and its outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int64
from dynanoise.core.seeding import derive
from dynanoise.data.dataset import Data
from dynanoise.data.near_duplicates import NearDuplicates, NearNumbers
from dynanoise.training import divergence, loop
from dynanoise.training.facts import Facts, facts_of
from dynanoise.training.material import Material, Part, train_now
from dynanoise.training.schedule import Schedule

Float32 = npt.NDArray[np.float32]

RANDOM_INPUTS = 100
"""Number of random inputs that every model is queried on, for defenses that need them."""

_NEAR_AT_ONCE = 64
"""Near-duplicates in a batch of queries; fastest in bfloat16."""


class Recipe(Protocol):
    """A way to train a model: a frozen dataclass of parameters, registered in ``RECIPES``.

    A recipe whose model is made of several of the architecture has two further methods:
    ``assemble(build)``, the module that stored weights are loaded into, and
    ``untrained(material)``, the module with initial weights that can be queried.

    A recipe with sub-models that can be trained alone has their number, ``models``, and a method
    ``train_part(material, number)``, and obtains them by ``material.part``. They are then trained
    by several workers and stored one by one, see `execution.parts`.

    Attributes:
        version: raised whenever the recipe's results change, so that stored models of an older
            version are not taken for its own.
    """

    version: Any

    def train(self, material: Material) -> nn.Module:
        """A trained model in evaluation mode, on the material's device.

        Args:
            material: everything the training may use.
        """


@dataclass(frozen=True, eq=False)
class NearQueries:
    """Queries to a trained model on near-duplicates of records.

    Attributes:
        duplicates: the near-duplicates of each record.
        ids: int64 [n], ids of the records.
    """

    duplicates: NearDuplicates | NearNumbers
    ids: Int64


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that determines a trained model.

    Attributes:
        name: for progress and logs, "target" or "shadow 2".
        model: an architecture, such as `models.mlp.Mlp`.
        recipe: how to train it, such as `recipes.plain.Plain`.
        members, reference: int64 [n], ids to train on and ids of known non-members.
        seed: decides the initial weights and the order of the records.
        queries: int64 [n], ids in ascending order of the records that the model is queried on, the
            members among them; None for all of the data.
        threads: threads of the processor, >= 1; another number may round differently.
        device: where to train, "cpu" or "cuda".
        near: near-duplicates that the trained model is queried on as well; no part of what
            determines the model.
    """

    name: str
    model: Any
    recipe: Any
    members: Int64
    reference: Int64
    seed: int
    queries: Int64 | None = None
    threads: int = 1
    device: str = "cpu"
    near: NearQueries | None = None

    def __post_init__(self) -> None:
        if self.queries is None:
            return
        if np.any(np.diff(self.queries) <= 0) or not np.isin(self.members, self.queries).all():
            raise InputError(
                f"The {len(self.queries)} queried ids are not in ascending order, or lack some "
                f"of the {len(self.members)} members.",
                "Use np.unique of all ids that play a part.",
            )

    @property
    def schedule(self) -> Schedule:
        """The recipe's schedule; one in float32 if the recipe of another package has none."""
        schedule: Schedule = getattr(self.recipe, "schedule", Schedule())
        return schedule

    def material(self, data: Data, part: Part = train_now) -> Material:
        """Everything that the job's recipe may use.

        Args:
            data: the data set.
            part: gives the recipe its sub-models, see `material.Material`.
        """
        device = torch.device(self.device)
        return Material(
            build=lambda: self.model.build(data.inputs.shape[1:], data.classes).to(device),
            data=data,
            members=self.members,
            reference=self.reference,
            seed=self.seed,
            device=device,
            part=part,
        )


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """Outputs of one trained model.

    Attributes:
        logits: float32 [n, A, K], on every record it was queried on, in the order of ids.
        random: float32 [R, K], logits on R random inputs (see `Data.random_inputs`).
        retries: number of times training diverged and was repeated; see
            `divergence.train_with_retries`.
        seconds: wall time of training and queries, when that was done.
        facts: numbers that the recipe adds, such as DP-SGD's epsilon (see `facts`).
        near: float32 [m, A - 1, K], logits on the near-duplicates of the records of `Job.near`;
            None where the job has none.
        node: the node of a cluster that trained the model, for progress; "" for this machine.
        bfloat16: True if it was trained in bfloat16, False in float32.
    """

    logits: Float32
    random: Float32
    retries: int = 0
    seconds: float = 0.0
    facts: Facts = field(default_factory=dict)
    near: Float32 | None = None
    node: str = ""
    bfloat16: bool = False


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, on the processor, and its outputs."""

    model: nn.Module
    outputs: ModelOutputs


class Executor(Protocol):
    """Runs jobs, possibly several at once."""

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[ModelOutputs]:
        """Yield the outputs of the jobs' models, in the order of the jobs.

        Args:
            jobs: the models.
            data: the data set of all of them.
        """


def assembled(recipe: Any, build: Callable[[], nn.Module]) -> nn.Module:
    """The module that a recipe's stored weights are loaded into.

    Args:
        recipe: how the stored model was trained.
        build: makes a model of the architecture.
    """
    module: nn.Module = recipe.assemble(build) if hasattr(recipe, "assemble") else build()
    return module


@contextmanager
def isolated(seed: int, threads: int) -> Iterator[None]:
    """Set torch's global generator and thread count, and restore both afterwards.

    Args:
        seed: the generator's seed.
        threads: number of threads, >= 1.
    """
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def train_and_query(
    job: Job, data: Data, part_of: Callable[[Job], Part] = lambda job: train_now
) -> Trained:
    """Train the job's model and query it on the records and on random inputs.

    The same job gives the same bits on the same machine, torch build and thread count.

    Args:
        job: the model.
        data: the data set.
        part_of: gives a recipe its sub-models, see `execution.parts.Parts`. It gets the job with
            the recipe of each attempt.

    Returns:
        The model and its outputs, without those on near-duplicates.

    Raises:
        DivergedError: if the model is at chance on its members, smaller steps included.
    """
    started = time.perf_counter()
    trained, retries = divergence.train_with_retries(
        f"{job.name} ({type(job.recipe).__name__})",
        job.recipe,
        lambda recipe: _attempt(replace(job, recipe=recipe), data, part_of),
    )
    seconds = round(time.perf_counter() - started, 1)
    return replace(trained, outputs=replace(trained.outputs, retries=retries, seconds=seconds))


def _attempt(job: Job, data: Data, part_of: Callable[[Job], Part]) -> Trained:
    """One training run, from the job's seed on."""
    with isolated(job.seed, job.threads):
        model = job.recipe.train(job.material(data, part_of(job)))
        device = torch.device(job.device)
        random = data.random_inputs(RANDOM_INPUTS, derive(job.seed, "random inputs"))
        ids = np.arange(len(data)) if job.queries is None else job.queries
        inputs = torch.from_numpy(data.inputs[ids]).to(device)
        outputs = ModelOutputs(
            logits=loop.predict(model, inputs)[:, None].numpy(),
            random=loop.predict(model, torch.from_numpy(random).to(device)).numpy(),
            facts=facts_of(model),
            bfloat16=job.schedule.bfloat16,
        )
        on_members = outputs.logits[np.searchsorted(ids, job.members), 0]
        divergence.check_converged(
            "the model",
            on_members,
            data.labels[job.members],
            private="epsilon" in outputs.facts,
        )
        return Trained(model.cpu(), outputs)


def query_near(model: nn.Module, job: Job, data: Data) -> ModelOutputs:
    """Query a trained model on the near-duplicates of its job.

    It runs in the precision it was trained in, because bfloat16 takes a fraction of the time.

    Args:
        model: on the processor, where it stays afterwards.
        job: with ``near``.
        data: the data set.

    Returns:
        ``near``, and the seconds it took; nothing else.
    """
    assert job.near is not None
    started = time.perf_counter()
    device = torch.device(job.device)
    ids = job.near.ids
    with isolated(job.seed, job.threads), loop.precision(device, job.schedule):
        on_device = model.to(device)
        logits = [
            loop.predict(
                on_device,
                torch.from_numpy(np.ascontiguousarray(inputs)).to(device),
                _NEAR_AT_ONCE,
            )
            for inputs in job.near.duplicates.of(data.inputs[ids], ids)
        ]
        model.cpu()
    nothing = np.zeros((0, 1, data.classes), dtype=np.float32)
    seconds = round(time.perf_counter() - started, 1)
    near = torch.stack(logits, dim=1).numpy()
    return ModelOutputs(nothing, nothing[:, 0], seconds=seconds, near=near)
