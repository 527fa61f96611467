"""Paths of inputs that lead from a record across a model's decision boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from dynanoise.core.numerics import Float64, Floats, Int64
from dynanoise.core.queries import GradientFunction, Inputs
from dynanoise.core.seeding import derive

MULTIPLES = (-6, -4, -3, -2.25, -1.6, -1.1, -0.7, -0.35, 0, 0.35, 0.7, 1.1, 1.6, 2.25, 3, 4, 6)
"""Positions on a path at which shadow models are queried, in units of a typical logit gap."""


class Paths(Protocol):
    """R paths of inputs for each of N records; position 0 is the record itself."""

    @property
    def count(self) -> int:
        """R, the number of paths of a record."""

    def inputs(self, rows: Int64, paths: Int64, positions: Float64) -> Inputs:
        """Make the inputs at positions of paths.

        Args:
            rows: int64 [n], records.
            paths: int64 [n], numbers of the paths, in 0..R-1.
            positions: float64 [n]; above 0 the true label's logit should rise against a rival's,
                below 0 fall, by about one logit for each unit.

        Returns:
            Inputs [n, ...] of the data's own kind and range.
        """


class InputRange(NamedTuple):
    """Inputs that are numbers or pixels.

    Attributes:
        low: least value of each entry of an input.
        high: greatest value of each entry.
    """

    low: Inputs
    high: Inputs


class Words(NamedTuple):
    """Inputs that are texts.

    Attributes:
        vocabulary: int64 [V], token ids that may stand in a text.
    """

    vocabulary: Int64


def input_space(inputs: Inputs, *, texts: bool = False) -> InputRange | Words:
    """Find the inputs that can be sent, from those that an attacker has.

    Args:
        inputs: [N, ...]: numbers, pixels (uint8), or token ids padded with 0.
        texts: True for token ids.

    Returns:
        The range of each entry, 0 to 255 for pixels; or the words that occur.

    >>> input_space(np.array([[1, 2], [2, 0]]), texts=True).vocabulary.tolist()
    [1, 2]
    """
    if texts:
        words = np.unique(inputs)
        return Words(words[words > 0].astype(np.int64))
    shape = inputs.shape[1:]
    if inputs.dtype == np.uint8:
        return InputRange(np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8))
    return InputRange(inputs.min(axis=0), inputs.max(axis=0))


@dataclass(frozen=True, eq=False)
class StraightPaths:
    """Straight lines, cut off where an input would leave the range of the data.

    Attributes:
        records: inputs [N, ...] of the records.
        steps: float32 [N, R, ...], the change of an input for one unit of position.
        low, high: least and greatest value of each entry of an input, broadcast to its shape.

    >>> lines = StraightPaths(np.zeros((1, 2), np.uint8), np.array([[[1.5, 9.0]]]), 0, 10)
    >>> lines.inputs(np.array([0, 0]), np.array([0, 0]), np.array([1.0, 2.0])).tolist()
    [[2, 9], [3, 10]]
    """

    records: Inputs
    steps: Floats
    low: Any
    high: Any

    @property
    def count(self) -> int:
        """R."""
        return int(self.steps.shape[1])

    def inputs(self, rows: Int64, paths: Int64, positions: Float64) -> Inputs:
        """See `Paths`; whole numbers are rounded."""
        dtype = self.records.dtype
        along = positions.reshape(-1, *[1] * (self.records.ndim - 1))
        moved = self.records[rows] + along * self.steps[rows, paths]
        moved = np.clip(moved, self.low, self.high)
        rounded = np.rint(moved) if dtype.kind in "iu" else moved
        return np.asarray(rounded.astype(dtype))


def rank_rivals(logits: Float64, labels: Int64, count: int) -> Int64:
    """Rank the classes other than the true one by their logits.

    Args:
        logits: float64 [N, K], means over shadow models.
        labels: int64 [N], true classes.
        count: how many rivals; beyond K - 1 they repeat.

    Returns:
        int64 [N, count], the strongest first.

    >>> rank_rivals(np.array([[5.0, 1.0, 3.0]]), np.array([0]), 3).tolist()
    [[2, 1, 2]]
    """
    others = logits.copy()
    np.put_along_axis(others, labels[:, None], -np.inf, axis=1)
    order = np.argsort(-others, axis=1, kind="stable")[:, :-1]
    return np.asarray(order[:, np.arange(count) % order.shape[1]])


def straight_paths(
    records: Inputs,
    labels: Int64,
    rivals: Int64,
    models: Sequence[GradientFunction],
    weights: Floats,
    space: InputRange,
    *,
    classes: int,
    seed: int,
) -> StraightPaths:
    """Make paths along the shadow models' mean gradient of the gap between label and rival.

    Entries are measured in units of their range, so that none is favoured for being small. A step
    of 1 changes the mean gap by one logit, to first order. Where a rival repeats, half of
    the gradient's entries, drawn at random, are left out, so that the path is another one.

    Args:
        records: inputs [N, ...].
        labels: int64 [N], true classes.
        rivals: int64 [N, R], see `rank_rivals`.
        models: S shadow models.
        weights: float [S, N], the weight of each model in the mean.
        space: range of an input.
        classes: K.
        seed: seed of the entries that are left out.

    Returns:
        R paths for each record.
    """
    count, rows = rivals.shape[1], np.arange(len(records))
    steps = np.zeros((len(records), count, *records.shape[1:]), dtype=np.float32)
    for path in range(count):
        gap = np.zeros((len(records), classes), dtype=np.float32)
        gap[rows, labels] = 1
        gap[rows, rivals[:, path]] = -1
        if path < classes - 1:
            for model, weight in zip(models, weights, strict=True):
                scale = weight.reshape(-1, *[1] * (records.ndim - 1)).astype(np.float32)
                steps[:, path] += scale * model.gradient(records, gap)
            continue
        generator = np.random.default_rng(derive(seed, "left out", path))
        kept = generator.random(steps[:, path].shape, dtype=np.float32) < 0.5
        steps[:, path] = steps[:, path % (classes - 1)] * kept
    flat = steps.reshape(len(records), count, -1)
    ranges = np.asarray(space.high, dtype=np.float32) - np.asarray(space.low, dtype=np.float32)
    flat *= np.broadcast_to(ranges, records.shape[1:]).ravel()
    squares = np.square(flat, dtype=np.float64).sum(axis=-1)
    flat /= np.maximum(squares, np.finfo(np.float32).tiny)[..., None].astype(np.float32)
    flat *= np.broadcast_to(ranges, records.shape[1:]).ravel()
    return StraightPaths(records, steps, *space)
