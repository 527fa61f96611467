"""A data set in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int64


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs and labels of all records. The id of a record is its row.

    Attributes:
        name: the registered name.
        inputs: [N, ...], in the dtype the model's preprocessing expects: numbers float32 [N, F],
            images uint8 [N, H, W, 3] in RGB, texts int32 token ids [N, L] padded with 0.
        labels: int64 [N], 0..classes-1.
        classes: K, >= 2.
        test_from: the first id of the official test part, where there is one; the records before
            it are the official training part.
        vocabulary_size: number of token ids of texts, which lie in 0..vocabulary_size-1.
        class_names: the name of each class, or () where the source has none.

    Raises:
        InputError: if inputs and labels do not fit each other, there are no records or only one
            class, a label, token or ``test_from`` is out of range, or a number is not finite.
    """

    name: str
    inputs: npt.NDArray[Any]
    labels: Int64
    classes: int
    test_from: int | None = None
    vocabulary_size: int | None = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.labels):
            raise InputError(
                f"{self.name} has {len(self.inputs)} inputs and {len(self.labels)} labels.",
                "Give every record a label.",
            )
        if not len(self.labels):
            raise InputError(f"{self.name} has no records.", "Give it at least two.")
        if self.classes < 2:
            raise InputError(
                f"{self.name} has labels of one class only.",
                "A classifier needs at least two classes.",
            )
        if self.labels.min() < 0 or self.labels.max() >= self.classes:
            raise InputError(
                f"{self.name} has labels from {self.labels.min()} to {self.labels.max()} with "
                f"{self.classes} classes.",
                f"Labels count from 0 to {self.classes - 1}.",
            )
        if self.inputs.dtype.kind == "f" and not np.isfinite(self.inputs).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(self.inputs))[0])
            raise InputError(
                f"{self.name} has the input {self.inputs[where]} in row {where[0]}"
                + (f", column {where[1]}." if len(where) == 2 else "."),
                "Fill in or leave out what is missing, infinite or too large for its dtype.",
            )
        if self.test_from is not None and not 0 < self.test_from < len(self.labels):
            raise InputError(
                f"{self.name} has {len(self.labels)} records and test_from {self.test_from}.",
                "Records for training and for testing are both needed.",
            )
        if self.vocabulary_size is not None and self.inputs.max() >= self.vocabulary_size:
            raise InputError(
                f"{self.name} has the token {self.inputs.max()} with a vocabulary of "
                f"{self.vocabulary_size}.",
                f"Tokens count from 0 to {self.vocabulary_size - 1}.",
            )

    def random_inputs(self, count: int, seed: int) -> npt.NDArray[Any]:
        """Draw inputs that are unlike all records a model was trained on.

        Integers (pixels, tokens) are uniform from the least to the greatest value in the whole data
        set, numbers from the least to the greatest value of their column.

        Args:
            count: number of inputs, >= 0.
            seed: the generator's seed.

        Returns:
            [count, ...] in the shape and dtype of the records' inputs.
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
        """SHA-256 of everything that a model can learn from, 64 hexadecimal digits.

        That is inputs and labels with their shapes and dtypes, the number of classes and of tokens,
        and the beginning of the test part; not the names of the data set and its classes.
        """
        digest = hashlib.sha256()
        for array in (self.inputs, self.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        digest.update(f"{self.classes} {self.test_from} {self.vocabulary_size}".encode())
        return digest.hexdigest()
