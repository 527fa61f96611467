"""Who was trained on what: equal numbers of in- and out-models for every example."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.numerics import Bools, Float64, Int8, Int64

ENOUGH = 2 / 3
"""The share of examples that must keep their shadows, see `shadows_an_example`."""


def shadows_an_example(use: Int8, enough: float = ENOUGH) -> int:
    """The largest k for which at least a share of the examples has k in- and k out-models.

    Examples that are hidden for all models, of which nobody knows anything, do not count.

    Args:
        use: int8 [S, N], 1 = in, 0 = out, -1 = hidden.
        enough: that share, in (0, 1].

    Raises:
        TooFewRecordsError: if that is 0.

    >>> use = np.array([[1, 1, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0]], dtype=np.int8)
    >>> shadows_an_example(use), shadows_an_example(use, enough=1)
    (2, 1)
    """
    return _enough((use == 1).sum(axis=0), (use == 0).sum(axis=0), enough)


def shadows_for_all(use: Int8) -> int:
    """The largest k of `shadows_an_example` that all targets of a pool have with the others' help.

    Args:
        use: int8 [M, N], of all models; each is the target once.

    Raises:
        TooFewRecordsError: if that is 0.

    >>> use = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]], dtype=np.int8)
    >>> shadows_for_all(use)
    1
    """
    inside, outside = (sum(row == value for row in use) for value in (np.int8(1), np.int8(0)))
    inside, outside = (np.asarray(count, dtype=np.int32) for count in (inside, outside))
    return min(_enough(inside - (own == 1), outside - (own == 0), ENOUGH) for own in use)


def _enough(inside: Int64, outside: Int64, enough: float) -> int:
    """The k of `shadows_an_example`, from how many in- and out-models each example has."""
    least = np.minimum(inside, outside)[inside + outside > 0]
    ranked = np.sort(least)[::-1]
    k = int(ranked[max(0, int(np.ceil(enough * len(ranked))) - 1)]) if len(ranked) else 0
    if k == 0:
        raise TooFewRecordsError(
            f"Of {len(ranked)} examples only {int((least > 0).sum())} have both a shadow model "
            "that was trained on them and one that was not.",
            "Use more models, each trained on a random half of the examples.",
        )
    return k


def equal_numbers(
    use: Int8, k: int, seed: int, *, start: int = 0, total: int | None = None
) -> Int8:
    """The same use with all but k in- and k out-models of every example hidden, drawn at random.

    Examples with fewer are hidden altogether. With membership drawn independently for each model
    and example, what is left says nothing about a model that is not among these: not by how many
    models were trained on an example, nor by which example was left out. Where each example is in
    exactly half of the models the counts of the others give a model's away, and k of both hides it.

    Args:
        use: int8 [S, N], 1 = in, 0 = out, -1 = hidden.
        k: how many of either kind, >= 1.
        seed: of the drawing.
        start: how many examples are before these, where these are some of them.
        total: of how many they are some; the same is drawn for them as if all were given. None
            where these are all.

    >>> equal_numbers(np.array([[1, 1], [0, 1], [0, 1]], dtype=np.int8), 1, seed=0).T.tolist()
    [[1, 0, -1], [-1, -1, -1]]
    """
    if k < 1:
        raise InputError(f"k is {k}.", "Keep at least one shadow model of either kind.")
    order = _uniform(use.shape, seed, start, use.shape[1] if total is None else total)
    # Examples first: sorting rows of memory is several times as fast as sorting its columns.
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
    """Columns from ``start`` on of ``default_rng(seed).random((rows, total))``.

    >>> every = np.random.default_rng(3).random((2, 9))
    >>> np.array_equal(_uniform((2, 4), 3, 5, 9), every[:, 5:])
    True
    """
    rows, columns = shape
    if columns == total:
        return np.random.default_rng(seed).random((rows, columns))
    found = np.empty((rows, columns))
    for row in range(rows):
        # One step of the generator is one number.
        generator = np.random.Generator(np.random.PCG64(seed).advance(row * total + start))
        found[row] = generator.random(columns)
    return found


@dataclass(frozen=True, eq=False)
class Slots:
    """For each example with shadows, which k of them were trained on it and which k were not.

    Attributes:
        rows: int64 [E], positions of these examples.
        inside, outside: int64 [k, E], positions of models.
    """

    rows: Int64
    inside: Int64
    outside: Int64

    @property
    def k(self) -> int:
        """How many shadow models of either kind an example has."""
        return len(self.inside)

    def take(self, values: Float64) -> tuple[Float64, Float64]:
        """Of [S, N, ...] what the in- and the out-models have, [k, E, ...] each."""
        return values[self.inside, self.rows], values[self.outside, self.rows]

    def spread(self, scores: Float64, count: int) -> Float64:
        """Scores [E] as scores [count]; 0, which says nothing, for examples without shadows."""
        everywhere = np.zeros((count, *scores.shape[1:]))
        everywhere[self.rows] = scores
        return everywhere


def slots(use: Int8) -> Slots:
    """The slots of what `equal_numbers` gave.

    Raises:
        InputError: if examples have different numbers of in- and out-models.

    >>> found = slots(np.array([[1, -1], [0, -1], [-1, -1]], dtype=np.int8))
    >>> found.rows.tolist(), found.inside.tolist(), found.outside.tolist()
    ([0], [[0]], [[1]])
    """
    inside, outside = (use == 1).sum(axis=0), (use == 0).sum(axis=0)
    rows = np.flatnonzero(inside + outside)
    counts = np.concatenate([inside[rows], outside[rows]])
    if len(rows) == 0 or counts.min() != counts.max():
        raise InputError(
            f"Examples have {np.unique(counts).tolist()} in- or out-models.",
            "Every score needs the same number of both for every example: see `equal_numbers`.",
        )
    k = int(counts[0])
    by_example = np.ascontiguousarray(use[:, rows].T)
    inside, outside = (
        (np.flatnonzero(by_example == value) % len(use)).reshape(len(rows), k).T for value in (1, 0)
    )
    # What is taken by these is laid out like them, and is summed over models.
    return Slots(rows, np.ascontiguousarray(inside), np.ascontiguousarray(outside))


def eligible(use: Int8) -> Bools:
    """Which examples have shadows at all, bool [N]."""
    return np.asarray((use >= 0).any(axis=0))
