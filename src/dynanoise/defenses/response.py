"""From a model's output, logits or probabilities, to the response its users get."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.arrays.predictions import check_probabilities
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Floats
from dynanoise.noise.fresh import SystemFresh

INPUTS = ("logits", "probabilities")
"""Kinds of model output that a defense can be put behind."""

SYSTEM_NOISE = "noise of the operating system"
"""Fresh noise without a source of its own, in a repr."""


def system_noise() -> Noise:
    """Fresh noise of the operating system, which threads, copies and forks never repeat."""
    return SystemFresh()


def defend(
    outputs: npt.ArrayLike,
    defense: Defense,
    noise: Noise,
    *,
    class_axis: int = -1,
    kind: str = "logits",
) -> Floats:
    """Compute the defended probabilities of a model's outputs.

    Probabilities p count as the logits ln max(p, tiny); the label that a defense keeps is then the
    lowest index of the largest p.

    Args:
        outputs: float32 or float64, with K >= 2 classes along ``class_axis``.
        defense: fitted, where it must be.
        noise: randomness of the response.
        class_axis: axis of the classes.
        kind: "logits" or "probabilities".

    Returns:
        Probabilities in [0, 1] of the shape and dtype of ``outputs``.

    Raises:
        InputError: if there is no such axis, an output is not finite, there are fewer than two
            classes, or probabilities are negative or do not sum to 1 (within 0.01).
        NotFittedError: if the defense must be fitted first.
        SecretError: if the noise is keyed and there is no usable secret.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> classes_first = np.array([[0.9, 0.8], [0.1, 0.2]])
    >>> defend(
    ...     classes_first, Temperature(2), system_noise(), class_axis=0, kind="probabilities"
    ... ).round(3).tolist()
    [[0.75, 0.667], [0.25, 0.333]]
    """
    array = numerics.as_array(outputs, kind)
    if not -array.ndim <= class_axis < array.ndim:
        raise InputError(
            f"The class axis is {class_axis}, and the model's output has shape {array.shape}.",
            "Name an axis of the output, -1 for the last.",
        )
    # Sums over strided memory differ in the last place.
    rows = np.ascontiguousarray(np.moveaxis(array, class_axis, -1))
    probs = defense(rows, noise) if kind == "logits" else _defend_probs(rows, defense, noise)
    return np.moveaxis(probs, -1, class_axis)


def _defend_probs(probs: npt.NDArray[Any], defense: Defense, noise: Noise) -> Floats:
    rows, dtype = numerics.as_logits(probs, "probabilities")
    check_probabilities(rows, "probabilities")
    # Neighbouring small numbers can have the same logarithm; the label must not move.
    logits = numerics.favour(numerics.log_probabilities(rows), rows.argmax(axis=-1))
    defended = defense(logits, noise).astype(np.float64, copy=False)
    return numerics.favour(numerics.narrow(defended, dtype), defended.argmax(axis=-1))


def check_kind(kind: Any) -> str:
    """Check the kind of a model's output.

    Returns:
        "logits" or "probabilities".

    Raises:
        InputError: for anything else.

    >>> check_kind("probs")
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: input is 'probs'. Use logits or probabilities.
    """
    if kind not in INPUTS:
        raise InputError(f"input is {kind!r}.", f"Use {' or '.join(INPUTS)}.")
    return str(kind)


def check_axis(axis: Any) -> int:
    """Check that an axis is an integer.

    Raises:
        InputError: for anything else.

    >>> check_axis("-1")
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: class_axis is '-1'. Use an integer; -1 is the last axis.
    """
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise InputError(f"class_axis is {axis!r}.", "Use an integer; -1 is the last axis.")
    return axis


def check_defense(defense: Any) -> Defense:
    """Check that an object is a defense, not a name or a class.

    Raises:
        InputError: for anything else.

    >>> check_defense("dynanoise")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: defense is 'dynanoise'. Pass a defense, such as ...
    """
    if isinstance(defense, type) or not isinstance(defense, Defense):
        raise InputError(f"defense is {defense!r}.", "Pass a defense, such as dn.DynaNoise().")
    return defense
