"""The search for the place on a path at which a model's state changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dynanoise.core.numerics import Bools, Float64, Floats

DEPTH = 6
"""Queries that narrow down one crossing, at most: more say little that a further path does not."""


class Crossings(NamedTuple):
    """Places at which the state of a model changes on paths, [n] or any other shape.

    Attributes:
        position: the estimate.
        error: distance to the nearer end of the interval that holds the crossing.
    """

    position: Float64
    error: Float64


class Prior(NamedTuple):
    """Cauchy distributions of crossings: those of shadow models, with heavy tails.

    Attributes:
        centre: float64 [n], the median.
        scale: float64 [n], half of the interquartile range, > 0.
    """

    centre: Float64
    scale: Float64

    def cumulative(self, positions: Float64) -> Float64:
        """Probability of a crossing below some positions, [n]."""
        return np.asarray(0.5 + np.arctan((positions - self.centre) / self.scale) / np.pi)

    def quantile(self, probabilities: Float64) -> Float64:
        """Inverse of `cumulative`, [n]."""
        return np.asarray(self.centre + self.scale * np.tan(np.pi * (probabilities - 0.5)))

    def middle(self, low: Float64, high: Float64) -> Float64:
        """Position that halves the probability between two others, [n]."""
        half = (self.cumulative(low) + self.cumulative(high)) / 2
        return np.asarray(np.clip(self.quantile(half), low, high))


def first_crossings(positions: Float64, values: Floats) -> Float64:
    """Find where values along a path, rising from below 0 to above 0, last become positive.

    Args:
        positions: float64 [P], rising.
        values: float64 [..., P], for example a logit gap.

    Returns:
        float64 [...], by linear interpolation; continued in a straight line by up to the length of
        the last interval where values do not change sign.

    >>> float(first_crossings(np.array([-2.0, 0.0, 2.0]), np.array([-3.0, 1.0, 2.0])))
    -0.5
    """
    below = values[..., ::-1] < 0
    last = values.shape[-1] - 1
    # Index of the last value below 0; the interval after it holds the crossing.
    index = np.where(below.any(axis=-1), last - below.argmax(axis=-1), 0)
    index = np.minimum(index, last - 1)
    start = np.take_along_axis(values, index[..., None], axis=-1)[..., 0]
    stop = np.take_along_axis(values, index[..., None] + 1, axis=-1)[..., 0]
    rise = stop - start
    rise = np.where(np.abs(rise) < 1e-9, 1e-9, rise)
    width = positions[index + 1] - positions[index]
    return np.asarray(positions[index] + np.clip(-start / rise, -1.0, 2.0) * width)


def bisect(
    is_above: Callable[[Float64], Bools],
    above_at_record: Bools,
    prior: Prior,
    reach: tuple[float, float],
    queries: int,
) -> Crossings:
    """Narrow down crossings by queries that halve what the shadow models leave likely.

    Where the prior is wrong, its heavy tails lead there within a few more queries. All records and
    paths are queried in one batch a step.

    Args:
        is_above: from positions to the model's states there; one query each.
        above_at_record: bool, the states at position 0, which are known.
        prior: where shadow models have their crossings.
        reach: the least and the greatest position.
        queries: number of queries for each crossing, >= 0.

    Returns:
        The crossings; an end of ``reach`` where a state never changes.

    >>> prior = Prior(np.array([-3.0]), np.array([1.0]))
    >>> found = bisect(lambda s: s >= -2.5, np.array([True]), prior, (-9.0, 9.0), 8)
    >>> bool(abs(found.position[0] + 2.5) <= 2 * found.error[0]), bool(found.error[0] < 0.05)
    (True, True)
    """
    low = np.where(above_at_record, reach[0], 0.0)
    high = np.where(above_at_record, 0.0, reach[1])
    for _ in range(queries):
        middle = prior.middle(low, high)
        above = is_above(middle)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    position = prior.middle(low, high)
    return Crossings(position, np.minimum(high - position, position - low))
