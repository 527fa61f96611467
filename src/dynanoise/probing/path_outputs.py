"""Shadow models' logits along paths, from which an attacker predicts a target's crossings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynanoise.core.numerics import Bools, Float64, Floats, Int8, Int64


@dataclass(frozen=True, eq=False)
class PathOutputs:
    """Undefended logits of S shadow models on the paths of N records.

    Attributes:
        positions: float64 [P], rising, 0 among them.
        logits: float32 [S, N, R, P, K].
        use: int8 [S, N], membership of the records in the shadow models; -1 = hidden.
    """

    positions: Float64
    logits: Floats
    use: Int8

    @property
    def origin(self) -> int:
        """Index of position 0, the record itself."""
        return int(np.searchsorted(self.positions, 0.0))

    @property
    def at_records(self) -> Float64:
        """Logits on the records themselves, float64 [S, N, K]."""
        return np.asarray(self.logits[:, :, 0, self.origin], dtype=np.float64)

    def interpolate(self, models: Int64, rows: Int64, path: int, positions: Float64) -> Float64:
        """Interpolate logits between the positions at which the models were queried.

        Args:
            models: int64 [n], shadow models.
            rows: int64 [n], records.
            path: number of the path.
            positions: float64 [n]; outside the table its ends.

        Returns:
            float64 [n, K].
        """
        index, share = locate(self.positions, positions)
        below = self.logits[models, rows, path, index]
        above = self.logits[models, rows, path, index + 1]
        return np.asarray(below + share[:, None] * (above - below).astype(np.float64))


def locate(positions: Float64, values: Float64) -> tuple[Int64, Float64]:
    """Find the interval of a rising table that holds each value, and the place in it.

    Args:
        positions: float64 [P], rising.
        values: float64 [...].

    Returns:
        index: int64 [...], in 0..P-2.
        share: float64 [...], 0..1, of the way from ``positions[index]`` to the next.

    >>> index, share = locate(np.array([0.0, 1.0, 3.0]), np.array([2.0, -1.0]))
    >>> index.tolist(), share.tolist()
    ([1, 0], [0.5, 0.0])
    """
    index = np.clip(np.searchsorted(positions, values, side="right") - 1, 0, len(positions) - 2)
    start, stop = positions[index], positions[index + 1]
    return index, np.clip((values - start) / (stop - start), 0.0, 1.0)


def in_out_weights(use: Int8) -> Float64:
    """Weights of shadow models in a mean halfway between that of in- and that of out-models.

    Such a mean depends on how many models were trained on a record only through its own noise. A
    record without models of both kinds gets the mean of all that are not hidden, or of all.

    Args:
        use: int8 [S, N].

    Returns:
        float64 [S, N]; every record's sum to 1.

    >>> in_out_weights(np.array([[1, 1], [0, 1], [0, -1]], dtype=np.int8)).tolist()
    [[0.5, 0.5], [0.25, 0.5], [0.25, 0.0]]
    """
    inside, outside = use == 1, use == 0
    both: Bools = inside.any(axis=0) & outside.any(axis=0)
    visible = np.where((use >= 0).any(axis=0), use >= 0, True)
    halves = sum(side / np.maximum(1, side.sum(axis=0)) / 2 for side in (inside, outside))
    return np.asarray(np.where(both, halves, visible / visible.sum(axis=0)))
