"""Interfaces of defenses and noise sources, and methods: a defense with a training recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy.typing as npt

from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import View


class Noise(Protocol):
    """Where randomness comes from. An argument, never global."""

    @property
    def repeatable(self) -> bool:
        """True if the same call always draws the same, so that answers repeat themselves."""

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        """The logits to go on with, and standard normals for them.

        Args:
            logits: [..., K].
            draws: how many independent normals for each logit; 0 where only the base is needed.
            purpose: the defense with all its parameters, and which use it makes of its noise where
                there are several. Keyed noise enters it in its subkey, because two settings with
                the same normals give the logits back.

        Returns:
            base [..., K]: the logits themselves for fresh noise, the cell's representative for
            keyed noise; everything after the draw is computed from it.
            normals [draws, ..., K].
        """


@runtime_checkable
class Defense(Protocol):
    """Logits to probabilities at answer time: a frozen dataclass of parameters."""

    @property
    def keeps_labels(self) -> bool:
        """True if the answer's largest entry is always the model's own, whatever the noise."""

    @property
    def invertible(self) -> bool:
        """True if what `undo` gives is, on average over fresh noise, the centred logits."""

    @property
    def repeatable(self) -> bool:
        """True if the same query gets the same answer every time, even with fresh noise."""

    def fit(self, view: View) -> Defense:
        """What the defender learns first about one model; itself where there is nothing."""

    def __call__(self, logits: npt.ArrayLike, noise: Noise) -> Floats:
        """Probabilities [..., K] for logits [..., K], in the logits' dtype."""

    def undo(self, log_probs: Float64) -> Float64:
        """What an informed attacker recovers of the logits, centred, from ln of the answers."""


@dataclass(frozen=True)
class Method:
    """A row of a comparison: how the model is trained and how it answers.

    Attributes:
        name: what the row is called.
        defense: how it answers.
        recipe: how it is trained.
        cell_width: of keyed noise, in logits; None for fresh noise.
    """

    name: str
    defense: Defense
    recipe: str = "plain"
    cell_width: float | None = None
