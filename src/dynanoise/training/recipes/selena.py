"""SELENA: a student distilled from sub-models' outputs on records that they were not trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from dynanoise.core.errors import InputError
from dynanoise.core.seeding import derive
from dynanoise.training import divergence, loop
from dynanoise.training.facts import attach
from dynanoise.training.material import Material
from dynanoise.training.schedule import Schedule


def partition(count: int, models: int, left_out: int, generator: torch.Generator) -> Tensor:
    """Draw the records that each sub-model is trained on.

    Each record is left out of exactly ``left_out`` sub-models, drawn uniformly and independently,
    so a sub-model is trained on about count (1 - left_out / models) records.

    Args:
        count: number of records.
        models: number of sub-models.
        left_out: number of sub-models that a record is left out of.
        generator: makes the draws.

    Returns:
        bool [models, count], True where a sub-model is trained on a record.

    >>> members = partition(4, 5, 2, torch.Generator().manual_seed(0))
    >>> members.shape, members.sum(0).tolist()
    (torch.Size([5, 4]), [3, 3, 3, 3])
    """
    order = torch.rand(count, models, generator=generator).argsort(dim=1)
    members = torch.ones(count, models, dtype=torch.bool)
    return members.scatter_(1, order[:, :left_out], value=False).T.contiguous()


def split_ai(
    train: Callable[[int], nn.Module], inputs: Tensor, labels: Tensor, members: Tensor
) -> Tensor:
    """Average the outputs of the sub-models that were not trained on a record (Split-AI).

    A sub-model is queried in evaluation mode and then released: one is in memory at a time.

    Args:
        train: trains a sub-model, from its number.
        inputs: [n, ...].
        labels: int64 [n], to notice a sub-model that learnt nothing.
        members: bool [models, n], see `partition`.

    Returns:
        The mean softmax float32 [n, K], on the device of ``inputs``.

    Raises:
        DivergedError: for a sub-model at chance on the records it was trained on.
    """
    total: Tensor | None = None
    for number, mask in enumerate(members):
        rows, unseen = (part.nonzero()[:, 0].to(inputs.device) for part in (mask, ~mask))
        teacher = train(number).eval()
        divergence.check_converged(
            f"sub-model {number}",
            loop.predict(teacher, inputs[rows]).numpy(),
            labels[rows].cpu().numpy(),
        )
        if len(unseen) == 0:
            continue
        outputs = loop.predict(teacher, inputs[unseen]).softmax(dim=1)
        if total is None:
            total = torch.zeros(len(inputs), outputs.shape[1])
        total[unseen.cpu()] += outputs
    assert total is not None  # every record is left out of at least one
    return (total / (~members).sum(dim=0)[:, None]).to(inputs.device)


@dataclass(frozen=True)
class Selena:
    """A student distilled from Split-AI's sub-models, which are not kept.

    Tang et al., "Mitigating Membership Inference Attacks by Self-Distillation Through a Novel
    Ensemble Architecture", USENIX Security 2022. The student is trained on the members' inputs and
    the sub-models' outputs, no true label and no other data; no epoch is selected by test accuracy.

    The returned model carries the fact "seen" (see `training.facts`): bool [models, n], True where
    a sub-model was trained on the member at that position of ``material.members``.

    Args:
        schedule: how long and how fast to train every sub-model and the student.
        models: K, the number of sub-models.
        left_out: L, the number of sub-models that a member is left out of, 1 <= L < K.

    Raises:
        InputError: unless 1 <= ``left_out`` < ``models``.
    """

    schedule: Schedule = field(default_factory=Schedule)
    models: int = 25
    left_out: int = 10
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.recipes.selena.Selena"

    def __post_init__(self) -> None:
        if not 1 <= self.left_out < self.models:
            raise InputError(
                f"left_out is {self.left_out} with {self.models} models.",
                "Leave each member out of at least one sub-model and not out of all of them, such "
                "as 10 of 25.",
            )

    def train(self, material: Material) -> nn.Module:
        """Train the sub-models and the student.

        Args:
            material: everything the training may use.

        Returns:
            The student in evaluation mode.

        Raises:
            InputError: if a sub-model has no members.
            DivergedError: for a sub-model at chance on its members.
        """
        inputs, labels = material.inputs(material.members), material.labels(material.members)
        members = self._partition(material)
        # Before the sub-models, so that it starts from the job's own seed as a plain model does.
        student = material.build()

        def obtain(number: int) -> nn.Module:
            return material.part(number, partial(self.train_part, material, number))

        soft = split_ai(obtain, inputs, labels, members)
        loop.fit(student, inputs, soft, self.schedule, material.generator("order"))
        attach(student, {"seen": members.numpy()})
        return student

    def train_part(self, material: Material, number: int) -> nn.Module:
        """Train one of the sub-models.

        Args:
            material: everything the training may use.
            number: its number, from 0.

        Returns:
            The sub-model in evaluation mode, the same as `train` trains.

        Raises:
            InputError: if a sub-model has no members.
        """
        ids = material.members[self._partition(material)[number].numpy()]
        # A seed of its own, and the global generator left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(material.seed, "sub-model", number))
            return loop.fit(
                material.build(),
                material.inputs(ids),
                material.labels(ids),
                self.schedule,
                material.generator(f"order of sub-model {number}"),
            )

    def _partition(self, material: Material) -> Tensor:
        """The members bool [models, n] that each sub-model is trained on."""
        count = len(material.members)
        members = partition(count, self.models, self.left_out, material.generator("left out"))
        if not members.any(dim=1).all():
            raise InputError(
                f"{count} members leave one of {self.models} sub-models without any.",
                "Use more members or fewer models.",
            )
        return members


RECIPES = {"selena": Selena}
