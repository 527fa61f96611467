"""Plain training by cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import nn

from dynanoise.training import loop
from dynanoise.training.material import Material
from dynanoise.training.schedule import Schedule


@dataclass(frozen=True)
class Plain:
    """Minibatch cross-entropy on the members, no augmentation: the undefended model.

    Args:
        schedule: how long and how fast.
    """

    schedule: Schedule = field(default_factory=Schedule)
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.recipes.plain.Plain"

    def train(self, material: Material) -> nn.Module:
        """Train a model on the members; it is returned in evaluation mode.

        Args:
            material: everything the training may use.
        """
        return loop.fit_members(material, self.schedule)


RECIPES = {"plain": Plain}
