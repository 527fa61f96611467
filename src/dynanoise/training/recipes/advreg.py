"""Adversarial regularization: the model trains against a membership attack that trains with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from dynanoise.core.errors import InputError
from dynanoise.training import loop
from dynanoise.training.material import Material
from dynanoise.training.schedule import Schedule

JOINED = {"cifar": (256, 128, 64), "purchase": (512, 256, 128, 64)}
"""Widths of the inference model's joined part: the paper's two."""


class Inference(nn.Module):
    """The inference model h(z, y): the probability that logits z on label y are a member's.

    A branch K-1024-512-64 for the logits, one K-128-64 for the one-hot label, and a joined part
    that ends in one unit (Nasr et al. 2018). Weights are normal with standard deviation
    sqrt(2 / fan-in), biases 0; with the 0.01 of the authors' code seven layers hardly learn in a
    short training.

    Args:
        classes: K.
        joined: hidden widths of the joined part.
        generator: draws the weights; torch's global generator is not used.

    >>> h = Inference(10, JOINED["cifar"], torch.Generator().manual_seed(0))
    >>> sum(p.numel() for p in h.parameters())
    652801
    """

    def __init__(self, classes: int, joined: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        self.classes = classes
        self.of_logits = _layers((classes, 1024, 512, 64), generator)
        self.of_label = _layers((classes, 128, 64), generator)
        # The last layer has no ReLU.
        self.joined = nn.Sequential(*list(_layers((128, *joined, 1), generator))[:-1])

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute ln h - ln(1 - h), of which h is the sigmoid.

        Args:
            logits: float32 [b, K].
            labels: int64 [b].

        Returns:
            [b].
        """
        one_hot = nn.functional.one_hot(labels, self.classes).to(logits.dtype)
        both = torch.cat([self.of_logits(logits), self.of_label(one_hot)], dim=1)
        score: Tensor = self.joined(both)[:, 0]
        return score


def _layers(widths: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    """Linear layers, each with a ReLU behind it."""
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        # skip_init: the constructor would draw from the global generator, and the defended model's
        # dropout would no longer be that of plain training.
        linear = nn.utils.skip_init(nn.Linear, width, following)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers)


class Adversary:
    """The inference model with the records it is trained on.

    Args:
        inference: h.
        members, reference: inputs and labels of known members and non-members.
        rate: Adam's step.
        batch: records of either kind a step.
        generator: draws them.
        schedule: the schedule of the defended model, for its precision.
    """

    def __init__(
        self,
        inference: Inference,
        members: tuple[Tensor, Tensor],
        reference: tuple[Tensor, Tensor],
        *,
        rate: float,
        batch: int,
        generator: torch.Generator,
        schedule: Schedule,
    ) -> None:
        self.inference = inference
        self.members, self.reference = members, reference
        self.batch = min(batch, len(members[1]), len(reference[1]))
        self.generator = generator
        self.schedule = schedule
        self.steps = torch.optim.Adam(inference.parameters(), lr=rate, fused=True)

    def step(self, model: nn.Module) -> None:
        """Make one step of h up its gain; ``model`` keeps its weights, statistics and mode.

        Args:
            model: the defended model.
        """
        members, others = self._drawn(self.members), self._drawn(self.reference)
        inputs, labels = torch.cat([members[0], others[0]]), torch.cat([members[1], others[1]])
        training = model.training
        model.eval()  # batch normalisation would otherwise learn from the reference
        with torch.no_grad(), loop.precision(inputs.device, self.schedule):
            logits = model(inputs)
        model.train(training)
        truth = torch.arange(len(labels), device=labels.device) < self.batch
        self.inference.requires_grad_(True)
        self.steps.zero_grad(set_to_none=True)
        score = self.inference(logits.float(), labels)
        # Minus the gain, 1/2 E ln h + 1/2 E ln(1 - h).
        nn.functional.binary_cross_entropy_with_logits(score, truth.float()).backward()
        self.steps.step()

    def gain(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the mean of ln h over members, which the defended model lowers.

        The inference model gets no gradient.

        Args:
            logits: [b, K].
            labels: int64 [b].
        """
        self.inference.requires_grad_(False)
        return nn.functional.logsigmoid(self.inference(logits, labels)).mean()

    def _drawn(self, records: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, labels = records
        chosen = torch.randperm(len(labels), generator=self.generator)[: self.batch]
        chosen = chosen.to(labels.device)
        return inputs[chosen], labels[chosen]


@dataclass(frozen=True)
class AdvReg:
    """Cross-entropy plus alpha times the gain of an inference model that is trained alongside.

    Nasr, Shokri & Houmansadr, "Machine Learning with Membership Privacy using Adversarial
    Regularization", CCS 2018, algorithm 1: after a few plain epochs one step of the inference
    model h, on as many members as reference records, alternates with one step of the model f on
    CE + alpha mean ln h(f(x), y). ``material.reference`` is the paper's D'.

    Args:
        schedule: how long and how fast to train the defended model.
        alpha: weight of the gain, >= 0; 0 is plain training to the last bit. 6 for CIFAR-10; tune
            it elsewhere.
        plain_epochs: epochs before the inference model joins in; the authors' code has 4.
        inference_rate: step size of the inference model's Adam.
        joined: the inference model's joined part, "cifar" (256-128-64-1) or "purchase"
            (512-256-128-64-1).

    Raises:
        InputError: for a parameter outside its range.
    """

    schedule: Schedule = field(default_factory=Schedule)
    alpha: float = 6.0
    plain_epochs: int = 4
    inference_rate: float = 1e-3
    joined: Literal["cifar", "purchase"] = "cifar"
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.recipes.advreg.AdvReg"

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and self.plain_epochs >= 0 and self.inference_rate > 0):
            raise InputError(
                f"alpha is {self.alpha}, plain_epochs {self.plain_epochs}, inference_rate "
                f"{self.inference_rate}.",
                "Use 0 or more for the first two and an inference_rate above 0.",
            )
        if self.joined not in JOINED:
            raise InputError(f"joined is {self.joined!r}.", "Use 'cifar' or 'purchase'.")
        if self.plain_epochs >= self.schedule.epochs:
            raise InputError(
                f"The inference model joins after {self.plain_epochs} of {self.schedule.epochs} "
                "epochs, so it never does.",
                "Use fewer plain_epochs or more epochs.",
            )

    def train(self, material: Material) -> nn.Module:
        """Train a model on the members against an inference model.

        Args:
            material: everything the training may use.

        Returns:
            The model in evaluation mode.

        Raises:
            InputError: if the reference is empty or shares records with the members.
        """
        _refuse_overlap(material)
        model = material.build()
        inputs, labels = material.inputs(material.members), material.labels(material.members)
        inference = Inference(
            material.data.classes, JOINED[self.joined], material.generator("inference weights")
        )
        adversary = Adversary(
            inference.to(material.device),
            (inputs, labels),
            (material.inputs(material.reference), material.labels(material.reference)),
            rate=self.inference_rate,
            batch=self.schedule.batch,
            generator=material.generator("inference order"),
            schedule=self.schedule,
        )

        def loss(logits: Tensor, targets: Tensor, epoch: int) -> Tensor:
            plain = loop.cross_entropy(logits, targets, epoch)
            if epoch < self.plain_epochs:
                return plain
            # The logits are from before this step of h, which does not change f.
            adversary.step(model)
            return plain + self.alpha * adversary.gain(logits, targets)

        return loop.fit(
            model, inputs, labels, self.schedule, material.generator("order"), loss=loss
        )


def _refuse_overlap(material: Material) -> None:
    shared = len(np.intersect1d(material.members, material.reference))
    if shared:
        raise InputError(
            f"The reference shares {shared} ids with the members.",
            "Use known non-members as the reference: the inference model learns to tell the two "
            "apart.",
        )
    if len(material.reference) == 0:
        raise InputError("The reference is empty.", "Adversarial regularization needs non-members.")


RECIPES = {"advreg": AdvReg}
