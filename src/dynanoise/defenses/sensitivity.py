"""Sensitivity functions: how certain an output is, from logits into [0, 1].

The paper proposes "a measure such as Shannon entropy" and uses entropy. All of these are 0 for
uniform logits, 1 in the one-hot limit, and unchanged by a constant added to a row.
"""

from __future__ import annotations

import numpy as np

from dynanoise.core import numerics
from dynanoise.core.numerics import Float64


def entropy(logits: Float64) -> Float64:
    """Compute R = 1 - H(softmax(z)) / ln K (arXiv:2505.13362v2, the query sensitivity).

    Args:
        logits: float64 [..., K], finite, K >= 2.

    Returns:
        float64 [...], within [0, 1].

    >>> entropy(np.array([[0.0, 0.0], [0.0, np.log(3.0)], [0.0, 800.0]])).round(6).tolist()
    [0.0, 0.188722, 1.0]
    """
    log_probs = numerics.log_softmax(logits)
    sensitivity = 1.0 - numerics.entropy(log_probs) / np.log(logits.shape[-1])
    return np.asarray(np.clip(sensitivity, 0.0, 1.0))


def max_probability(logits: Float64) -> Float64:
    """Compute R = (max p - 1/K) / (1 - 1/K); arguments and result as for `entropy`.

    >>> max_probability(np.array([[0.0, 0.0], [0.0, np.log(3.0)]])).round(6).tolist()
    [0.0, 0.5]
    """
    chance = 1.0 / logits.shape[-1]
    top = numerics.softmax(logits).max(axis=-1)
    return np.asarray(np.clip((top - chance) / (1.0 - chance), 0.0, 1.0))


def margin(logits: Float64) -> Float64:
    """Compute R = p_(1) - p_(2), the lead of the top class; arguments and result as for `entropy`.

    >>> margin(np.array([[0.0, 0.0], [0.0, np.log(3.0)]])).round(6).tolist()
    [0.0, 0.5]
    """
    top_two = np.partition(numerics.softmax(logits), -2, axis=-1)[..., -2:]
    return np.asarray(top_two[..., 1] - top_two[..., 0])


SENSITIVITIES = {"entropy": entropy, "max_probability": max_probability, "margin": margin}
