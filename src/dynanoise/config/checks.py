"""Checks of what wrappers are configured with; each error names the value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Floats
from dynanoise.defenses import parameters
from dynanoise.defenses.response import answer_logits, answer_probabilities

SYSTEM = "noise of the operating system"
"""How fresh noise without a source of its own is shown."""

KINDS = ("logits", "probabilities")
"""What a model's output can be."""


def checked_kind(kind: Any) -> str:
    """What an output is said to be, "logits" or "probabilities".

    >>> checked_kind("probs")
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: input is 'probs'. Use 'logits' or 'probabilities'.
    """
    if kind not in KINDS:
        raise InputError(f"input is {kind!r}.", "Use 'logits' or 'probabilities'.")
    return str(kind)


def checked_axis(axis: Any) -> int:
    """An axis as an integer.

    >>> checked_axis("-1")
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: class_axis is '-1'. Use an integer; -1 is the last axis.
    """
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise InputError(f"class_axis is {axis!r}.", "Use an integer; -1 is the last axis.")
    return axis


def checked_defense(defense: Any) -> Defense:
    """A defense that can answer.

    >>> checked_defense("dynanoise")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: defense is 'dynanoise'. Pass a defense, such as ...
    """
    if isinstance(defense, type) or not isinstance(defense, Defense):
        raise InputError(f"defense is {defense!r}.", "Pass a defense, such as dn.DynaNoise().")
    return defense


def answer(
    values: npt.ArrayLike, defense: Defense, noise: Noise, *, class_axis: int, kind: str
) -> Floats:
    """Defended probabilities for what a model answered; see `answering`.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> from dynanoise.noise.fresh import Fresh
    >>> clean = [[0.9, 0.8], [0.1, 0.2]]  # classes first
    >>> found = answer(clean, Temperature(2), Fresh(0), class_axis=0, kind="probabilities")
    >>> found.round(3).tolist()
    [[0.75, 0.667], [0.25, 0.333]]
    """
    given = answer_logits if kind == "logits" else answer_probabilities
    source = parameters.noise_source(noise)
    array = numerics.as_array(values, "outputs")
    if not -array.ndim <= class_axis < array.ndim:
        return given(defense, source, array, class_axis)  # which says so
    # Sums over strided memory differ in the last place.
    rows = np.ascontiguousarray(np.moveaxis(array, class_axis, -1))
    return np.moveaxis(given(defense, source, rows), -1, class_axis)
