"""RelaxLoss: the training loss is held at a level instead of being driven to 0."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from dynanoise.core.errors import InputError
from dynanoise.training import loop
from dynanoise.training.material import Material
from dynanoise.training.schedule import Schedule


def relaxed(logits: Tensor, labels: Tensor, epoch: int, alpha: float, upper: float) -> Tensor:
    """Compute the loss of one batch (Chen, Yu & Fritz, ICLR 2022, algorithm 1), a scalar.

    With L the batch's mean cross-entropy: even epochs |L - alpha|; odd epochs L where L > alpha,
    else the mean of [wrong] CE(z, soft) - CE(z, y), where soft has min(p_y, upper) on y and the
    rest spread evenly over the other classes. As in the authors' code the gradient passes through
    soft too.

    Args:
        logits: [b, K].
        labels: int64 [b].
        epoch: counted from 0.
        alpha: the level, in nats, >= 0.
        upper: largest confidence of a soft label, in (0, 1].

    >>> rows, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> round(relaxed(rows, labels, 0, 1.0, 1.0).item(), 4)  # |0.1269 - 1|
    0.8731
    >>> round(relaxed(rows, labels, 1, 1.0, 1.0).item(), 4)  # already right: -CE
    -0.1269
    """
    level = loop.cross_entropy(logits, labels)
    if alpha == 0:
        # The same by the formula, except that a loss rounded to 0 would have the wrong gradient.
        return level
    if epoch % 2 == 0:
        return (level - alpha).abs()
    log_probs = logits.log_softmax(dim=1)
    on_label = log_probs.gather(1, labels[:, None])
    confidence = on_label.exp().clamp(max=upper)
    others = (1 - confidence) / (logits.shape[1] - 1)
    soft = others.expand_as(logits).scatter(1, labels[:, None], confidence)
    wrong = logits.argmax(dim=1) != labels
    flattening = -(soft * log_probs).sum(dim=1)
    return torch.where(level > alpha, level, (wrong * flattening + on_label[:, 0]).mean())


@dataclass(frozen=True)
class RelaxLoss:
    """Gradient descent above the loss level ``alpha``, ascent and flattening below it.

    Chen, Yu & Fritz, "RelaxLoss: Defending Membership Inference Attacks without Losing Utility",
    ICLR 2022. Non-members have a loss well above 0, so members are kept there too.

    Args:
        schedule: how long and how fast.
        alpha: the level, in nats, >= 0; 0 is plain training. The paper has 1 for CIFAR-10 with a
            ResNet-20 and 0.4 with a VGG-11; elsewhere about the undefended model's test loss.
        upper: largest confidence of a soft label, in (0, 1]; 1 for CIFAR-10.

    Raises:
        InputError: for an ``alpha`` or ``upper`` outside its range.
    """

    schedule: Schedule = field(default_factory=Schedule)
    alpha: float = 1.0
    upper: float = 1.0
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.recipes.relaxloss.RelaxLoss"

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and 0 < self.upper <= 1):
            raise InputError(
                f"alpha is {self.alpha} and upper {self.upper}.",
                "Use an alpha of 0 or more and an upper above 0 and at most 1.",
            )

    def train(self, material: Material) -> nn.Module:
        """Train a model on the members; it is returned in evaluation mode.

        Args:
            material: everything the training may use.
        """

        def loss(logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
            return relaxed(logits, labels, epoch, self.alpha, self.upper)

        return loop.fit_members(material, self.schedule, loss=loss)


RECIPES = {"relaxloss": RelaxLoss}
