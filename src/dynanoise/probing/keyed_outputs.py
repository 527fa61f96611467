"""Outputs of keyed noise with its grid recovered: cells and labels, without the noise.

The attacker then passes its shadow models through the same grid, and attacks see what they would
see with the key (`probing.grid` has the recovery).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dynanoise.core import numerics
from dynanoise.core.numerics import Float64, Floats, Int8, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Pool
from dynanoise.noise.cells import Grid
from dynanoise.probing.grid import decode_cells, recover_grid


def without_noise(
    width: float, target: Observation, shadows: ShadowObservations, pool: Pool
) -> tuple[Observation, ShadowObservations]:
    """Replace outputs by those of their cells, and shadow models' by theirs on the same grid.

    Args:
        width: cells' width, in logits.
        target: recovered outputs of the target, with a population.
        shadows: its shadow models, among those of ``pool``.
        pool: the attacker's models, undefended.

    Returns:
        Both, without noise.
    """
    population, positions = target.population, shadows.positions
    assert population is not None
    assert positions is not None
    records, reference = (part.logits[list(positions)] for part in (pool.records, pool.reference))
    rows, labels = _rows(target)
    grid = recover_grid(rows, labels, expected_gaps(records, shadows.use), width)
    models = tuple(
        replace(
            _through(grid, of_records, observed),
            population=_through(grid, of_reference, population),
        )
        for of_records, of_reference, observed in zip(
            records, reference, shadows.observations, strict=True
        )
    )
    read = replace(_read(grid, target), population=_read(grid, population))
    return read, shadows.with_observations(models)


def expected_gaps(logits: Floats, use: Int8) -> Float64:
    """Average the gaps to the largest logit over shadow models.

    Equal numbers of in- and out-models say nothing of the target's membership.

    Args:
        logits: undefended logits [S, N, A, K] of shadow models.
        use: int8 [S, N], their membership; hidden ones are left out, unless all are hidden.

    Returns:
        float64 [N A, K].

    >>> expected_gaps(np.array([[[[3.0, 0.0]]], [[[1.0, 0.0]]]]), np.array([[1], [0]])).tolist()
    [[0.0, 2.0]]
    """
    visible = use >= 0
    visible = np.where(visible.any(axis=0), visible, True)
    weights = visible / visible.sum(axis=0)
    means: Float64 = np.zeros(logits.shape[1:])
    for values, weight in zip(logits, weights, strict=True):
        means -= weight[:, None, None] * numerics.shift(values.astype(np.float64))
    return means.reshape(-1, logits.shape[-1])


def _rows(outputs: Observation) -> tuple[Float64, Int64]:
    """Recovered logits [R, K] and the labels [R] that the defense kept."""
    rows = outputs.log_probs.reshape(-1, outputs.classes)
    return rows, np.asarray(rows.argmax(axis=-1))


def _read(grid: Grid, outputs: Observation) -> Observation:
    rows, labels = _rows(outputs)
    return _of_cells(grid, decode_cells(rows, labels, grid), labels, outputs)


def _through(grid: Grid, logits: Floats, outputs: Observation) -> Observation:
    rows = logits.reshape(-1, logits.shape[-1]).astype(np.float64)
    cells, labels = grid.find(rows)
    return _of_cells(grid, cells.astype(np.int64), labels, outputs)


def _of_cells(grid: Grid, cells: Int64, labels: Int64, outputs: Observation) -> Observation:
    values = grid.representatives(cells.astype(np.int32))
    log_probs = numerics.log_softmax(numerics.exchange_top(values, labels))
    return replace(outputs, log_probs=log_probs.reshape(outputs.log_probs.shape))
