"""HAMP's training half: high-entropy soft labels and a reward for entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from dynanoise.core.errors import InputError
from dynanoise.training import loop
from dynanoise.training.material import Material
from dynanoise.training.schedule import Schedule

Scaling = Literal["per_class", "per_batch"]


def label_confidence(gamma: float, classes: int) -> float:
    """Compute the p for which a label of p on y and (1-p)/(K-1) elsewhere has entropy gamma ln K.

    Args:
        gamma: in [0, 1]; 0 gives a hard label, 1 a uniform one.
        classes: K >= 2.

    >>> round(label_confidence(0.95, 10), 4)
    0.2698
    """
    from scipy.optimize import brentq

    def excess(p: float) -> float:
        rest = 1 - p
        nats = -p * math.log(p) - (rest * math.log(rest / (classes - 1)) if rest > 0 else 0.0)
        return nats - gamma * math.log(classes)

    # At these ends rounding may leave the excess without a change of sign.
    if gamma in (0.0, 1.0):
        return 1.0 if gamma == 0 else 1 / classes
    return float(brentq(excess, 1 / classes, 1.0, xtol=1e-12))


def soft_labels(labels: Tensor, confidence: float, classes: int) -> Tensor:
    """Make soft labels: ``confidence`` on the label, the rest spread evenly.

    Args:
        labels: int64 [b].
        confidence: in [1 / K, 1].
        classes: K >= 2.

    Returns:
        float32 [b, K].

    >>> soft_labels(torch.tensor([1]), 0.5, 3).tolist()
    [[0.25, 0.5, 0.25]]
    """
    rows = torch.full(
        (len(labels), classes), (1 - confidence) / (classes - 1), device=labels.device
    )
    return rows.scatter_(1, labels[:, None], confidence)


def hamp_loss(logits: Tensor, soft: Tensor, alpha: float, scaling: Scaling) -> Tensor:
    """Compute KL(soft || p) - alpha H(p) of one batch (Chen & Pattabiraman 2024, section IV).

    Args:
        logits: [b, K].
        soft: probabilities [b, K].
        alpha: weight of the entropy, averaged over the batch.
        scaling: "per_class" averages the KL terms over batch and classes, "per_batch" over the
            batch alone.

    Returns:
        A scalar.

    >>> rows, soft = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    >>> for scaling in ("per_class", "per_batch"):  # ln 2 / 2 and ln 2
    ...     print(round(hamp_loss(rows, soft, 0.0, scaling).item(), 4))
    0.3466
    0.6931
    """
    log_probs = logits.log_softmax(dim=1)
    entropy = -(log_probs.exp() * log_probs).sum(dim=1).mean()
    divergence = (torch.xlogy(soft, soft) - soft * log_probs).sum(dim=1).mean()
    scale = logits.shape[1] if scaling == "per_class" else 1
    return divergence / scale - alpha * entropy


@dataclass(frozen=True)
class Hamp:
    """Training on labels of high entropy, with a reward for outputs of high entropy.

    Chen & Pattabiraman, "Overconfidence is a Dangerous Thing: Mitigating Membership Inference
    Attacks by Enforcing Less Confident Prediction", NDSS 2024. The other half, which replaces the
    outputs' values, is the defense `defenses.hamp.HAMP`.

    Args:
        schedule: how long and how fast. With "per_class" the loss is K times smaller, which
            changes the steps of SGD and not of Adam: the authors step by 0.5.
        gamma: entropy of the soft labels as a share of ln K, in [0, 1).
        alpha: weight of the entropy reward, >= 0.
        scaling: "per_class", the authors': KL averaged over the batch and the classes, to which the
            published alpha belongs; or "per_batch", that of DynaNoise's artifact, which makes the
            reward K times weaker.

    Raises:
        InputError: for a parameter outside its range.
    """

    schedule: Schedule = field(default_factory=Schedule)
    gamma: float = 0.95
    alpha: float = 0.001
    scaling: Scaling = "per_class"
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.recipes.hamp.Hamp"

    def __post_init__(self) -> None:
        if not (0 <= self.gamma < 1 and self.alpha >= 0):
            raise InputError(
                f"gamma is {self.gamma} and alpha {self.alpha}.",
                "Use a gamma from 0 to below 1, where labels are uniform, and no negative alpha.",
            )
        if self.scaling not in ("per_class", "per_batch"):
            raise InputError(f"scaling is {self.scaling!r}.", "Use 'per_class' or 'per_batch'.")

    def train(self, material: Material) -> nn.Module:
        """Train a model on the members; it is returned in evaluation mode.

        Args:
            material: everything the training may use.
        """
        classes = material.data.classes

        def loss(logits: Tensor, soft: Tensor, epoch: int) -> Tensor:
            return hamp_loss(logits, soft, self.alpha, self.scaling)

        def targets(labels: Tensor) -> Tensor:
            return soft_labels(labels, label_confidence(self.gamma, classes), classes)

        return loop.fit_members(material, self.schedule, loss=loss, targets=targets)


RECIPES = {"hamp": Hamp}
