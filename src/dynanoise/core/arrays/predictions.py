"""Outputs of a user's models, checked alike wherever they come in: logits or probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core import numerics
from dynanoise.core.arrays.labels import has, hold
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Floats, as_array

SUMS_TO_ONE = 0.01
"""Allowed distance of a row of probabilities from 1, for rounded and float16 ones."""

EXACT = 1e-3
"""The same where nothing but the sums says that they are probabilities."""

AXES = "The axes are [M, N, K]: M models, N records, K classes; [N, K] for one model."


def check_outputs(values: Any, name: str) -> Floats:
    """Check the numbers and the shape of outputs, whether logits or probabilities.

    Args:
        values: float16 to float64 of any byte order, [N, K], or [M, N, K] for M models.
        name: name of the array in messages; "probs" and "logits" at its end choose the remedies.

    Returns:
        [M, N, K], finite, in the machine's byte order.

    Raises:
        InputError: for another dtype or shape, one class only, NaN or infinity.

    >>> check_outputs(np.ones((4, 1)), "probs")
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: probs have shape (4, 1): one number a record. Give ...
    """
    rows = as_array(values, name)
    if rows.dtype.kind != "f" or rows.dtype.itemsize > 8:
        raise InputError(
            f"{name} {has(name)} dtype {rows.dtype}.", "Give float16, float32 or float64."
        )
    shape, rows = rows.shape, rows[None] if rows.ndim == 2 else rows
    if len(shape) == 1 or shape[-1:] == (1,):
        raise InputError(
            f"{name} {has(name)} shape {shape}: one number a record.",
            "Give a column for each class, [N, K]. For the probability p of a sigmoid that is "
            "np.stack([1 - p, p], axis=-1), for its logit z np.stack([0 * z, z], axis=-1), p and z "
            "of shape [N].",
        )
    if rows.ndim != 3 or rows.shape[2] < 2:
        inputs = " Of several inputs a record, such as augmentations, give one."
        raise InputError(
            f"{name} {has(name)} shape {shape}.",
            f"{AXES}{inputs if rows.ndim > 3 else ' Give two classes or more.'}",
        )
    rows = rows.astype(rows.dtype.newbyteorder("="), copy=False)
    _check_finite(rows, name)
    return rows


def check_axes(
    outputs: Floats,
    records: int,
    name: str,
    labels: str = "labels",
    models: int | None = None,
) -> None:
    """Check that outputs are of as many records as there are labels.

    Args:
        outputs: [M, N, K], from `check_outputs`.
        records: number of labels.
        name: name of the outputs in messages.
        labels: name of the labels in messages.
        models: number of models, where another array tells it.

    Raises:
        InputError: naming the axes, and the one that seems to be that of the records.
    """
    shape = outputs.shape
    fits = [
        order
        for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 0, 1), (2, 1, 0), (1, 2, 0))
        if shape[order[1]] == records and models in (None, shape[order[0]])
    ]
    if (shape[1] == records and not fits) or (0, 1, 2) in fits:
        return
    problem = f"{labels} {has(labels)} shape ({records},) for {shape[1]} records."
    remedy = "Give one label a record; models that answered other records cannot be audited "
    remedy += "together."
    if models == 1 < shape[0] == records:
        problem = f"{name} {has(name)} shape {shape} for {records} records of one model."
        remedy = (
            f"{AXES} Of several inputs a record, such as augmentations, pass one: {name}[:, 0]."
        )
    elif fits:
        # Of one model there may be two axes only.
        last = fits[0] == (0, 2, 1)
        turned = f"np.swapaxes({name}, -1, -2)" if last else f"np.transpose({name}, {fits[0]})"
        problem = f"{name} of shape {shape} {has(name)} the records on axis {fits[0][1]}."
        remedy = (
            f"{AXES} Pass {turned}, and member as [M, N]; of several inputs a record, such as "
            "augmentations, pass one."
        )
    raise InputError(problem, remedy)


def is_distribution(
    rows: npt.ArrayLike, class_axis: int = -1, tolerance: float = SUMS_TO_ONE
) -> bool:
    """Tell probabilities of classes that exclude each other.

    Args:
        rows: outputs, with classes along ``class_axis``.
        class_axis: axis of the classes.
        tolerance: allowed distance of a sum from 1.

    Returns:
        True if there are rows, every entry is at least 0 and every row sums to 1.

    >>> is_distribution(np.array([[0.25, 0.75]])), is_distribution(np.array([[1.0, -1.0]]))
    (True, False)
    """
    array = np.asarray(rows)
    if not array.size or array.min() < 0:
        return False
    sums = array.sum(axis=class_axis, dtype=np.float64)
    return bool(np.abs(sums - 1).max() <= tolerance)


def are_independent(rows: npt.ArrayLike) -> bool:
    """Tell outputs of one sigmoid for each class: in [0, 1], with sums all over the place.

    Args:
        rows: [..., K].

    Returns:
        True if all entries are between 0 and 1 and most rows do not sum to 1; False where all rows
        have the same sum or all entries are equal, which a sigmoid's never do.

    >>> are_independent([[0.9, 0.8], [0.2, 0.1]]), are_independent([[0.45, 0.45], [0.8, 0.1]])
    (True, False)
    """
    array = np.asarray(rows)
    if not array.size or array.min() < 0 or array.max() > 1:
        return False
    sums = array.sum(axis=-1, dtype=np.float64)
    off = np.abs(sums - 1) > SUMS_TO_ONE
    return bool(2 * off.sum() > off.size and np.ptp(sums) > SUMS_TO_ONE)


def check_probabilities(
    rows: npt.NDArray[Any], name: str, *, logits: str = "logits", columns: bool = False
) -> None:
    """Check that rows are probabilities of classes that exclude each other.

    Args:
        rows: finite [..., K].
        name: name of the array in messages.
        logits: name in messages if they are logits.
        columns: True for [M, N, K] of models, which may be columns of a table, labels among them.

    Raises:
        InputError: if they are negative, above 1, independent sigmoids, or do not sum to 1 within
            0.01.
    """
    if not rows.size:
        return
    sums = rows.sum(axis=-1, dtype=np.float64)
    off = np.abs(sums - 1)
    if off.max() <= SUMS_TO_ONE and rows.min() >= 0:
        return
    if rows.min() >= 0 and np.abs(sums - 100).max() <= 100 * SUMS_TO_ONE:
        raise InputError(f"Every row of {name} sums to 100.", "Divide percentages by 100.")
    if rows.min() < 0 or rows.max() > 1 + SUMS_TO_ONE:
        value = rows.min() if rows.min() < 0 else rows.max()
        raise InputError(
            f"{name} {hold(name)} {value}, which is not a probability.",
            f"Give probabilities, or call them {logits}"
            + ("; a label among p0 .. p{K-1} looks like this, too." if columns else "."),
        )
    digits = _digits_of(rows, off.max())
    if sums.max() > 1 + SUMS_TO_ONE and digits is None:  # without a column the sums are below 1
        _refuse_independent(rows, name)
    index = np.unravel_index(int(off.argmax()), off.shape)
    place = f"row {', '.join(str(int(position)) for position in index)}"
    if columns and len(index) == 2:
        place = f"model {index[0]}, record {index[1]}"
    raise InputError(
        f"{name} of {place} sum to {sums[index]:.4g}.",
        "Probabilities of all K classes sum to 1; is a column missing or exchanged?"
        if digits is None
        else f"All are rounded to {digits} decimal place{'s' * (digits > 1)}: give more digits.",
    )


def _digits_of(rows: npt.NDArray[Any], off: float) -> int | None:
    """Decimal places that rows are rounded to, if that explains sums so far from 1; else None."""
    for digits in (1, 2, 3):
        error = 0.5 * 10.0**-digits
        if off <= 1.001 * error * rows.shape[-1] and np.allclose(rows, rows.round(digits), 0, 1e-6):
            return digits
    return None


def check_logits(rows: Floats, name: str, *, probs: str = "probs") -> None:
    """Check that rows are not probabilities or independent sigmoids.

    Args:
        rows: finite [..., K].
        name: name of the array in messages.
        probs: name in messages if they are probabilities.

    Raises:
        InputError: if every row is a distribution, or the rows are independent sigmoids.
    """
    if is_distribution(rows):
        raise InputError(
            f"Every row of {name} is positive and sums to 1: these are probabilities.",
            f"Call them {probs}.",
        )
    _refuse_independent(rows, name)


def log_outputs(values: Any, name: str, *, probabilities: bool | None) -> Floats:
    """Check outputs and make logits of them.

    Args:
        values: outputs, see `check_outputs`.
        name: name of the array in messages.
        probabilities: True if they are called probabilities, False if logits, None to tell by their
            range and sums.

    Returns:
        float32 or float64 [M, N, K]: the logits, or ln of the probabilities.

    Raises:
        InputError: errors of `check_outputs`; if they are something else than they are called, or
            independent sigmoids.

    >>> log_outputs([[0.5, 0.5]], "outputs", probabilities=None).round(3).tolist()
    [[[-0.693, -0.693]]]
    """
    rows = check_outputs(values, name)
    if probabilities is None:
        probabilities = is_distribution(rows)
    if probabilities:
        check_probabilities(rows, name, logits=name.replace("probs", "logits"), columns=True)
        return numerics.log_probabilities(rows)
    check_logits(rows, name, probs=name.replace("logits", "probs"))
    return rows if rows.dtype.itemsize >= 4 else rows.astype(np.float32)


def _refuse_independent(rows: Floats, name: str) -> None:
    if are_independent(rows):
        raise InputError(
            f"{name} are between 0 and 1 and do not sum to 1: independent sigmoids, one for each "
            "class.",
            "Give logits or probabilities of classes that exclude each other; audit a model of "
            "several yes-or-no labels one label at a time, as [1 - p, p]. If they are logits, "
            "subtract 1 from all: it changes no probability.",
        )


def _check_finite(rows: Floats, name: str) -> None:
    infinite = ~np.isfinite(rows)
    if not infinite.any():
        return
    model, record, column = index = tuple(int(i) for i in np.argwhere(infinite)[0])
    place = f"for model {model}, record {record}, class {column}"
    remedy = "Give finite numbers, and leave out records without an output."
    if rows.dtype == np.float16 and np.isinf(rows[index]):
        raise InputError(
            f"{name} {hold(name)} {rows[index]} {place}: float16 ends at 65,504.",
            "Save them as float32: the numbers are too large for float16.",
        )
    raise InputError(f"{name} {hold(name)} {rows[index]} {place}.", remedy)
