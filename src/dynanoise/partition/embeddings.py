"""Coarse embeddings of inputs, fitted on reference data: tables, images, texts, exact records.

All sums are sequential in float64 and no product is made by BLAS, so that a row has the same bits
alone, in any batch, in training and in serving.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64, Int64
from dynanoise.partition.rows import (
    Bytes,
    blocks,
    column,
    columns,
    count,
    exact_bytes,
    numbers,
)

SIDE = 8
"""Rows and columns of a thumbnail."""

MOST_PIXELS = 64
"""Pixels a side up to which cutting noise off at 0 and 255 moves coordinates next to nothing."""

MOST_COLUMNS = 1024
"""Columns of numbers that a table is embedded by at most: those that vary in most rows."""


class Embedding(Protocol):
    """A map from inputs to a few numbers, and to bytes that must be equal in a cell.

    Attributes:
        name: name of the kind, for files.
        components: C, number of coordinates, >= 0.
    """

    name: ClassVar[str]

    @property
    def components(self) -> int:
        """Number of coordinates."""

    def coordinates(self, inputs: Any) -> Float64:
        """Coordinates float64 [n, C] of inputs, in standard deviations of the reference."""

    def exact(self, inputs: Any) -> Bytes:
        """Bytes uint8 [n, B] of inputs that share a cell only if they are equal."""

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The fitted arrays by name."""

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The embedding of some arrays."""


@dataclass(frozen=True, eq=False)
class Record:
    """No coordinates: a cell is one record, whatever its kind.

    Numbers are compared as float32, so that a record in float64 is the same record.

    Attributes:
        width: int64 [1], number of columns of an input; 0 for texts, token ids padded with 0 at
            the end to any length; -1 for inputs of any shape.

    >>> Record().exact(np.array([[1.0, 0.0], [1.0, -0.0]])).shape
    (2, 16)
    >>> texts = Record(np.zeros(1, np.int64))
    >>> (texts.exact(np.array([[7, 8, 0, 0]])) == texts.exact(np.array([[7, 8]]))).all()
    np.True_
    """

    width: Int64 = field(default_factory=lambda: np.array([-1]))
    name: ClassVar[str] = "record"
    components: ClassVar[int] = 0

    @classmethod
    def fit(cls, reference: Any, *, texts: bool = False) -> Self:
        """Take the number of columns of reference data.

        Args:
            reference: inputs of any form.
            texts: True for token ids, whose padding counts for nothing.
        """
        width = 0 if texts else columns(reference) if hasattr(reference, "shape") else -1
        return cls(np.array([width], np.int64))

    def coordinates(self, inputs: Any) -> Float64:
        """No coordinates, [n, 0]."""
        return np.zeros((count(inputs), 0))

    def exact(self, inputs: Any) -> Bytes:
        """The whole record as bytes.

        Args:
            inputs: [n, ...] of any form that `fit` takes.

        Raises:
            InputError: if they have another number of columns.
        """
        width = int(self.width[0])
        if width == 0:
            return _without_padding(inputs)
        if width > 0:
            _check_columns(inputs, width)
        if isinstance(inputs, np.ndarray) and inputs.dtype.kind in "buif" and len(inputs):
            return exact_bytes(inputs.reshape(-1)).reshape(len(inputs), -1)
        parts = [exact_bytes(column(inputs, position)) for position in range(columns(inputs))]
        return np.concatenate([np.zeros((count(inputs), 0), np.uint8), *parts], axis=1)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The fitted arrays."""
        return {"width": self.width}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The embedding of some arrays."""
        return cls(**arrays)


@dataclass(frozen=True, eq=False)
class Table:
    """Principal components of standardised columns of numbers; categories must be equal.

    Attributes:
        used: int64 [F], positions of the columns of numbers.
        centre, scale: float64 [F], median and spread of each of them on the reference.
        axes: float64 [F, C], the components, each divided by its standard deviation.
        categories: int64 [c], positions of the columns of categories.
        width: int64 [1], number of columns of an input.
    """

    used: Int64
    centre: Float64
    scale: Float64
    axes: Float64
    categories: Int64
    width: Int64
    name: ClassVar[str] = "table"

    @property
    def components(self) -> int:
        """Number of coordinates."""
        return int(self.axes.shape[1])

    @classmethod
    def fit(
        cls,
        reference: Any,
        components: int,
        categories: Int64 | None = None,
        *,
        standardise: bool = True,
    ) -> Self:
        """Fit to reference data.

        The spread of a column is its interquartile range / 1.349, which is the standard deviation
        of a normal one, or else its standard deviation. A missing number counts as the median.

        Args:
            reference: rows that are no training records: array, data frame or sparse matrix.
            components: C, >= 1.
            categories: positions of columns that are categories; None for those of a data frame
                that hold no numbers.
            standardise: False for columns of one unit, which keep it: their spread counts as 1.

        Raises:
            InputError: if no column of numbers varies.
        """
        width = columns(reference)
        if categories is None:
            kinds = [np.asarray(column(reference, at)).dtype.kind for at in range(width)]
            categories = np.array([at for at in range(width) if kinds[at] not in "buif"], np.int64)
        rest = np.setdiff1d(np.arange(width), categories)
        values = (
            np.stack([numbers(column(reference, at)) for at in rest], axis=1)
            if len(rest)
            else np.zeros((count(reference), 0))
        )
        centre = np.array([_median(part) for part in values.T])
        filled = np.where(np.isnan(values), centre, values)
        varying = (filled != centre).sum(axis=0)
        kept = np.sort(np.argsort(-varying, kind="stable")[:MOST_COLUMNS])
        kept = kept[varying[kept] > 0]
        if not len(kept):
            raise InputError(
                f"No column of numbers varies in {len(values)} reference records.",
                "Use more reference data, or cells of width 0.",
            )
        filled, centre = filled[:, kept], centre[kept]
        low, high = np.percentile(filled, [25, 75], axis=0)
        spread = (high - low) / 1.349
        scale = np.where(spread > 0, spread, filled.std(axis=0))
        if not standardise:
            scale = np.ones(len(kept))
        axes = _principal((filled - centre) / scale, components)
        return cls(
            rest[kept].astype(np.int64),
            centre,
            scale,
            axes,
            np.asarray(categories, np.int64),
            np.array([width]),
        )

    def coordinates(self, inputs: Any) -> Float64:
        """Coordinates of rows.

        Args:
            inputs: [n, columns] of any form that `fit` takes.

        Raises:
            InputError: if they have another number of columns.
        """
        _check_columns(inputs, int(self.width[0]))
        parts = []
        for values in self._values(inputs):
            centred = (values - self.centre[:, None]) / self.scale[:, None]
            parts.append(_project(np.where(np.isnan(centred), 0.0, centred), self.axes))
        return np.concatenate(parts) if parts else np.zeros((0, self.components))

    def exact(self, inputs: Any) -> Bytes:
        """The categories of rows as bytes."""
        _check_columns(inputs, int(self.width[0]))
        parts = [exact_bytes(column(inputs, int(at))) for at in self.categories]
        return np.concatenate([np.zeros((count(inputs), 0), np.uint8), *parts], axis=1)

    def _values(self, inputs: Any) -> Iterator[Float64]:
        """The columns of numbers as float64 [F, b], for blocks of rows."""
        for rows in blocks(inputs, len(self.used) * self.components):
            if hasattr(rows, "iloc") or rows.dtype.kind not in "buif":
                yield np.stack([numbers(column(rows, int(at))) for at in self.used])
            else:
                yield numbers(rows.reshape(len(rows), -1)[:, self.used].T)

    def displacement(self, noise: float, *, relative: bool) -> Float64:
        """Standard deviation of each coordinate's change under independent noise on every column.

        Args:
            noise: standard deviation of the noise.
            relative: True if it is in units of each column's spread.

        Returns:
            float64 [C].
        """
        sizes = self.axes if relative else self.axes / self.scale[:, None]
        return np.asarray(noise * np.sqrt((sizes**2).sum(axis=0)))

    def rounding(self, inputs: Any) -> Float64:
        """Largest change of each coordinate because numbers are rounded to float32.

        Args:
            inputs: [n, columns].

        Returns:
            float64 [n, C], for a record and an input next to it, both rounded.
        """
        parts = []
        for values in self._values(inputs):
            sizes = 2 * np.spacing(np.nan_to_num(np.abs(values)).astype(np.float32))
            sizes = sizes.astype(np.float64) / self.scale[:, None]
            parts.append(_project(sizes, np.abs(self.axes)))
        return np.concatenate(parts) if parts else np.zeros((0, self.components))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The fitted arrays."""
        return {name: np.ascontiguousarray(value) for name, value in vars(self).items()}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The embedding of some arrays."""
        return cls(**arrays)


@dataclass(frozen=True, eq=False)
class Thumbnails:
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
            reference: images that are no training records.
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
        return cls(mean, _principal(rows - mean, components))

    def coordinates(self, inputs: Any) -> Float64:
        """Coordinates of images.

        Args:
            inputs: uint8 [n, H, W, channels].

        Raises:
            InputError: if they are no images, or have other channels than the reference.
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
            parts.append(_project(rows - self.mean[:, None], self.axes))
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
            exact, _ = thumbnails(images)
            blurred = _block_means(images) + _block_means(change[images])
            blurred += _block_means(images[:, :, ::-1]) + _block_means(change[images[:, :, ::-1]])
            moved, _ = _standardised(blurred.reshape(len(images), -1).T)
            parts.append(np.abs(_project(moved - exact, self.axes)))
        return np.concatenate(parts) if parts else np.zeros((0, self.components))

    def exact(self, inputs: Any) -> Bytes:
        """No bytes, [n, 0]."""
        return np.zeros((len(inputs), 0), np.uint8)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The fitted arrays."""
        return {name: np.ascontiguousarray(value) for name, value in vars(self).items()}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The embedding of some arrays."""
        return cls(**arrays)


@dataclass(frozen=True, eq=False)
class Words:
    """The set of frequent words of a text, which must be equal in a cell.

    Attributes:
        ids: int64 [W], token ids of the words.
    """

    ids: Int64
    name: ClassVar[str] = "words"
    components: ClassVar[int] = 0

    @classmethod
    def fit(cls, reference: npt.NDArray[Any], words: int, most: float = 0.25) -> Self:
        """Choose the words that most reference texts have, of those that at most a share has.

        Ids 0 and 1, padding and unknown words, are left out.

        Args:
            reference: token ids [n, L] of texts that are no training records, padded with 0.
            words: W, >= 1.
            most: share of texts beyond which a word tells too little.

        Raises:
            InputError: if there is no such word.
        """
        present = [np.unique(row) for row in np.asarray(reference)]
        ids, texts = np.unique(np.concatenate(present), return_counts=True)
        fitting = (ids > 1) & (texts <= most * len(reference))
        ids, texts = ids[fitting], texts[fitting]
        if not len(ids):
            raise InputError(
                f"No word is in at most {most:.0%} of {len(reference)} reference texts.",
                "Use more reference texts, or cells of width 0.",
            )
        order = np.lexsort((ids, -texts))[:words]
        return cls(np.sort(ids[order]).astype(np.int64))

    def coordinates(self, inputs: Any) -> Float64:
        """No coordinates, [n, 0]."""
        return np.zeros((len(inputs), 0))

    def exact(self, inputs: Any) -> Bytes:
        """1 for every frequent word that a text has, else 0, [n, W]."""
        tokens = np.asarray(inputs)
        there = [(tokens == word).any(axis=1) for word in self.ids]
        return np.stack(there, axis=1).astype(np.uint8)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The fitted arrays."""
        return {"ids": self.ids}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The embedding of some arrays."""
        return cls(**arrays)


EMBEDDINGS: Mapping[str, type[Embedding]] = {
    kind.name: kind for kind in (Record, Table, Thumbnails, Words)
}


def _check_columns(inputs: Any, width: int) -> None:
    if columns(inputs) != width:
        raise InputError(
            f"Inputs have {columns(inputs)} columns, and the cells were fitted to {width}.",
            "Give the columns that the reference data had.",
        )


def _without_padding(texts: npt.NDArray[Any]) -> Bytes:
    """A digest of each text up to its last token that is not 0, [n, 16]."""
    tokens = np.asarray(texts).astype("<i8")
    ends = ((tokens != 0) * np.arange(1, tokens.shape[1] + 1)).max(axis=1, initial=0)
    parts = (row[:end].tobytes() for row, end in zip(tokens, ends, strict=True))
    digests = b"".join(hashlib.sha256(part).digest()[:16] for part in parts)
    return np.frombuffer(digests, np.uint8).reshape(len(tokens), 16)


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
        InputError: if they are no images.
    """
    if getattr(images, "dtype", None) != np.uint8 or images.ndim != 4:
        raise InputError(
            f"Inputs have shape {np.shape(images)} and dtype {getattr(images, 'dtype', None)}.",
            "Thumbnails are made of images, uint8 [n, H, W, channels].",
        )
    # The mirror image of a block is a block of other columns unless 8 divides the width.
    both = (_block_means(images) + _block_means(images[:, :, ::-1])).reshape(len(images), -1).T
    return _standardised(both)


def _standardised(both: Float64) -> tuple[Float64, Float64]:
    """Thumbnails [F, n] with mean 0 and contrast 1, and their contrast [n], at least 1."""
    features = len(both)
    centred = both - _total(both) / features
    contrast = np.maximum(np.sqrt(_total(centred * centred) / features), 1.0)
    return np.asarray(centred / contrast), contrast


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


def _total(rows: Float64) -> Float64:
    """Sum over the first axis, one term after the other."""
    return np.asarray(np.add.accumulate(rows, axis=0)[-1])


def _project(rows: Float64, axes: Float64) -> Float64:
    """Products float64 [n, C] of rows [F, n] with axes [F, C], added in the order of F."""
    return _total(rows[:, :, None] * axes[:, None, :])


def _principal(rows: Float64, components: int) -> Float64:
    """Principal components [F, C] of rows [n, F], each divided by its standard deviation."""
    centred = rows - rows.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    sizes = sizes / np.sqrt(len(rows))
    several = int((sizes > 1e-9 * max(sizes[0], 1e-300)).sum())
    axes = axes[: min(components, several)]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return np.ascontiguousarray((axes * signs[:, None] / sizes[: len(axes), None]).T)


def _median(values: Float64) -> float:
    there = values[~np.isnan(values)]
    return float(np.median(there)) if len(there) else 0.0
