"""What a defense costs the people who use the model."""

from __future__ import annotations

from dynanoise.metrics import intervals
from dynanoise.numerics import Int64
from dynanoise.record import Metric
from dynanoise.types import Floats


def utility_metrics(probs: Floats, logits: Floats, labels: Int64) -> dict[str, Metric]:
    """Accuracy of the answers, and how often their label is not the model's own.

    Args:
        probs: answers [N, K].
        logits: the model's logits [N, K].
        labels: int64 [N].

    Returns:
        ``accuracy`` and ``label_flips``, shares of N with Clopper-Pearson intervals. Of equal
        largest entries the first counts.

    >>> import numpy as np
    >>> rows = np.array([[0.6, 0.4], [0.6, 0.4]])
    >>> found = utility_metrics(rows, np.log([[0.6, 0.4], [0.4, 0.6]]), np.array([0, 0]))
    >>> found["accuracy"].value, found["label_flips"].value
    (1.0, 0.5)
    """
    answered = probs.argmax(axis=-1)
    own = logits.argmax(axis=-1)
    return {
        "accuracy": intervals.proportion(int((answered == labels).sum()), len(labels)),
        "label_flips": intervals.proportion(int((answered != own).sum()), len(labels)),
    }
