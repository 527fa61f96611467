"""Boundary probing: a target's logits on records, rebuilt from where its state changes nearby.

Choquette-Choo, Tramer, Carlini & Papernot 2021 (arXiv:2007.14321) and Li & Zhang 2021
(arXiv:2007.15528) measure the distance to a decision boundary by labels alone. Where a path from a
record crosses a boundary, the target's logit gap is known there: 0 between two labels, or the
border of a cell of keyed noise. The shadow models' gaps at that point and at the record say what
that means at the record: a linear prediction (kriging) with their covariances.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dynanoise.core import numerics
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Bools, Float64, Floats, Int64
from dynanoise.noise.cells import Grid
from dynanoise.probing.crossings import DEPTH, Crossings, Prior, bisect, first_crossings
from dynanoise.probing.path_outputs import PathOutputs, in_out_weights, interpolate, locate

PER_PATH = 5
"""Queries for one path before another is begun; measured on 600 digits."""

NEARER = 0.25
"""A cell's border is looked for where it is nearer than this share of the way to the label's."""

FARTHEST = 3
"""Borders of cells above the label's that are considered."""

_SMALLEST_SCALE = 0.05
_FLOOR = 0.01
"""Variance of a rebuilt gap that is left at an exact crossing, as a share of the models' own."""


class Split(NamedTuple):
    """Division of a budget: queries for each crossing of the first paths."""

    paths: int
    depth: int

    @property
    def queries(self) -> int:
        """Queries a record, without the one at the record itself."""
        return self.paths * self.depth


def split_budget(queries: int, paths: int) -> Split:
    """Split a record's queries among paths.

    Args:
        queries: queries a record, the one at the record itself not counted, >= 0.
        paths: paths of a record, >= 1.

    Returns:
        Numbers whose product is at most ``queries``.

    >>> split_budget(3, 6), split_budget(26, 6), split_budget(255, 6)
    (Split(paths=1, depth=3), Split(paths=5, depth=5), Split(paths=6, depth=6))
    """
    if queries < 1:
        return Split(0, 0)
    used = min(max(1, queries // PER_PATH), paths)
    return Split(used, min(queries // used, DEPTH))


class Borders(NamedTuple):
    """The border that is looked for on each path of each record.

    Attributes:
        rivals: int64 [N, R], the class whose cell ends there; -1 for the border of the label.
        levels: float64 [N, R], the gap of label minus rival at the border of the cell; 0 for the
            label.
    """

    rivals: Int64
    levels: Float64


def label_gaps(logits: Floats, labels: Int64, rivals: Int64) -> Floats:
    """Compute the gap of the true label's logit and a rival's along paths.

    Args:
        logits: float [N, R, P, K].
        labels: int64 [N], true classes.
        rivals: int64 [N, R].

    Returns:
        float [N, R, P].
    """
    true = np.take_along_axis(logits, labels[:, None, None, None], axis=-1)
    other = np.take_along_axis(logits, rivals[:, :, None, None], axis=-1)
    return np.asarray((true - other)[..., 0])


class Probe:
    """Boundary probing of one target with one attacker's shadow models.

    Args:
        outputs: the shadow models' logits on the paths.
        labels: int64 [N], true classes.
        rivals: int64 [N, R], the rival of each path.
        split: how the budget is spent, on R' <= R paths.
        grid: grid of the target's cells as the attacker recovered it; None to use labels alone.

    Raises:
        InputError: with fewer than two shadow models.
    """

    def __init__(
        self,
        outputs: PathOutputs,
        labels: Int64,
        rivals: Int64,
        split: Split,
        *,
        grid: Grid | None = None,
    ) -> None:
        models = len(outputs.use)
        if models < 2:
            raise InputError(
                f"There are {models} shadow models.", "Boundary probing needs two or more."
            )
        self.outputs, self.labels, self.split, self.grid = outputs, labels, split, grid
        self.positions = outputs.positions
        rivals = rivals[:, : split.paths]
        self.borders = Borders(np.full_like(rivals, -1), np.zeros(rivals.shape))
        self.heights = outputs.margins[outputs.models, :, : split.paths]
        if grid is not None:
            self._add_cells(rivals, grid)
        self.crossings = first_crossings(self.positions, self.heights)
        self.statistics = np.stack(
            [numerics.scaled_logit(logits, labels) for logits in outputs.at_records]
        )

    def _add_cells(self, rivals: Int64, grid: Grid) -> None:
        """Look for a cell's border where shadow models have it much nearer than the label's."""
        gaps = np.stack(
            [
                label_gaps(self.outputs.logits[model, :, : self.split.paths], self.labels, rivals)
                for model in self.outputs.models
            ]
        )
        weights = in_out_weights(self.outputs.use)
        means = (np.einsum("sn,snrp->nrp", weights, part) for part in (self.heights, gaps))
        of_labels, of_rivals = means
        nearest = np.abs(first_crossings(self.positions, of_labels))
        for cell in range(1, FARTHEST + 1):
            levels = (cell - grid.offsets[rivals]) * grid.width
            distance = np.abs(first_crossings(self.positions, of_rivals - levels[..., None]))
            nearer = (distance < NEARER * nearest) & (levels > 0)
            nearest = np.where(nearer, distance / NEARER, nearest)
            self.borders = Borders(
                np.where(nearer, rivals, self.borders.rivals),
                np.where(nearer, levels, self.borders.levels),
            )
        above = gaps - self.borders.levels[..., None]
        with_cells = np.minimum(self.heights, above)
        self.heights = np.where(self.borders.rivals[..., None] >= 0, with_cells, self.heights)

    def rebuild_target(
        self, is_above: Callable[[Float64], Bools], above_at_record: Bools
    ) -> Float64:
        """Rebuild the target's scaled logit on every record.

        Args:
            is_above: from positions [N, R'] on the paths to the target's states there, bool
                [N, R']: True on the record's side of a path's border. Each is a query.
            above_at_record: bool [N, R'], the states at the records, from the direct outputs.

        Returns:
            float64 [N].
        """
        everyone = np.arange(len(self.outputs.use))
        return self._rebuild(everyone, is_above, above_at_record)

    def rebuild_shadow(self, model: int) -> Float64:
        """Rebuild the statistic of a shadow model in the same way, with the help of the others.

        Its states are those of its undefended logits, between the positions of the table by linear
        interpolation; it is the attacker's own model and costs no query.

        Args:
            model: its position.

        Returns:
            float64 [N].
        """
        others = np.delete(np.arange(len(self.outputs.use)), model)
        heights = self.heights[model]

        def is_above(positions: Float64) -> Bools:
            return np.asarray(interpolate(self.positions, heights, positions) >= 0)

        return self._rebuild(others, is_above, heights[:, :, self.outputs.origin] >= 0)

    def _rebuild(
        self, models: Int64, is_above: Callable[[Float64], Bools], above_at_record: Bools
    ) -> Float64:
        weights = in_out_weights(self.outputs.use[models])
        mean_statistic: Float64 = np.einsum("sn,sn->n", weights, self.statistics[models])
        if not self.split.paths:
            return mean_statistic
        crossings = self.crossings[models]
        centre = np.median(crossings, axis=0)
        spread = np.median(np.abs(crossings - centre), axis=0)
        prior = Prior(centre, np.maximum(spread, _SMALLEST_SCALE))
        reach = float(self.positions[0]), float(self.positions[-1])
        ends = bisect(is_above, above_at_record, prior, reach, self.split.depth)
        mean = np.einsum("sn,snrp->nrp", weights, self.heights[models])
        return np.asarray(mean_statistic + self._deviation(ends, mean))

    def _deviation(self, ends: Crossings, mean: Float64) -> Float64:
        """Predict the deviation of the statistic from the shadow models' mean, [N]."""
        paths, places = self.split.paths, len(self.positions)
        # At a crossing the height is 0.
        deviations = -interpolate(self.positions, mean, ends.position)
        error = [
            interpolate(self.positions, mean, ends.position + side)
            for side in (ends.error, -ends.error)
        ]
        covariance, with_statistic = self._covariances
        index, share = locate(self.positions, ends.position)
        index = index + places * np.arange(paths)
        weights = np.stack([1 - share, share])
        both = np.stack([index, index + 1])
        between = np.zeros((len(index), paths, paths))
        for first, of_first in zip(both, weights, strict=True):
            for second, of_second in zip(both, weights, strict=True):
                part = covariance[first[:, :, None], second[:, None, :]]
                between += of_first[:, :, None] * of_second[:, None, :] * part
        variance = np.einsum("nqq->nq", between)
        noise = np.square(error[0] - error[1]) / 12 + _FLOOR * variance + numerics.TINY
        between = between + np.eye(paths) * noise[:, None, :]
        target = (weights * with_statistic[both]).sum(axis=0)
        solved = np.linalg.solve(between, target[..., None])[..., 0]
        return np.asarray((solved * deviations).sum(axis=1))

    @cached_property
    def _covariances(self) -> tuple[Float64, Float64]:
        """Covariances over records: of all heights [RP, RP], and with the statistic [RP]."""
        weights = in_out_weights(self.outputs.use)
        models, count = self.statistics.shape
        flat = self.heights.reshape(models, count, -1)
        mean, mean_statistic = (
            np.einsum("sn,snk->nk", weights, part) for part in (flat, self.statistics[..., None])
        )
        rows = (flat - mean).reshape(models * count, -1)
        statistic = (self.statistics - mean_statistic[:, 0]).ravel()
        return rows.T @ rows / len(rows), rows.T @ statistic / len(rows)
