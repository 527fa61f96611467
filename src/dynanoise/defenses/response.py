"""From a model's output, logits or probabilities, to the response its users get."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.arrays.predictions import check_probabilities
from dynanoise.core.defense import Defense, Noise
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64, Floats, Int64
from dynanoise.noise.fresh import SystemFresh

INPUTS = ("logits", "probabilities")
"""Kinds of model output that a defense can be put behind."""

SYSTEM_NOISE = "noise of the operating system"
"""Fresh noise without a source of its own, in a repr."""


def system_noise() -> Noise:
    """Fresh noise of the operating system, which threads, copies and forks never repeat."""
    return SystemFresh()


def noise_text(noise: Any) -> str:
    """Describe what was passed as noise, for a message: a short text as it is, else its type.

    A longer text may be a secret, and a source of noise has its state in it.

    >>> noise_text("frsh"), noise_text("ab" * 32)
    ("'frsh'", 'of type str')
    """
    short = isinstance(noise, str) and len(noise) <= 16
    return repr(noise) if short else f"of type {type(noise).__name__}"


def defend(
    outputs: npt.ArrayLike,
    defense: Defense,
    noise: Noise,
    *,
    class_axis: int = -1,
    kind: str = "logits",
    labels: Int64 | None = None,
) -> Floats:
    """Compute the defended probabilities of a model's outputs.

    Probabilities p count as the logits ln max(p, tiny); the label that a defense keeps is then the
    lowest index of the largest p, unless ``labels`` are given.

    Args:
        outputs: float32 or float64, with K >= 2 classes along ``class_axis``.
        defense: fitted, where it must be.
        noise: randomness of the response.
        class_axis: axis of the classes.
        kind: "logits" or "probabilities".
        labels: with probabilities [N, K], the model's own label of each, which counts as its
            largest; None for the lowest index of the largest p.

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
    if kind == "logits":
        probs = defense(rows, noise)
    else:
        probs = _defend_probs(rows, defense, noise, labels)
    return np.moveaxis(probs, -1, class_axis)


def logits_of(probs: npt.NDArray[Any], labels: Int64 | None = None) -> Float64:
    """Compute the logits that stand for probabilities, with the model's labels as their argmax.

    Args:
        probs: [..., K], within [0, 1].
        labels: [...], in 0..K-1; None for the lowest index of the largest probability.

    Returns:
        float64 [..., K]: ln max(p, tiny); where that ranks another class first, the label's is
        raised just above it.

    >>> logits_of(np.array([[0.7, 0.3]]), np.array([1])).round(4).tolist()
    [[-0.3567, -0.3567]]
    """
    # Neighbouring small numbers can have the same logarithm; the label must not move.
    winners = probs.argmax(axis=-1) if labels is None else labels
    return numerics.favour(numerics.log_probabilities(probs), winners)


def _defend_probs(
    probs: npt.NDArray[Any], defense: Defense, noise: Noise, labels: Int64 | None
) -> Floats:
    rows, dtype = numerics.as_logits(probs, "probabilities")
    check_probabilities(rows, "probabilities")
    logits = logits_of(rows, labels)
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
        example = f"{defense.__name__}()" if isinstance(defense, type) else "dn.DynaNoise()"
        raise InputError(f"defense is {defense!r}.", f"Pass a defense, such as {example}.")
    return defense
