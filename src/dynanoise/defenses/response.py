"""From what a model answers, logits or probabilities, to what its users get."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Floats
from dynanoise.noise.system import SystemFresh

_ROUNDING = 0.01
"""How far probabilities may sum from 1: float16 of 1,000 classes does."""


def system_noise() -> Noise:
    """Fresh noise of the operating system, which threads, copies and forks never repeat."""
    return SystemFresh()


def answer_logits(defense: Defense, noise: Noise, logits: npt.ArrayLike, axis: int = -1) -> Floats:
    """Defended probabilities for logits whose classes lie along ``axis``; shape and dtype stay.

    Raises:
        InputError: if there is no such axis, or as `numerics.as_logits`.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> answer_logits(Temperature(1), system_noise(), np.log([[1.0], [3.0]]), axis=0).round(6)
    array([[0.25],
           [0.75]])
    """
    rows = _classes_last(numerics.as_array(logits, "logits"), axis)
    return np.moveaxis(defense(rows, noise), -1, axis)


def answer_probabilities(
    defense: Defense, noise: Noise, probs: npt.ArrayLike, axis: int = -1
) -> Floats:
    """The same for probabilities p, which count as the logits ln max(p, tiny).

    The label that a defense keeps is the lowest index of the largest p.

    Raises:
        InputError: if there is no such axis, they are not float32 or float64, there are fewer than
            two classes, or they are no probabilities.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> answer_probabilities(Temperature(2), system_noise(), [[0.1, 0.9]]).round(6).tolist()
    [[0.25, 0.75]]
    """
    rows, dtype = numerics.as_logits(
        _classes_last(numerics.as_array(probs, "probabilities"), axis), "probabilities"
    )
    sums = rows.sum(axis=-1)
    off = np.abs(sums - 1) > _ROUNDING
    if (rows < 0).any() or off.any():
        odd = rows.min() if (rows < 0).any() else sums[off].flat[0]
        raise InputError(
            f"probabilities {'hold' if (rows < 0).any() else 'sum to'} {odd:.4g}.",
            "Pass a model's probabilities of all classes, or say that they are logits.",
        )
    # Neighbouring small numbers can have the same logarithm; the label must not move.
    logits = numerics.favour(numerics.log_probabilities(rows), rows.argmax(axis=-1))
    answer = defense(logits, noise).astype(np.float64, copy=False)
    narrow = numerics.favour(numerics.narrow(answer, dtype), answer.argmax(axis=-1))
    return np.moveaxis(narrow, -1, axis)


def _classes_last(values: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    if not -values.ndim <= axis < values.ndim:
        raise InputError(
            f"The class axis is {axis}, and what the model answered has shape {values.shape}.",
            "Name an axis of the output, -1 for the last.",
        )
    return np.moveaxis(values, axis, -1)
