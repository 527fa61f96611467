"""Keyed answers of DynaNoise in NumPy, to the last bit as `dynanoise.kernel` makes them.

By the functions of `noise.portable`, sums in the order of the classes, and nothing else that is not
defined by IEEE 754: so replicas agree on every machine, whether or not they have numba.
"""

from __future__ import annotations

import numpy as np

from dynanoise.core import numerics
from dynanoise.core.numerics import Float64
from dynanoise.noise import portable

_LARGEST = float(np.finfo(np.float64).max)


def inverse(temperature: float) -> float:
    """1 / T, finite for every T > 0.

    >>> inverse(4.0)
    0.25
    """
    return 1.0 / temperature if temperature > 1.0 / _LARGEST else _LARGEST


def _sums(values: Float64) -> Float64:
    """Sums over the last axis in its order; [..., 1]."""
    return np.asarray(np.add.accumulate(values, axis=-1)[..., -1:])


def deviations(shifted: Float64, base_variance: float, lambda_scale: float) -> Float64:
    """sigma = sqrt(s0 (1 + lambda R)) with the sensitivity "entropy", [..., 1].

    Args:
        shifted: float64 [..., K], rows whose maximum is 0.
        base_variance: s0.
        lambda_scale: lambda.

    >>> deviations(np.array([[0.0, 0.0], [0.0, -900.0]]), 1.0, 3.0).tolist()
    [[1.0], [2.0]]
    """
    weights = portable.exp(shifted)
    total = _sums(weights)
    with np.errstate(under="ignore"):
        nats = portable.log(total) - _sums(weights * shifted) / total
    uniform = portable.log(np.full(1, float(shifted.shape[-1])))
    sensitivity = np.clip(1.0 - nats / uniform, 0.0, 1.0)
    return np.asarray(np.sqrt(base_variance * (1.0 + lambda_scale * sensitivity)))


def softmax(noisy: Float64, temperature: float) -> Float64:
    """softmax(z / T), [..., K].

    >>> softmax(np.array([0.0, -1e300]), 10.0).tolist()
    [1.0, 0.0]
    """
    with np.errstate(over="ignore", under="ignore"):
        tempered = (noisy - noisy.max(axis=-1, keepdims=True)) * inverse(temperature)
        weights: Float64 = portable.exp(tempered)
        return weights * (1.0 / _sums(weights))


def mean_answer(
    base: Float64,
    normals: Float64,
    base_variance: float,
    lambda_scale: float,
    temperature: float,
) -> tuple[Float64, Float64]:
    """The mean of softmax((z + sigma n) / T) over the draws, and the last noisy logits.

    Args:
        base: float64 [..., K], representatives of cells.
        normals: float64 [draws, ..., K].
        base_variance: s0.
        lambda_scale: lambda.
        temperature: T.

    >>> mean_answer(np.zeros((1, 2)), np.zeros((0, 1, 2)), 0.0, 0.0, 1.0)[0].tolist()
    [[0.5, 0.5]]
    """
    shifted = numerics.shift(base)
    if not len(normals):
        return softmax(shifted, temperature), shifted
    sigma = deviations(shifted, base_variance, lambda_scale)
    total = None
    for normal in normals:
        noisy = shifted + sigma * normal
        answer = softmax(noisy, temperature)
        with np.errstate(under="ignore"):
            total = answer if total is None else total + answer
    assert total is not None
    with np.errstate(under="ignore"):
        return total / float(len(normals)), noisy
