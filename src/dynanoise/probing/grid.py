"""The grid of keyed noise's cells, recovered from outputs; and the cells that outputs stand for.

Where noise is small beside a cell, an output gives its cell away, and the outputs on a few hundred
records give the secret offsets of the grid away.
"""

from __future__ import annotations

import numpy as np

from dynanoise.core.errors import check
from dynanoise.core.numerics import Float64, Int64
from dynanoise.noise.cells import Grid

SHIFTS = 100
"""Candidates for the offset that all classes share."""

ROWS = 1_000
"""Outputs that the shared offset is chosen on, at most."""

ENTRIES = 20_000
"""Entries of outputs, times candidates, that are decoded together, so that a cache holds them."""


def recover_grid(logits: Float64, predicted: Int64, expected: Float64, width: float) -> Grid:
    """Recover the offsets of a grid from outputs behind keyed noise that keeps labels.

    In rows where neither of two classes is the predicted one, the phase exp(2 pi i d / width) of
    their difference d is that of their offsets' difference, up to noise; the leading eigenvector
    of its means over rows has the offsets up to a common shift. The common shift is that whose
    cells agree best with gaps that are expected of these records.

    Args:
        logits: float64 [n, K], `Defense.undo` of the outputs: representatives of cells plus noise.
        predicted: int64 [n], the labels of the outputs.
        expected: float64 [n, K], max z - z of other models on the same records.
        width: width of the cells, in logits; its noise should have an sd below a quarter of that.

    Returns:
        The grid, its offsets within about a hundredth of the truth where outputs are many.

    Raises:
        InputError: without outputs.
    """
    count, classes = logits.shape
    check(count > 0, "There are no outputs.", "Give at least one, better hundreds.")
    phases = np.exp(2j * np.pi * logits / width)
    phases[np.arange(count), predicted] = 0
    # exp(2 pi i (u_i - u_j)), because a representative is -(c - u + 1/2) width.
    means = phases.T @ phases.conj()
    _, vectors = np.linalg.eigh(means)
    leading = vectors[:, -1]
    offsets = np.angle(leading) / (2 * np.pi)
    if classes == 2:  # no row leaves two classes that were not predicted
        offsets = _two_classes(logits, predicted, width)
    rows = np.arange(count)[:ROWS]
    shifted = np.mod(offsets + np.arange(SHIFTS)[:, None] / SHIFTS, 1.0)
    together = max(1, ENTRIES // logits[rows].size)
    errors = np.concatenate(
        [
            _mean_errors(logits[rows], predicted[rows], expected[rows], width, some)
            for some in np.split(shifted, range(together, SHIFTS, together))
        ]
    )
    # Of neighbouring shifts that are equally good, the middle one.
    smallest = np.flatnonzero(errors <= errors.min() + 1e-12)
    turn = np.angle(np.exp(2j * np.pi * smallest / SHIFTS).mean()) / (2 * np.pi)
    return Grid(width, np.mod(offsets + turn, 1.0))


def _two_classes(logits: Float64, predicted: Int64, width: float) -> Float64:
    other = 1 - predicted
    rows = np.arange(len(logits))
    gap = (logits[rows, other] - logits[rows, predicted]) * np.where(predicted == 0, 1, -1)
    phase = np.exp(2j * np.pi * gap / width).mean()
    return np.array([0.0, np.angle(phase) / (2 * np.pi)])


def _mean_errors(
    logits: Float64, predicted: Int64, expected: Float64, width: float, offsets: Float64
) -> Float64:
    """Mean distance [S] of the cells under offsets [S, K] from those of the expected gaps."""
    count = len(offsets)
    repeated = np.tile(logits, (count, 1)), np.tile(predicted, count)
    cells = _decode(*repeated, width, offsets.repeat(len(logits), axis=0))
    guesses = np.floor(expected / width + offsets[:, None])
    return np.asarray(
        np.abs(cells.reshape(guesses.shape) - guesses).reshape(count, -1).mean(axis=1)
    )


def decode_cells(logits: Float64, predicted: Int64, grid: Grid) -> Int64:
    """Decode the cells of outputs behind keyed noise that keeps labels.

    The predicted class has cell 0, so its representative is known, and with it the others'. Noise
    may have made another class of cell 0 the largest entry, which ``keep_label`` exchanged with the
    predicted one's: of all such exchanges the likeliest is undone.

    Args:
        logits: float64 [n, K], as in `recover_grid`.
        predicted: int64 [n].
        grid: the grid.

    Returns:
        int64 [n, K], at least 0.

    >>> grid = Grid(4.0, np.array([0.25, 0.75, 0.5]))
    >>> cells, labels = grid.find(np.array([[9.0, 2.0, 8.5]]))
    >>> decode_cells(grid.representatives(cells), labels, grid).tolist() == cells.tolist()
    True
    """
    return _decode(logits, predicted, grid.width, np.broadcast_to(grid.offsets, logits.shape))


def _decode(logits: Float64, predicted: Int64, width: float, offsets: Float64) -> Int64:
    """`decode_cells` under offsets [n, K] of each row's own."""
    count, classes = logits.shape
    rows = np.arange(count)
    best = np.full(count, np.inf)
    cells = np.zeros((count, classes), dtype=np.int64)
    # An exchange is tried where what it costs the other class alone is not more than no exchange.
    gaps = (logits[rows, predicted][:, None] - logits) / width
    turns = offsets - offsets[rows, predicted][:, None]
    unchanged = np.square(gaps + turns - np.maximum(np.rint(gaps + turns), 0)).sum(axis=1)
    likely = np.square(np.minimum(turns - gaps, 0)) <= unchanged[:, None] + 1e-6
    for other in range(classes):
        some = np.flatnonzero(likely[:, other])
        tops = predicted[some]
        rows, swapped, turned = np.arange(len(some)), logits[some], offsets[some]
        swapped[rows, tops], swapped[:, other] = logits[some, other], logits[some, tops]
        base = swapped[rows, tops] - (turned[rows, tops] - 0.5) * width
        exact = (base[:, None] - swapped) / width + turned - 0.5
        rounded = np.maximum(np.rint(exact), 0)
        rounded[rows, tops] = 0
        cost = np.square(exact - rounded).sum(axis=1)
        # Without an exchange for the predicted class itself; others must share its cell.
        allowed = (tops == other) | (rounded[:, other] == 0)
        better = allowed & (cost < best[some] - 1e-12)
        best[some[better]] = cost[better]
        cells[some[better]] = rounded[better].astype(np.int64)
    return cells
