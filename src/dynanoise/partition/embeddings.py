"""Coarse embeddings of inputs, fitted on reference data: tables, texts, exact records, images.

A row has the same bits alone, in any batch, in training and in serving; see `components`.
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
from dynanoise.partition.components import principal, project
from dynanoise.partition.fitted import Fitted
from dynanoise.partition.rows import (
    Bytes,
    blocks,
    column,
    columns,
    count,
    exact_bytes,
    numbers,
)
from dynanoise.partition.thumbnails import Thumbnails

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
class Record(Fitted):
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


@dataclass(frozen=True, eq=False)
class Table(Fitted):
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
            reference: rows that are not training records: array, data frame or sparse matrix.
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
        axes = principal((filled - centre) / scale, components)
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
            parts.append(project(np.where(np.isnan(centred), 0.0, centred), self.axes))
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
            parts.append(project(sizes, np.abs(self.axes)))
        return np.concatenate(parts) if parts else np.zeros((0, self.components))


@dataclass(frozen=True, eq=False)
class Words(Fitted):
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
            reference: token ids [n, L] of texts that are not training records, padded with 0.
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


def _median(values: Float64) -> float:
    there = values[~np.isnan(values)]
    return float(np.median(there)) if len(there) else 0.0
