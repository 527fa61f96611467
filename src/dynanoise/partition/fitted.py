"""Embeddings as the arrays that were fitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt


class Fitted:
    """A dataclass of arrays, which files hold by the names of its fields."""

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The fitted arrays by name."""
        return {name: np.ascontiguousarray(value) for name, value in vars(self).items()}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The embedding of some arrays."""
        return cls(**arrays)
