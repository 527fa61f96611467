"""Inputs of a user, converted to the type that a model takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError

_REMEDY = "Give inputs as the model takes them."


def convert_inputs(
    values: npt.NDArray[Any],
    dtype: npt.DTypeLike,
    name: str = "Inputs",
    place: Callable[[tuple[int, ...]], str] | None = None,
) -> npt.NDArray[Any]:
    """Convert numbers to a dtype, without a loss but the rounding of floating-point numbers.

    Args:
        values: numbers or booleans of any shape; NaN stands for a missing one.
        dtype: dtype of the model's input, numbers or booleans.
        name: name of the array in messages.
        place: describes an index in messages; by default its row and column.

    Returns:
        The values in that dtype.

    Raises:
        InputError: if values are not numbers, one is too large for the dtype, or missing or not
            whole where the model takes whole numbers; or if they are images of bytes, and the model
            takes floating-point numbers.

    >>> convert_inputs(np.array([[1.0, 2.0]]), np.int64)
    array([[1, 2]])
    >>> convert_inputs(np.array([[1.0, 2.5]]), np.int64)
    Traceback (most recent call last):
    dynanoise.core.errors.InputError: Inputs hold 2.5 in row 0, column 1, and the model takes ...
    """
    target = np.dtype(dtype)
    if values.dtype == target:
        return values
    if values.dtype.kind not in "biuf":
        raise InputError(
            f"{name} have dtype {values.dtype}, and the model takes {target}.", "Give numbers."
        )
    if values.dtype == np.uint8 and values.ndim == 4 and target.kind == "f":
        raise InputError(
            f"{name} are images of dtype uint8, and the model takes {target}.",
            "Give them as the model takes them, after its preprocessing.",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        converted = values.astype(target)
    if target.kind == "f":
        lost = np.isinf(converted) & ~np.isinf(values)
    else:
        lost = converted != values
        if target.kind in "iu" and values.dtype.kind in "iuf":
            # Beside the largest integers floating-point numbers cannot tell.
            limits = np.iinfo(target)
            lost |= (values < limits.min) | (values > limits.max)
    if lost.any():
        index = tuple(int(i) for i in np.argwhere(lost)[0])
        where = describe_place(index) if place is None else place(index)
        raise InputError(
            f"{name} hold {values[index]} in {where}, and the model takes {target}.", _REMEDY
        )
    return converted


def describe_place(index: tuple[int, ...]) -> str:
    """Describe the place of a value: its row and, in a table, its column.

    >>> describe_place((3, 1))
    'row 3, column 1'
    """
    place = f"row {index[0]}" if index else "the only value"
    return f"{place}, column {index[1]}" if len(index) == 2 else place
