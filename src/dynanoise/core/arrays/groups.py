"""Columns of groups and persons that users bring, one value a record, made comparable."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError, check
from dynanoise.core.numerics import Bools

MISSING = "missing"
"""The group of records without a value in a column."""

_NULLS = frozenset(["None", "nan", "<NA>", "NaT"])


def as_column(values: Any) -> npt.NDArray[Any]:
    """Make an array of a column, in which missing values among texts stay missing.

    Args:
        values: [N], an array, a list, or a series of pandas.

    Returns:
        The array, of objects where it was a list of texts.

    >>> as_column(["a", np.nan]).tolist(), np.asarray(["a", np.nan]).tolist()
    (['a', nan], ['a', 'nan'])
    """
    array = np.asarray(values)
    if array.dtype.kind == "U" and isinstance(values, list | tuple):
        return np.asarray(values, dtype=object)
    return array


def check_groups(groups: Any, records: int) -> npt.NDArray[Any]:
    """Check that each record has a group, such as its patient or user.

    Args:
        groups: [N], numbers, texts or objects.
        records: N.

    Returns:
        As of `of_one_kind`.

    Raises:
        InputError: for another shape, or naming the first row without a value.

    >>> check_groups(np.array([7, 7.0, "a"], dtype=object), 3).tolist()
    ['7', '7', 'a']
    """
    values = as_column(groups)
    check_length("groups", values, records)
    missing = _find_missing(values)
    if missing.any():
        raise InputError(
            f"groups holds no person in row {int(np.argmax(missing))}.",
            "Name the person of every record; an unknown one is another person each.",
        )
    return of_one_kind(values)


def check_length(name: str, values: npt.NDArray[Any], records: int) -> None:
    """Check that a column has a value for each record.

    Args:
        name: name of the column.
        values: the column.
        records: N.

    Raises:
        InputError: naming the column and its shape.
    """
    check(
        np.shape(values) == (records,),
        f"{name} has shape {np.shape(values)} for {records:,} records.",
        "Give one value for each record.",
    )


def of_one_kind(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Make values of a column comparable.

    Args:
        values: [N].

    Returns:
        Whole numbers as integers; objects, and columns with missing values, as texts, in which a
        missing one is `MISSING`; other columns as they are.

    >>> of_one_kind(np.array([1.0, 2.0])).tolist(), of_one_kind(np.array([1.0, np.nan])).tolist()
    ([1, 2], ['1', 'missing'])
    """
    missing = _find_missing(values)
    if values.dtype.kind == "S":
        return values.astype(np.str_)
    if values.dtype.kind == "f":
        whole = values[~missing] == np.round(values[~missing])
        if whole.all() and not missing.any():
            return values.astype(np.int64)
    if values.dtype.kind != "O" and not missing.any():
        return values
    return np.array(
        [
            MISSING
            if lost
            else f"{value:.15g}"
            if isinstance(value, float | np.floating)
            else str(value)
            for value, lost in zip(values.tolist(), missing.tolist(), strict=True)
        ]
    )


def _find_missing(values: npt.NDArray[Any]) -> Bools:
    """True where a value is missing: NaN, None, or pandas' NA."""
    if values.dtype.kind in "OU":  # NumPy makes texts of missing values among texts
        return np.array([str(value) in _NULLS for value in values], dtype=bool)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
