"""Membership of records in shadow models: equal numbers of in- and out-models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.numerics import Bools, Float64, Int8, Int16, Int64

ENOUGH = 2 / 3
"""The share of records that must keep their shadow models, see `shadows_per_record`."""


def shadows_per_record(use: Int8, enough: float = ENOUGH) -> int:
    """Find the largest k for which enough records have k in- and k out-models.

    Records that are hidden for all models do not count.

    Args:
        use: int8 [S, N], 1 = in, 0 = out, -1 = hidden.
        enough: share of the records that must have them, in (0, 1].

    Returns:
        k >= 1.

    Raises:
        TooFewRecordsError: if k is 0.

    >>> use = np.array([[1, 1, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0]], dtype=np.int8)
    >>> shadows_per_record(use), shadows_per_record(use, enough=1)
    (2, 1)
    """
    return _enough((use == 1).sum(axis=0), (use == 0).sum(axis=0), enough)


def shadows_per_target(use: Int8) -> int:
    """Find the largest k of `shadows_per_record` that holds for every target of a pool.

    Each model is the target once, with all others as its shadow models.

    Args:
        use: int8 [M, N], 1 = in, 0 = out, -1 = hidden.

    Returns:
        k >= 1.

    Raises:
        TooFewRecordsError: if k is 0.

    >>> use = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]], dtype=np.int8)
    >>> shadows_per_target(use)
    1
    """
    inside, outside = (sum(row == value for row in use) for value in (np.int8(1), np.int8(0)))
    inside, outside = (np.asarray(count, dtype=np.int32) for count in (inside, outside))
    return min(_enough(inside - (row == 1), outside - (row == 0), ENOUGH) for row in use)


def _enough(inside: Int64, outside: Int64, enough: float) -> int:
    """The k of `shadows_per_record`, from each record's numbers of in- and out-models."""
    least = np.minimum(inside, outside)[inside + outside > 0]
    ranked = np.sort(least)[::-1]
    k = int(ranked[max(0, int(np.ceil(enough * len(ranked))) - 1)]) if len(ranked) else 0
    if k == 0:
        raise TooFewRecordsError(
            f"Of {len(ranked)} records only {int((least > 0).sum())} have both a shadow model "
            "that was trained on them and one that was not.",
            "Use more models, each trained on a random half of the records.",
        )
    return k


def balance_shadows(
    use: Int8, k: int, seed: int, *, start: int = 0, total: int | None = None
) -> Int8:
    """Hide all but k in- and k out-models of every record, drawn at random.

    Records with fewer are hidden altogether. Where membership was drawn independently for each
    model and record, the result does not depend on a model that is not among these: neither the
    number of models trained on a record nor the choice of hidden records does. Where each record is
    in exactly half of the models, the counts of the others reveal a model's membership; k of both
    kinds hide it.

    Args:
        use: int8 [S, N], 1 = in, 0 = out, -1 = hidden.
        k: in-models and out-models to keep for each record, >= 1.
        seed: the seed of the random choice.
        start: position of the first record, where these records are a part of more.
        total: number of all records, where these are a part; the same models are drawn as for all
            records together. None where these are all.

    Returns:
        int8 [S, N].

    Raises:
        InputError: if k is below 1.

    >>> balance_shadows(np.array([[1, 1], [0, 1], [0, 1]], dtype=np.int8), 1, seed=0).T.tolist()
    [[1, 0, -1], [-1, -1, -1]]
    """
    if k < 1:
        raise InputError(f"k is {k}.", "Keep at least one shadow model of either kind.")
    order = _uniform(use.shape, seed, start, use.shape[1] if total is None else total)
    # Records first: sorting rows of memory is several times as fast as sorting its columns.
    by_order = np.argsort(np.ascontiguousarray(order.T), axis=1)
    drawn = np.take_along_axis(np.ascontiguousarray(use.T), by_order, axis=1)
    chosen = np.zeros(drawn.shape, dtype=bool)
    complete = np.ones((len(drawn), 1), dtype=bool)
    for value in (1, 0):
        # The first k of a kind in a random order are a random k.
        count = np.cumsum(drawn == value, axis=1, dtype=np.int32)
        chosen |= (drawn == value) & (count <= k)
        complete &= count[:, -1:] >= k
    kept = np.empty(drawn.shape, dtype=np.int8)
    hidden = np.int8(-1)
    np.put_along_axis(kept, by_order, np.where(chosen & complete, drawn, hidden), axis=1)
    return np.ascontiguousarray(kept.T)


def _uniform(shape: tuple[int, ...], seed: int, start: int, total: int) -> Float64:
    """Draw columns from ``start`` on of ``default_rng(seed).random((rows, total))``.

    >>> every = np.random.default_rng(3).random((2, 9))
    >>> np.array_equal(_uniform((2, 4), 3, 5, 9), every[:, 5:])
    True
    """
    rows, columns = shape
    if columns == total:
        return np.random.default_rng(seed).random((rows, columns))
    uniform = np.empty((rows, columns))
    for row in range(rows):
        # One step of the generator is one number.
        generator = np.random.Generator(np.random.PCG64(seed).advance(row * total + start))
        uniform[row] = generator.random(columns)
    return uniform


@dataclass(frozen=True, eq=False)
class Slots:
    """The k in-models and k out-models of each record that has shadow models.

    Attributes:
        rows: int64 [E], positions of these records.
        inside: int16 [k, E], positions of the in-models.
        outside: int16 [k, E], positions of the out-models.
    """

    rows: Int64
    inside: Int16
    outside: Int16

    @property
    def k(self) -> int:
        """The number of in-models, and of out-models, of a record."""
        return len(self.inside)

    def take(self, values: Float64) -> tuple[Float64, Float64]:
        """Take the in- and the out-models' values [k, E, ...] from values [S, N, ...]."""
        return values[self.inside, self.rows], values[self.outside, self.rows]

    def among(self, models: Sequence[int]) -> Slots:
        """The same models by their positions among more: ``models[i]`` for each i, int [S]."""
        positions = np.asarray(models, dtype=np.int16)
        return Slots(self.rows, positions[self.inside], positions[self.outside])

    def spread(self, scores: Float64, count: int) -> Float64:
        """Write scores [E, ...] into scores [count, ...]; 0 for records without shadow models."""
        spread = np.zeros((count, *scores.shape[1:]))
        spread[self.rows] = scores
        return spread


def find_slots(use: Int8) -> Slots:
    """Find the in- and out-models of each record.

    Args:
        use: int8 [S, N] from `balance_shadows`.

    Raises:
        InputError: if records have different numbers of in- and out-models.

    >>> slots = find_slots(np.array([[1, -1], [0, -1], [-1, -1]], dtype=np.int8))
    >>> slots.rows.tolist(), slots.inside.tolist(), slots.outside.tolist()
    ([0], [[0]], [[1]])
    """
    inside, outside = (use == 1).sum(axis=0), (use == 0).sum(axis=0)
    rows = np.flatnonzero(inside + outside)
    counts = np.concatenate([inside[rows], outside[rows]])
    if len(rows) == 0 or counts.min() != counts.max():
        raise InputError(
            f"Records have {np.unique(counts).tolist()} in- or out-models.",
            "Every score needs the same number of both for every record: see `balance_shadows`.",
        )
    k = int(counts[0])
    by_record = np.ascontiguousarray(use[:, rows].T)
    inside, outside = (
        (np.flatnonzero(by_record == value) % len(use)).reshape(len(rows), k).T for value in (1, 0)
    )
    # Values taken by these indices are laid out like them, and are summed over models.
    return Slots(rows, inside.astype(np.int16, order="C"), outside.astype(np.int16, order="C"))


def has_shadows(use: Int8) -> Bools:
    """Mark records that have a shadow model: int8 [S, N] to bool [N].

    >>> has_shadows(np.array([[1, -1], [0, -1]], dtype=np.int8)).tolist()
    [True, False]
    """
    return np.asarray((use >= 0).any(axis=0))


def draw_persons(order: Int64, count: int, persons: Int64 | None, least: int = 100) -> Int64:
    """Draw records, all of a person where these are enough persons.

    Args:
        order: int64 [N], records in random order.
        count: number of records, >= 1.
        persons: int64 [N], person of each record; None draws each record by itself.
        least: number of persons to draw at least. Where so many whole persons would be too many
            records, some records of each are drawn.

    Returns:
        int64 [count], or [N] if these are fewer.

    >>> order, persons = np.array([3, 0, 2, 1]), np.array([7, 8, 7, 8])
    >>> draw_persons(order, 2, persons, least=1).tolist(), draw_persons(order, 2, persons).tolist()
    ([3, 1], [3, 0])
    """
    if persons is None:
        return order[:count]
    _, first, of = np.unique(persons[order], return_index=True, return_inverse=True)
    whole = order[np.argsort(first[of], kind="stable")][:count]
    return whole if len(np.unique(persons[whole])) >= least else order[:count]
