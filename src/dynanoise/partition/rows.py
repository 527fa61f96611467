"""Rows and columns of inputs of any form: arrays, data frames, sparse matrices."""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Hashable, Iterator
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64

Bytes = npt.NDArray[np.uint8]

_AT_ONCE = 1 << 21
"""Numbers of a block of rows that is embedded at once."""


def count(inputs: Any) -> int:
    """Number of rows of inputs."""
    shape = getattr(inputs, "shape", None)
    return int(shape[0]) if shape is not None else len(inputs)


def columns(inputs: Any) -> int:
    """Number of columns of inputs; those of several axes are flat."""
    return int(np.prod(inputs.shape[1:], dtype=np.int64))


def column(inputs: Any, position: int) -> npt.NDArray[Any]:
    """A column of an array, a data frame or a sparse matrix, [n]."""
    if hasattr(inputs, "iloc"):
        series = inputs.iloc[:, position]
        if getattr(series.dtype, "kind", "O") in "buif":
            return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.asarray(series.to_numpy(dtype=object))
    if is_sparse(inputs):
        return np.asarray(inputs[:, [position]].toarray().ravel())
    return np.asarray(inputs).reshape(len(inputs), -1)[:, position]


def is_sparse(inputs: Any) -> bool:
    """True for a sparse matrix or array of SciPy, which takes long to import for a gateway."""
    return hasattr(inputs, "tocsr")


def is_images(inputs: Any) -> bool:
    """True for images, uint8 [n, H, W, channels]."""
    return getattr(inputs, "dtype", None) == np.uint8 and inputs.ndim == 4


def check_images(inputs: Any, remedy: str) -> None:
    """Check that inputs are images.

    Raises:
        InputError: with their shape and dtype, and the remedy.
    """
    if not is_images(inputs):
        raise InputError(
            f"Inputs have shape {np.shape(inputs)} and dtype {getattr(inputs, 'dtype', None)}.",
            remedy,
        )


def blocks(inputs: Any, size: int) -> Iterator[Any]:
    """Blocks of rows with at most so many numbers, those of sparse ones dense."""
    step = max(1, _AT_ONCE // max(size, 1))
    rows = inputs.tocsr() if is_sparse(inputs) else inputs
    for start in range(0, count(inputs), step):
        block = (
            rows.iloc[start : start + step] if hasattr(rows, "iloc") else rows[start : start + step]
        )
        yield block.toarray() if is_sparse(block) else block


def numbers(values: Any) -> Float64:
    """Numbers of a column as float64, a float64 first rounded to float32; NaN where missing."""
    with np.errstate(over="ignore"):
        rounded = np.asarray(values, dtype=np.float64).astype(np.float32)
    finite = np.clip(rounded, -1e30, 1e30)  # NaN stays
    return np.asarray(finite.astype(np.float64) + 0.0)


def exact_bytes(values: npt.NDArray[Any]) -> Bytes:
    """Eight bytes of each value of a column, equal for equal numbers of any dtype, [n, 8]."""
    if values.dtype.kind in "buif":
        singles = numbers(values).astype("<f4")
        whole = np.zeros((len(values), 8), np.uint8)
        whole[:, :4] = bytes_of(np.where(np.isnan(singles), np.float32(np.nan), singles)[:, None])
        return whole
    entries = values.tolist()
    for entry in entries:
        if not isinstance(entry, Hashable):
            float(entry)  # raises the usual TypeError
    # Entries of one type alone: a dictionary takes equal ones of two types for the same.
    hashes = {key: _hashed(key[1]) for key in {(type(entry), entry) for entry in entries}}
    joined = b"".join(hashes[type(entry), entry] for entry in entries)
    return np.frombuffer(joined, np.uint8).reshape(len(entries), 8)


def _hashed(value: Any) -> bytes:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        value = np.nan
    if isinstance(value, Real | Decimal | np.bool_):
        return exact_bytes(np.array([_float(value)])).tobytes()
    if getattr(value, "tzinfo", None) is not None:
        value = value.astimezone(datetime.UTC)  # one instant in two time zones
    return hashlib.sha256(f"={value}".encode()).digest()[:8]


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def bytes_of(array: npt.NDArray[Any]) -> Bytes:
    """The bytes of each row of an array, [n, B]."""
    flat = np.ascontiguousarray(array.reshape(len(array), -1))
    return flat.view(np.uint8).reshape(len(array), -1) if len(array) else np.zeros((0, 0), np.uint8)
