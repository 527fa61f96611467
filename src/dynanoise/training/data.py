"""A data set in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.errors import InputError
from dynanoise.numerics import Int64


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs and labels of all records; a record's id is its row.

    Attributes:
        name: the registered name.
        inputs: [N, ...], in the dtype the model's preprocessing expects.
        labels: int64 [N], 0..classes-1.
        classes: K.
    """

    name: str
    inputs: npt.NDArray[Any]
    labels: Int64
    classes: int

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.labels):
            raise InputError(
                f"{self.name} has {len(self.inputs)} inputs and {len(self.labels)} labels.",
                "Give every record a label.",
            )
        if self.labels.min() < 0 or self.labels.max() >= self.classes:
            raise InputError(
                f"{self.name} has labels from {self.labels.min()} to {self.labels.max()} with "
                f"{self.classes} classes.",
                f"Labels count from 0 to {self.classes - 1}.",
            )

    def random_inputs(self, count: int, seed: int) -> npt.NDArray[Any]:
        """``count`` inputs drawn uniformly from the range of each input's position.

        Integers (pixels, tokens) from their least to their greatest value in the whole data set,
        numbers from the least to the greatest value of their column. They look like nothing the
        model was trained on.
        """
        generator = np.random.default_rng(seed)
        shape = (count, *self.inputs.shape[1:])
        if self.inputs.dtype.kind in "iu":
            low, high = int(self.inputs.min()), int(self.inputs.max())
            return generator.integers(low, high, shape, dtype=self.inputs.dtype, endpoint=True)
        least, most = self.inputs.min(axis=0), self.inputs.max(axis=0)
        return generator.uniform(least, most, shape).astype(self.inputs.dtype)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the inputs and labels with their shapes and dtypes, 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for array in (self.inputs, self.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
