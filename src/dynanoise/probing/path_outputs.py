"""Shadow models' logits along paths, from which an attacker predicts a target's crossings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynanoise.core import numerics
from dynanoise.core.numerics import Bools, Float64, Floats, Int8, Int64


@dataclass(frozen=True, eq=False)
class PathOutputs:
    """Undefended logits of S shadow models on the paths of N records.

    Attributes:
        positions: float64 [P], rising, 0 among them.
        logits: float32 [M, N, R, P, K] of models that the shadow models are among.
        margins: float32 [M, N, R, P], their `label_margins`.
        models: int64 [S], their positions.
        use: int8 [S, N], membership of the records in the shadow models; -1 = hidden.
    """

    positions: Float64
    logits: Floats
    margins: Floats
    models: Int64
    use: Int8

    @property
    def origin(self) -> int:
        """Index of position 0, the record itself."""
        return int(np.searchsorted(self.positions, 0.0))

    @property
    def at_records(self) -> Float64:
        """Logits on the records themselves, float64 [S, N, K]."""
        return np.asarray(self.logits[self.models, :, 0, self.origin], dtype=np.float64)


def label_margins(logits: Floats, labels: Int64) -> Floats:
    """Compute margins z_y - max over other classes, along all paths.

    Args:
        logits: float32 [N, R, P, K], of one model.
        labels: int64 [N], true classes.

    Returns:
        float32 [N, R, P]; above 0 where the label is right.

    >>> logits = np.array([[[[3.0, 1.0], [0.0, 1.0]]]], dtype=np.float32)
    >>> label_margins(logits, np.array([0])).tolist()
    [[[2.0, -1.0]]]
    """
    true = labels[:, None, None, None]
    others = logits.copy()
    np.put_along_axis(others, true, -np.inf, axis=-1)
    return np.asarray(np.take_along_axis(logits, true, axis=-1)[..., 0] - numerics.row_max(others))


def interpolate(positions: Float64, values: Floats, at: Float64) -> Float64:
    """Interpolate values along paths.

    Args:
        positions: float64 [P], rising.
        values: float [N, R, P].
        at: float64 [N, R], positions; outside the table its ends.

    Returns:
        float64 [N, R].
    """
    index, share = locate(positions, at)
    below, above = (
        np.take_along_axis(values, place[..., None], axis=-1)[..., 0]
        for place in (index, index + 1)
    )
    return np.asarray(below + share * (above.astype(np.float64) - below))


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
