"""Interfaces of defenses and noise sources, and methods: a defense with a training recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import numpy.typing as npt

from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import View


class Noise(Protocol):
    """A source of randomness, passed to every call of a defense; there is no global one."""

    @property
    def repeatable(self) -> bool:
        """True if equal calls draw equal noise, so that outputs repeat."""

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        """Draw standard normals for logits.

        Args:
            logits: float64 [..., K].
            draws: number of independent normals for each logit; 0 where only the base is needed.
            purpose: canonical text of the defense with all its parameters, and of the use where a
                defense uses its noise in several ways. Keyed noise derives its subkey from it,
                because two settings with equal normals would reveal the logits.

        Returns:
            base: float64 [..., K], from which the output is computed: the logits themselves for
                fresh noise, the cell's representative for keyed noise.
            normals: float64 [draws, ..., K].
        """


@runtime_checkable
class Defense(Protocol):
    """A map from logits to probabilities at answer time: a frozen dataclass with a pure call."""

    @property
    def keeps_labels(self) -> bool:
        """True if the output's largest entry is the model's own label under any noise."""

    @property
    def invertible(self) -> bool:
        """True if `undo` gives, on average over fresh noise, the centred logits."""

    @property
    def repeatable(self) -> bool:
        """True if equal queries get equal outputs, even with fresh noise."""

    def fit(self, view: View) -> Defense:
        """Fit to one model; return a fitted copy, or the defense itself without anything to fit.

        Args:
            view: the outputs that the defender of this model may use.
        """

    def __call__(self, logits: npt.ArrayLike, noise: Noise) -> Floats:
        """Compute defended probabilities.

        Args:
            logits: float32 or float64 [..., K], finite, K >= 2.
            noise: the source of randomness.

        Returns:
            Probabilities [..., K] in the logits' dtype.

        Raises:
            InputError: for other logits.
            NotFittedError: if the defense must be fitted first.
        """

    def undo(self, log_probs: Float64) -> Float64:
        """Recover from outputs all that an attacker who knows the defense can of the logits.

        Args:
            log_probs: ln of the outputs, float64 [..., K].

        Returns:
            float64 [..., K], rows of mean 0.
        """


def make_responder(defense: Defense, logits: npt.ArrayLike) -> Callable[[Noise], Floats]:
    """Fix the logits of repeated calls.

    A defense may have a method ``responder`` that computes once what does not depend on the noise,
    such as variances.

    Args:
        defense: a defense, fitted if it must be.
        logits: float32 or float64 [..., K], finite, K >= 2.

    Returns:
        The defense's outputs [..., K] as a function of the noise.

    Raises:
        InputError: for other logits, at the latest when the function is called.
    """
    responder: Callable[[npt.ArrayLike], Callable[[Noise], Floats]] | None
    responder = getattr(defense, "responder", None)
    return partial(defense, logits) if responder is None else responder(logits)


def count_passes(defense: Defense) -> float:
    """Count the passes over the logits that a call takes, which tell what it costs.

    A defense may have an attribute ``passes``, if a call's time grows with its logits alone: the
    number of draws, or 1 without noise.

    Returns:
        The number; infinity for other defenses, such as those that search for each row's output.
    """
    return float(getattr(defense, "passes", math.inf))


@dataclass(frozen=True)
class Method:
    """A row of a comparison: a training recipe and a defense at answer time.

    Attributes:
        name: title of the row.
        defense: the defense of the outputs.
        recipe: name of the training recipe.
        cell_width: the width of keyed noise's cells, in logits; None for fresh noise.
    """

    name: str
    defense: Defense
    recipe: str = "plain"
    cell_width: float | None = None
