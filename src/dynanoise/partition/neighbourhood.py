"""Neighbourhoods: inputs close to a record, which no model that was trained on it may answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.partition.rows import check_images

MARGIN = 6.0
"""Standard deviations of a coordinate under noise that a neighbourhood covers."""


class Neighbourhood(Protocol):
    """Versions of a record, and noise on each of them."""

    def versions(self, inputs: Any) -> Iterator[Any]:
        """Yield changed inputs of the same shape, one kind of change after the other."""

    def noisy(self, inputs: Any, generator: np.random.Generator, scale: Float64 | None) -> Any:
        """Add noise to inputs.

        Args:
            inputs: [n, ...].
            generator: draws the noise.
            scale: spread of each column of numbers, where there are such.
        """


@dataclass(frozen=True)
class NumberNoise:
    """Gaussian noise on every column of numbers; categories, also numeric ones, stay as they are.

    Args:
        noise: standard deviation, >= 0.
        relative: True if it is in units of each column's spread in the reference data, for tables
            whose columns have different units.

    Raises:
        InputError: if ``noise`` is negative or not finite.
    """

    noise: float = 0.05
    relative: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.noise < np.inf:
            raise InputError(f"noise is {self.noise!r}.", "Use a finite number of 0 or more.")

    def versions(self, inputs: Any) -> Iterator[Any]:
        """No version but the record itself."""
        return iter(())

    def noisy(self, inputs: Any, generator: np.random.Generator, scale: Float64 | None) -> Any:
        """Rows with noise, in their dtype; whole numbers are rounded.

        Args:
            inputs: float or int [n, columns].
            generator: draws the noise.
            scale: spread of each column, float64 [columns]; those of 0 get no noise. None for noise
                on all columns, in their own units.
        """
        sizes: Any = self.noise
        if scale is not None:
            sizes = self.noise * (scale if self.relative else scale > 0)
        moved = inputs + generator.normal(size=inputs.shape) * sizes
        return (np.rint(moved) if inputs.dtype.kind in "iu" else moved).astype(inputs.dtype)


@dataclass(frozen=True)
class ImageChanges:
    """Shifted, mirrored, brighter and darker images, each with noise.

    Of other brightness there are four: changed by all and by half of ``brightness``, up and down.

    Args:
        shift: pixels by which an image is moved at most in both directions, >= 0. Missing rows and
            columns are reflected.
        brightness: the greater of the two changes of all pixels, in 1/255, >= 0.
        noise: the largest change of a single pixel, in 1/255, drawn uniformly, >= 0.

    Raises:
        InputError: for a number that is not whole, below 0 or above 255.

    >>> image = np.zeros((1, 8, 8, 3), np.uint8)
    >>> len(list(ImageChanges(shift=1, brightness=20).versions(image)))
    13
    """

    shift: int = 1
    brightness: int = 20
    noise: int = 8

    def __post_init__(self) -> None:
        sizes = self.shift, self.brightness, self.noise
        if not all(isinstance(size, int) and 0 <= size <= 255 for size in sizes):
            raise InputError(
                f"shift is {self.shift}, brightness {self.brightness} and noise {self.noise}.",
                "Use whole numbers from 0 to 255.",
            )

    def versions(self, inputs: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
        """Moved images, the mirror image, and images of other brightness.

        Args:
            inputs: uint8 [n, H, W, channels].

        Raises:
            InputError: for inputs of another kind.
        """
        check_images(inputs, "ImageChanges is for images, uint8 [n, H, W, channels].")
        yield inputs[:, :, ::-1]
        steps = range(self.shift, -self.shift - 1, -1)
        for down, right in product(steps, steps):
            if (down, right) != (0, 0):
                yield shifted(inputs, down, right)
        if self.brightness:
            for share in (-1.0, -0.5, 0.5, 1.0):
                change = round(share * self.brightness)
                yield np.clip(inputs.astype(np.int16) + change, 0, 255).astype(np.uint8)

    def noisy(
        self,
        inputs: npt.NDArray[Any],
        generator: np.random.Generator,
        scale: Float64 | None = None,
    ) -> npt.NDArray[Any]:
        """Images with noise.

        Args:
            inputs: uint8 [n, H, W, channels].
            generator: draws the noise.
            scale: not used.
        """
        return with_noise(inputs, self.noise, generator)


def shifted(images: npt.NDArray[Any], down: int, right: int) -> npt.NDArray[Any]:
    """Images moved by some pixels; missing rows and columns are reflections of their neighbours.

    Args:
        images: [n, H, W, channels].
        down: whole number of pixels, smaller than H; below 0 for up.
        right: whole number of pixels, smaller than W; below 0 for left.
    """
    for axis, by in ((1, down), (2, right)):
        if not by:
            continue
        edge = abs(by)
        widths = [(0, 0)] * images.ndim
        widths[axis] = (edge, edge)
        padded = np.pad(images, widths, mode="reflect")
        start = edge - by
        images = padded.take(range(start, start + images.shape[axis]), axis=axis)
    return images


def with_noise(
    images: npt.NDArray[Any], size: int, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Images with whole numbers from -size to size added to their pixels, drawn uniformly.

    Args:
        images: uint8, of any shape.
        size: the largest change of a pixel, in 1/255.
        generator: draws the noise.
    """
    noise = generator.integers(-size, size, images.shape, dtype=np.int16, endpoint=True)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class WordDeletions:
    """Texts without one of their words.

    A text is its row of token ids. In a text that was cut to L tokens, the word that follows is not
    known, and the text without an earlier word is not covered. Pad all texts to the longest.
    """

    def versions(self, inputs: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
        """Texts without their first word, without their second, and so on.

        Args:
            inputs: token ids [n, L], padded with 0 at the end.

        Raises:
            InputError: for inputs of another kind, or padding before a word.
        """
        if getattr(inputs, "ndim", 0) != 2 or inputs.dtype.kind not in "iu":
            raise InputError(
                f"Inputs are of type {type(inputs).__name__}, shape {np.shape(inputs)}.",
                "WordDeletions is for token ids [n, L].",
            )
        if ((inputs[:, :-1] == 0) & (inputs[:, 1:] != 0)).any():
            raise InputError("Texts have padding before a word.", "Pad with 0 at the end.")
        length = int((inputs != 0).sum(axis=1).max(initial=0))
        for place in range(length):
            shorter = inputs.copy()
            shorter[:, place:-1] = inputs[:, place + 1 :]
            shorter[:, -1] = 0
            yield shorter

    def noisy(
        self,
        inputs: npt.NDArray[Any],
        generator: np.random.Generator,
        scale: Float64 | None = None,
    ) -> npt.NDArray[Any]:
        """The texts themselves.

        Args:
            inputs: token ids [n, L].
            generator: not used.
            scale: not used.
        """
        return inputs


def sample(
    neighbourhood: Neighbourhood,
    inputs: Any,
    generator: np.random.Generator,
    points: int,
    scale: Float64 | None = None,
) -> Iterator[Any]:
    """Draw points of the neighbourhood of each record: a version of it, with noise.

    Args:
        neighbourhood: inputs that count as close.
        inputs: [n, ...].
        generator: draws version and noise; all records have the same version at a time.
        points: points of each record.
        scale: see `Neighbourhood.noisy`.

    Yields:
        Inputs of the same shape, ``points`` times.
    """
    versions = [inputs, *neighbourhood.versions(inputs)]
    for _ in range(points):
        version = versions[int(generator.integers(len(versions)))]
        yield neighbourhood.noisy(version, generator, scale)
