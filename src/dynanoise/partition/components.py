"""Principal components, with sums in a fixed order.

All sums are sequential in float64 and no product is made by BLAS, so that a row has the same bits
alone, in any batch, in training and in serving.
"""

from __future__ import annotations

import numpy as np

from dynanoise.core.numerics import Float64


def total(rows: Float64) -> Float64:
    """Sum over the first axis, one term after the other."""
    return np.asarray(np.add.accumulate(rows, axis=0)[-1])


def project(rows: Float64, axes: Float64) -> Float64:
    """Products float64 [n, C] of rows [F, n] with axes [F, C], added in the order of F."""
    return total(rows[:, :, None] * axes[:, None, :])


def principal(rows: Float64, components: int) -> Float64:
    """Principal components [F, C] of rows [n, F], each divided by its standard deviation."""
    centred = rows - rows.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    sizes = sizes / np.sqrt(len(rows))
    several = int((sizes > 1e-9 * max(sizes[0], 1e-300)).sum())
    axes = axes[: min(components, several)]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return np.ascontiguousarray((axes * signs[:, None] / sizes[: len(axes), None]).T)
