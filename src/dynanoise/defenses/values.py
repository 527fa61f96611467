"""Fitted arrays inside a frozen dataclass, without losing that it is a value."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.numerics import Float64


def constant(array: npt.ArrayLike) -> Float64:
    """A float64 copy that cannot be written to.

    >>> constant([1, 2]).flags.writeable
    False
    """
    copy = np.array(array, dtype=np.float64, order="C")
    copy.flags.writeable = False
    return copy


class ByValue:
    """Equality and hash by every field, arrays by their bytes.

    For ``@dataclass(frozen=True, eq=False)``: the equality that a dataclass makes for itself asks
    an array for its truth and fails.

    >>> @dataclasses.dataclass(frozen=True, eq=False)
    ... class Fitted(ByValue):
    ...     weights: Float64
    >>> one, same, other = (Fitted(constant([weight])) for weight in (1, 1, 2))
    >>> one == same, one == other, len({one, same, other})
    (True, False, 2)
    """

    def _key(self) -> tuple[Any, ...]:
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        return tuple(
            (value.shape, value.dtype.str, value.tobytes())
            if isinstance(value, np.ndarray)
            else value
            for value in values
        )

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))
