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
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.noise.cells import Grid
from dynanoise.probing.crossings import DEPTH, Crossings, Prior, bisect, first_crossings
from dynanoise.probing.path_outputs import PathOutputs, in_out_weights, locate

PER_PATH = 5
"""Queries for one path before another is begun; measured on 600 digits."""

NEARER = 0.25
"""A cell's border is looked for where it is nearer than this share of the way to the label's."""

_SMALLEST_SCALE = 0.05
_FLOOR = 0.01
"""Variance of a rebuilt gap that is left at an exact crossing, as a share of the models' own."""


class Split(NamedTuple):
    """How a budget is spent: queries for each crossing of the first paths."""

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
    (Split(paths=1, depth=3), Split(paths=5, depth=5), Split(paths=6, depth=12))
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


def heights(logits: Float64, labels: Int64, rivals: Int64, levels: Float64) -> Float64:
    """Compute by how many logits outputs are above a border.

    Args:
        logits: float64 [..., K].
        labels: int64 [...], true classes.
        rivals: int64 [...], see `Borders`.
        levels: float64 [...], see `Borders`.

    Returns:
        min over classes j of z_y - z_j, and of z_y - z_r - level where there is a rival r, [...].
    """
    top = numerics.hinge(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))
    top = top.reshape(labels.shape)
    true = np.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    other = np.take_along_axis(logits, np.maximum(rivals, 0)[..., None], axis=-1)[..., 0]
    return np.where(rivals >= 0, np.minimum(top, true - other - levels), top)


class Probe:
    """Boundary probing of one target with one attacker's shadow models.

    Args:
        outputs: the shadow models' logits on the paths.
        labels: int64 [N], true classes.
        rivals: int64 [N, R], the rival of each path.
        split: how the budget is spent.
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
        self.borders = self._choose_borders(rivals[:, : split.paths])
        count = len(labels)
        of_labels = np.broadcast_to(labels[:, None], (count, len(self.positions)))
        values = np.empty((models, count, split.paths, len(self.positions)))
        for path in range(split.paths):
            of_rivals = np.broadcast_to(self.borders.rivals[:, path, None], of_labels.shape)
            levels = np.broadcast_to(self.borders.levels[:, path, None], of_labels.shape)
            for model in range(models):
                logits = outputs.logits[model, :, path].astype(np.float64)
                values[model, :, path] = heights(logits, of_labels, of_rivals, levels)
        self.heights = values
        self.crossings = first_crossings(self.positions, values)
        self.statistics = np.stack(
            [numerics.scaled_logit(logits, labels) for logits in outputs.at_records]
        )

    def _choose_borders(self, rivals: Int64) -> Borders:
        """The label's border, or a cell's where shadow models have it nearer to the record."""
        none = Borders(np.full_like(rivals, -1), np.zeros(rivals.shape))
        if self.grid is None:
            return none
        weights = in_out_weights(self.outputs.use)
        mean = np.einsum("sn,snrpk->nrpk", weights, self.outputs.logits[:, :, : rivals.shape[1]])
        labels = np.broadcast_to(self.labels[:, None, None], mean.shape[:-1])
        of_rivals = np.broadcast_to(rivals[..., None], labels.shape)
        zero = np.zeros(labels.shape)
        best_rivals, best_levels = none
        top = heights(mean, labels, np.full(labels.shape, -1), zero)
        nearest = np.abs(first_crossings(self.positions, top))
        true = np.take_along_axis(mean, labels[..., None], axis=-1)[..., 0]
        gaps = true - np.take_along_axis(mean, of_rivals[..., None], axis=-1)[..., 0]
        for cell in range(1, 4):
            levels = (cell - self.grid.offsets[rivals]) * self.grid.width
            distance = np.abs(first_crossings(self.positions, gaps - levels[..., None]))
            nearer = (distance < NEARER * nearest) & (levels > 0)
            nearest = np.where(nearer, distance, nearest)
            best_rivals = np.where(nearer, rivals, best_rivals)
            best_levels = np.where(nearer, levels, best_levels)
        return Borders(best_rivals, best_levels)

    def rebuild_target(
        self, is_above: Callable[[int, Float64], Bools], above_at_record: Bools
    ) -> Float64:
        """Rebuild the target's scaled logit on every record.

        Args:
            is_above: from a path and positions [N] on it to the target's states there, bool [N]:
                True on the record's side of the path's border; one query for each record.
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
        rows = np.arange(len(self.labels))

        def is_above(path: int, positions: Float64) -> Bools:
            logits = self.outputs.interpolate(np.full_like(rows, model), rows, path, positions)
            rivals, levels = self.borders.rivals[:, path], self.borders.levels[:, path]
            return np.asarray(heights(logits, self.labels, rivals, levels) >= 0)

        at_record = self.heights[model, :, :, self.outputs.origin] >= 0
        return self._rebuild(others, is_above, at_record)

    def _rebuild(
        self,
        models: Int64,
        is_above: Callable[[int, Float64], Bools],
        above_at_record: Bools,
    ) -> Float64:
        weights = in_out_weights(self.outputs.use[models])
        mean_statistic: Float64 = np.einsum("sn,sn->n", weights, self.statistics[models])
        paths, count = self.split.paths, len(self.labels)
        if not paths:
            return mean_statistic
        reach = float(self.positions[0]), float(self.positions[-1])
        found = []
        for path in range(paths):
            crossings = self.crossings[models, :, path]
            centre = np.median(crossings, axis=0)
            spread = np.median(np.abs(crossings - centre), axis=0)
            prior = Prior(centre, np.maximum(spread, _SMALLEST_SCALE))
            found.append(
                bisect(
                    lambda positions, path=path: is_above(path, positions),  # type: ignore[misc]
                    above_at_record[:, path],
                    prior,
                    reach,
                    self.split.depth,
                )
            )
        mean = np.einsum("sn,snrp->nrp", weights, self.heights[models])
        return np.asarray(mean_statistic + self._deviation(found, mean, count))

    def _deviation(self, found: list[Crossings], mean: Float64, count: int) -> Float64:
        """Predict the deviation of the statistic from the shadow models' mean, [N]."""
        paths, places = len(found), len(self.positions)
        selection = np.zeros((count, paths, paths * places))
        errors = np.empty((count, paths))
        rows = np.arange(count)
        for path, crossing in enumerate(found):
            index, share = locate(self.positions, crossing.position)
            selection[rows, path, path * places + index] = 1 - share
            selection[rows, path, path * places + index + 1] = share
            ends = [
                _interpolate(self.positions, mean[:, path], crossing.position + side)
                for side in (crossing.error, -crossing.error)
            ]
            errors[:, path] = np.square(ends[0] - ends[1]) / 12
        expected = np.einsum("nqk,nk->nq", selection, mean.reshape(count, -1))
        covariance, with_statistic = self._covariances
        between = selection @ covariance @ selection.transpose(0, 2, 1)
        own = np.einsum("nqq->nq", between)
        between = between + np.eye(paths) * (errors + _FLOOR * own + numerics.TINY)[:, None, :]
        solved = np.linalg.solve(between, (selection @ with_statistic)[..., None])[..., 0]
        # At a crossing the height is 0.
        return np.asarray((solved * -expected).sum(axis=1))

    @cached_property
    def _covariances(self) -> tuple[Float64, Float64]:
        """Of heights at all positions [RP, RP], and with the statistic [RP], over all records."""
        weights = in_out_weights(self.outputs.use)
        models, count = self.statistics.shape
        flat = self.heights.reshape(models, count, -1)
        mean, mean_statistic = (
            np.einsum("sn,snk->nk", weights, part) for part in (flat, self.statistics[..., None])
        )
        rows = (flat - mean).reshape(models * count, -1)
        statistic = (self.statistics - mean_statistic[:, 0]).ravel()
        return rows.T @ rows / len(rows), rows.T @ statistic / len(rows)


def _interpolate(positions: Float64, values: Float64, at: Float64) -> Float64:
    """Values [N, P] at one position of each row, [N]."""
    index, share = locate(positions, at)
    rows = np.arange(len(values))
    below, above = values[rows, index], values[rows, index + 1]
    return np.asarray(below + share * (above - below))
