"""Thumbnails of images, and their principal components as an embedding of input cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.partition.components import principal, project, total
from dynanoise.partition.fitted import Fitted
from dynanoise.partition.rows import Bytes, blocks, check_images

SIDE = 8
"""Rows and columns of a thumbnail."""

MOST_PIXELS = 64
"""Pixels a side up to which cutting noise off at 0 and 255 moves coordinates next to nothing."""


@dataclass(frozen=True, eq=False)
class Thumbnails(Fitted):
    """Principal components of mirror-averaged 8 x 8 thumbnails, each standardised by itself.

    Attributes:
        mean: float64 [F], mean of the standardised thumbnails of the reference.
        axes: float64 [F, C], the components, each divided by its standard deviation.
    """

    mean: Float64
    axes: Float64
    name: ClassVar[str] = "thumbnails"

    @property
    def components(self) -> int:
        """Number of coordinates."""
        return int(self.axes.shape[1])

    @classmethod
    def fit(cls, reference: npt.NDArray[Any], components: int) -> Self:
        """Fit to reference images uint8 [n, H, W, channels].

        Args:
            reference: images that are not training records.
            components: C, >= 1.

        Raises:
            InputError: if the images do not differ.
        """
        rows = thumbnails(reference)[0].T
        if not (rows != rows[:1]).any():
            raise InputError(
                f"The {len(rows)} reference images do not differ.",
                "Use more reference data, or cells of width 0.",
            )
        mean = rows.mean(axis=0)
        return cls(mean, principal(rows - mean, components))

    def coordinates(self, inputs: Any) -> Float64:
        """Coordinates of images.

        Args:
            inputs: uint8 [n, H, W, channels].

        Raises:
            InputError: if they are not images, or have other channels than the reference.
        """
        parts = []
        for images in blocks(inputs, int(np.prod(inputs.shape[1:]))):
            rows = thumbnails(images)[0]
            if len(rows) != len(self.mean):
                raise InputError(
                    f"Images have shape {inputs.shape[1:]}, and the cells were fitted to "
                    f"{len(self.mean) // SIDE**2} channels.",
                    "Give images as the reference data had them.",
                )
            parts.append(project(rows - self.mean[:, None], self.axes))
        return np.concatenate(parts) if parts else np.zeros((0, self.components))

    def displacement(self, inputs: npt.NDArray[Any], noise: int) -> Float64:
        """Standard deviation of each coordinate under noise on every pixel.

        Noise of a thumbnail is divided by the thumbnail's own contrast. What it has along the
        thumbnail itself is standardised away, so that this is an upper bound to first order. For
        noise that is cut off at 0 and 255 see `clipping`.

        Args:
            inputs: uint8 [n, H, W, channels].
            noise: the largest change of a pixel, in 1/255, drawn uniformly from whole numbers.

        Returns:
            float64 [n, C].
        """
        pixels = np.prod([max(1, size // SIDE) for size in inputs.shape[1:3]])
        # Two blocks are added, and the sum is a coordinate twice, as itself and mirrored.
        size = np.sqrt(4 * noise * (noise + 1) / 3 / pixels)
        contrast = np.concatenate(
            [thumbnails(rows)[1] for rows in blocks(inputs, int(np.prod(inputs.shape[1:])))]
            or [np.zeros(0)]
        )
        return np.asarray(size / contrast[:, None] * np.sqrt((self.axes**2).sum(axis=0)))

    def clipping(self, inputs: npt.NDArray[Any], noise: int) -> Float64:
        """Mean change of each coordinate because noise is cut off at 0 and 255.

        The noise of a block falls with the number of its pixels, its mean does not. Up to 64 pixels
        a side the mean is within the six deviations that a neighbourhood covers; beyond, it is
        covered as well.

        Args:
            inputs: uint8 [n, H, W, channels].
            noise: see `displacement`.

        Returns:
            float64 [n, C], at least 0.
        """
        if max(inputs.shape[1:3]) <= MOST_PIXELS:
            return np.zeros((len(inputs), self.components))
        levels = np.arange(256)
        drawn = np.arange(-noise, noise + 1)
        change = np.clip(levels[:, None] + drawn, 0, 255).mean(axis=1) - levels
        parts = []
        for images in blocks(inputs, int(np.prod(inputs.shape[1:]))):
            exact = _mirrored_means(images)
            moved = _standardised(exact + _mirrored_means(change[images]))[0]
            parts.append(np.abs(project(moved - _standardised(exact)[0], self.axes)))
        return np.concatenate(parts) if parts else np.zeros((0, self.components))

    def exact(self, inputs: Any) -> Bytes:
        """No bytes, [n, 0]."""
        return np.zeros((len(inputs), 0), np.uint8)


def thumbnails(images: npt.NDArray[Any]) -> tuple[Float64, Float64]:
    """Thumbnails of images, averaged with their mirror images and standardised each.

    Pixels are added as integers, so that their order does not matter. A mirror image has the same
    bits, and a change of brightness or contrast without clipping the same numbers up to rounding.

    Args:
        images: uint8 [n, H, W, channels].

    Returns:
        The thumbnails float64 [8 * 8 * channels, n], and the contrast [n] that they were divided
        by, at least 1.

    Raises:
        InputError: if they are not images.
    """
    check_images(images, "Thumbnails are made of images, uint8 [n, H, W, channels].")
    return _standardised(_mirrored_means(images))


def _standardised(both: Float64) -> tuple[Float64, Float64]:
    """Thumbnails [F, n] with mean 0 and contrast 1, and their contrast [n], at least 1."""
    features = len(both)
    centred = both - total(both) / features
    contrast = np.maximum(np.sqrt(total(centred * centred) / features), 1.0)
    return np.asarray(centred / contrast), contrast


def _mirrored_means(images: npt.NDArray[Any]) -> Float64:
    """Means of the blocks of images and of their mirror images, added, [F, n]."""
    # The mirror image of a block is a block of other columns unless 8 divides the width.
    both = _block_means(images) + _block_means(images[:, :, ::-1])
    return both.reshape(len(images), -1).T


def _block_means(images: npt.NDArray[Any]) -> Float64:
    """Mean of each of 8 x 8 blocks of images, [n, 64, channels]."""
    sums = images.astype(np.int64) if images.dtype == np.uint8 else images
    sizes = np.ones(1, np.int64)
    for axis in (1, 2):
        edges = np.arange(SIDE) * images.shape[axis] // SIDE
        sums = np.add.reduceat(sums, edges, axis=axis)
        lengths = np.maximum(np.diff(np.append(edges, images.shape[axis])), 1)
        sizes = (sizes[:, None] * lengths).ravel()
    return np.asarray(sums.reshape(len(images), SIDE**2, -1) / sizes[:, None])
