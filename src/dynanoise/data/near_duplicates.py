"""Near-duplicates: inputs close to a record's own, which an attacker may query as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int64
from dynanoise.core.seeding import derive
from dynanoise.partition.neighbourhood import shifted, with_noise

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class NearDuplicates:
    """Shifted, mirrored and slightly noisy versions of an image.

    A defense that remembers a record, or draws its noise from it, meets these as other queries; a
    model's outputs on them are close to those on the record. 22 by default: the mirror image, six
    shifts and their mirror images, and nine noisy versions.

    Args:
        shifts: pixels (down, right) by which the image is moved; missing rows and columns are
            reflected.
        flip: True adds the mirror image, and the mirror image of each shift.
        noise: the largest change of a pixel, in 1/255, by whole numbers drawn uniformly.
        draws: number of noisy versions for each of these, >= 0.
        seed: seed of the noise, which depends on it and on the record's id alone, so that every
            model is queried on the same inputs.

    Raises:
        InputError: for a noise outside 1..255, a negative number of draws, or no near-duplicate.

    >>> near = NearDuplicates()
    >>> len(near)
    22
    >>> image = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    >>> right, *_ = NearDuplicates(shifts=((0, 1),)).of(image, np.array([7]))
    >>> right[0, :, :, 0].tolist()
    [[3, 0], [9, 6]]
    """

    shifts: tuple[tuple[int, int], ...] = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1))
    flip: bool = True
    noise: tuple[int, ...] = (1, 4, 8)
    draws: int = 3
    seed: int = 0
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.training.near_duplicates.NearDuplicates"

    def __post_init__(self) -> None:
        if not all(1 <= size <= 255 for size in self.noise) or self.draws < 0:
            raise InputError(
                f"noise is {self.noise} and draws {self.draws}.",
                "Use whole numbers from 1 to 255 for noise, and 0 or more draws.",
            )
        if len(self) == 0:
            raise InputError("There is no near-duplicate to query.", "Name a shift, flip or noise.")

    def __len__(self) -> int:
        mirrored = 2 if self.flip else 1
        return mirrored * (len(self.shifts) + 1) - 1 + len(self.noise) * self.draws

    def of(self, images: npt.NDArray[Any], ids: Int64) -> Iterator[Pixels]:
        """Make the near-duplicates of some records, one kind after the other.

        Args:
            images: uint8 [n, H, W, C].
            ids: int64 [n], the record of each image.

        Yields:
            uint8 [n, H, W, C], ``len(self)`` times.

        Raises:
            InputError: if the inputs are not images.
        """
        if images.dtype != np.uint8 or images.ndim != 4:
            raise InputError(
                f"Inputs have shape {images.shape} and dtype {images.dtype}.",
                "Only images, uint8 [n, H, W, C], have near-duplicates.",
            )
        if self.flip:
            yield images[:, :, ::-1]
        for down, right in self.shifts:
            moved = shifted(images, down, right)
            yield moved
            if self.flip:
                yield moved[:, :, ::-1]
        for size in self.noise:
            for draw in range(self.draws):
                yield self._noisy(images, ids, size, draw)

    def _noisy(self, images: Pixels, ids: Int64, size: int, draw: int) -> Pixels:
        noisy = np.empty_like(images)
        seed = derive(self.seed, "near-duplicate", size, draw)
        for row, (image, record) in enumerate(zip(images, ids, strict=True)):
            generator = np.random.default_rng([seed, int(record)])
            noisy[row] = with_noise(image, size, generator)
        return noisy


@dataclass(frozen=True)
class NearNumbers:
    """Versions of a row of numbers with Gaussian noise.

    Args:
        noise: standard deviations of the noise, in units of the inputs, each above 0.
        draws: number of versions for each of these, >= 1.
        seed: seed of the noise, which depends on it and on the record's id alone.

    Raises:
        InputError: for a noise that is not above 0, or no near-duplicate.

    >>> len(NearNumbers())
    9
    """

    noise: tuple[float, ...] = (0.02, 0.05, 0.1)
    draws: int = 3
    seed: int = 0
    version: ClassVar[int] = 1
    stored_as: ClassVar[str] = "dynanoise.data.near_duplicates.NearNumbers"

    def __post_init__(self) -> None:
        if not all(0 < size < np.inf for size in self.noise) or len(self) < 1:
            raise InputError(
                f"noise is {self.noise} and draws {self.draws}.",
                "Use finite numbers above 0 for noise, and at least one draw.",
            )

    def __len__(self) -> int:
        return len(self.noise) * self.draws

    def of(self, rows: npt.NDArray[Any], ids: Int64) -> Iterator[npt.NDArray[Any]]:
        """Make the near-duplicates of some records, one size of noise after the other.

        Args:
            rows: float [n, F].
            ids: int64 [n], the record of each row.

        Yields:
            [n, F] in the dtype of the rows, ``len(self)`` times.

        Raises:
            InputError: if the inputs are not numbers.
        """
        if rows.dtype.kind != "f":
            raise InputError(
                f"Inputs have the dtype {rows.dtype}.", "Only rows of numbers have such noise."
            )
        for size in self.noise:
            for draw in range(self.draws):
                seed = derive(self.seed, "near numbers", str(size), draw)
                noise = [
                    np.random.default_rng([seed, int(record)]).normal(0, size, rows.shape[1:])
                    for record in ids
                ]
                yield (rows + np.array(noise)).astype(rows.dtype)
