"""Success of one attack: rates of its decisions, AUC, and their replicates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.result import Metric
from dynanoise.metrics import intervals
from dynanoise.metrics.roc import roc


@dataclass(frozen=True, eq=False)
class Success:
    """Success of one attack on one or several models.

    Attributes:
        metrics: by name, such as "auc", with 95% intervals where there are any.
        replicates: by name, float64 [replicates], the same metrics in resampled pools of models;
            empty where there is one model.
        draws: float64 [replicates, M], how often each model is drawn in them; None where there is
            one model.
    """

    metrics: Mapping[str, Metric]
    replicates: Mapping[str, Float64] = field(default_factory=dict)
    draws: Float64 | None = None


def attack_metrics(scores: npt.ArrayLike, decisions: Bools, members: Bools) -> dict[str, Metric]:
    """Compute ASR, TPR, FPR and AUC of one attack on one model.

    Args:
        scores: [N], larger = more likely a member.
        decisions: bool [N], True = member, at a threshold fixed without the target.
        members: bool [N], the true membership.

    Returns:
        ``asr``: balanced accuracy of the decisions, 0.5 = chance, the paper's attack success rate;
        ``tpr`` and ``fpr`` of the decisions; all with 95% intervals for this one model.
        ``auc`` of the scores, at no threshold and without an interval. All 0 to 1.

    Raises:
        InputError: for NaN, other shapes, or if only one kind was scored.

    >>> truth = np.array([True, True, False, False])
    >>> metrics = attack_metrics([4, 3, 2, 1], np.array([True, False, False, False]), truth)
    >>> metrics["asr"].value, metrics["auc"].value
    (0.75, 1.0)
    """
    decisions, members = np.asarray(decisions, dtype=bool), np.asarray(members, dtype=bool)
    curve = roc(scores, members)
    tpr = intervals.proportion(int((decisions & members).sum()), curve.members)
    fpr = intervals.proportion(int((decisions & ~members).sum()), curve.non_members)
    tnr = intervals.proportion(int((~decisions & ~members).sum()), curve.non_members)
    return {
        "asr": intervals.balanced_accuracy(tpr, tnr),
        "tpr": tpr,
        "fpr": fpr,
        "auc": Metric(curve.auc),
    }
