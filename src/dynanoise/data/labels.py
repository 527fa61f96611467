"""Labels as they come, to class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DataFileError
from dynanoise.core.numerics import Int64


def encode(labels: Sequence[Any] | npt.NDArray[Any], where: str) -> tuple[Int64, tuple[str, ...]]:
    """Class numbers of labels, and what the classes are called.

    Whole numbers stay as they are; texts are numbered in sorted order.

    Args:
        labels: [N], whole numbers (also as floats or booleans) or texts.
        where: the file or data set, for messages.

    Returns:
        int64 [N], and the class names, () for numbers.

    Raises:
        DataFileError: if a label is missing or neither a text nor a whole number.

    >>> encode(["dog", "cat", "dog"], "pets.csv")
    (array([1, 0, 1]), ('cat', 'dog'))
    >>> encode([0.0, 2.0], "table.csv")
    (array([0, 2]), ())
    """
    values = np.asarray(labels)
    if values.ndim != 1:
        raise DataFileError(
            f"The labels of {where} have the shape {values.shape}.", "Give one label a record."
        )
    if values.dtype.kind == "O":
        missing = [row for row, label in enumerate(values) if label is None]
        if missing:
            raise DataFileError(
                f"{where} has no label in row {missing[0]}.", "Give every record a label."
            )
    if values.dtype.kind in "biu":
        return values.astype(np.int64), ()
    if values.dtype.kind == "f":
        odd = np.flatnonzero(~np.isfinite(values) | (values != np.round(values)))
        if len(odd):
            raise DataFileError(
                f"{where} has the label {values[odd[0]]} in row {odd[0]}.",
                "Labels are class numbers from 0, or texts.",
            )
        return values.astype(np.int64), ()
    if not all(isinstance(label, str) for label in values):
        raise DataFileError(
            f"The labels of {where} are of the type {type(values[0]).__name__}.",
            "Labels are class numbers from 0, or texts.",
        )
    names, numbers = np.unique(values.astype(str), return_inverse=True)
    return numbers.astype(np.int64), tuple(names.tolist())


def count(labels: Int64, class_names: tuple[str, ...]) -> int:
    """How many classes there are: as many as have names, or else as labels differ.

    With numbers 0, 1 and 3 that makes three classes, in which a label 3 is out of range; `Data`
    refuses it, since a class without a record is more often a mistake than meant.

    >>> count(np.array([0, 1, 3]), ())
    3
    """
    return len(class_names) or len(np.unique(labels))
