"""Utility of a defended model: accuracy, calibration and changed labels."""

from __future__ import annotations

import numpy as np

from dynanoise.core import numerics
from dynanoise.core.numerics import Floats, Int64
from dynanoise.core.result import Metric
from dynanoise.metrics import intervals

BINS = 15
"""Bins of confidence for the calibration error (Guo et al. 2017)."""


def calibration_error(probs: Floats, labels: Int64, bins: int = BINS) -> float:
    """Compute the expected calibration error: mean distance of confidence and accuracy.

    Guo, Pleiss, Sun & Weinberger 2017, equation 3: predictions are put into bins of equal width by
    their largest entry; each bin counts with its share of predictions.

    Args:
        probs: predictions [N, K], N >= 1, rows sum to 1.
        labels: int64 [N], the true classes.
        bins: how many.

    Returns:
        In [0, 1]; 0 is perfectly calibrated.

    >>> calibration_error(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1])).__round__(4)
    0.4
    """
    confidence = np.asarray(probs.max(axis=-1), dtype=np.float64)
    right = probs.argmax(axis=-1) == labels
    # A confidence on an edge belongs to the bin below it, as in the paper.
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def utility_metrics(probs: Floats, logits: Floats, labels: Int64) -> dict[str, Metric]:
    """Compute accuracy, calibration and label flips of defended predictions.

    Args:
        probs: defended predictions [N, K], rows sum to 1.
        logits: the model's own logits [N, K].
        labels: int64 [N], the true classes.

    Returns:
        ``accuracy``, and ``label_flips``: predictions whose label differs from that of the logits.
        Both are shares of N with Clopper-Pearson intervals; of equal largest entries the first
        counts. ``ece``, see `calibration_error`; ``nll``, the mean of -ln p_y in nats.

    >>> rows = np.array([[0.6, 0.4], [0.6, 0.4]])
    >>> metrics = utility_metrics(rows, np.log([[0.6, 0.4], [0.4, 0.6]]), np.array([0, 0]))
    >>> metrics["accuracy"].value, metrics["label_flips"].value
    (1.0, 0.5)
    """
    predicted = probs.argmax(axis=-1)
    undefended = logits.argmax(axis=-1)
    log_probs = numerics.log_probabilities(np.asarray(probs, dtype=np.float64))
    return {
        "accuracy": intervals.proportion(int((predicted == labels).sum()), len(labels)),
        "label_flips": intervals.proportion(int((predicted != undefended).sum()), len(labels)),
        "ece": Metric(calibration_error(probs, labels)),
        "nll": Metric(-float(numerics.take_label(log_probs, labels).mean())),
    }
