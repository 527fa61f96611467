"""A multilayer perceptron, for tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import nn


@dataclass(frozen=True)
class Mlp:
    """Linear layers with ReLU between them.

    Args:
        hidden: width of each hidden layer.

    >>> sum(p.numel() for p in Mlp((256,)).build((64,), 10).parameters())
    19210
    """

    hidden: tuple[int, ...] = (256,)
    takes: ClassVar[str] = "numbers"
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.models.mlp.Mlp"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Build a module from float32 [n, *shape] to logits [n, classes], torch's default weights.

        The weights come from torch's global generator, which the caller seeds and restores.

        Args:
            shape: the shape of an input.
            classes: number of logits.
        """
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(shape)
        for following in self.hidden:
            layers += [nn.Linear(width, following), nn.ReLU()]
            width = following
        return nn.Sequential(*layers, nn.Linear(width, classes))


MODELS = {"mlp": Mlp}
