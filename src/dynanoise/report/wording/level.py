"""The level of a leak, by cited thresholds on what an attacker achieves."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Literal

from dynanoise.core.result import Metric

Level = Literal["no leak measured", "low", "moderate", "high"]

NO_LEAK: Level = "no leak measured"
"""The level where the intervals contain guessing."""

_LEVELS: tuple[Level, ...] = (NO_LEAK, "low", "moderate", "high")
_FPR = 0.01
_TPRS = (_FPR * math.e, 0.09)
_AUCS = (0.7, 0.8)

LEVELS_NOTE = (
    f"Levels: high above {100 * _TPRS[1]:.0f} of 100 members at one false alarm in 100 (EMA Policy "
    "0070 and Health Canada accept a risk of re-identification of 0.09 in data they publish), or "
    f"from AUC {_AUCS[1]} (excellent discrimination: Hosmer, Lemeshow & Sturdivant 2013, section "
    f"5.2); moderate above {100 * _TPRS[0]:.1f} of 100, the most that differential privacy with "
    "epsilon 1 allows (strong guarantees: Ponomareva et al. 2023), or from AUC "
    f"{_AUCS[0]} (acceptable discrimination); low below both; no leak measured where the 95% "
    "intervals contain guessing."
)


def level(auc: Metric, tpr: Metric | None) -> tuple[Level, Level, Level]:
    """Rate a leak by the worse of two measures.

    Args:
        auc: area under the ROC curve, 0..1.
        tpr: TPR at 1% FPR, 0..1; None where the records are too few to resolve it.

    Returns:
        The level of the values, and those of the lower and of the upper ends of the intervals.

    >>> level(Metric(0.62, 0.60, 0.64), Metric(0.025, 0.02, 0.031))
    ('low', 'low', 'moderate')
    >>> level(Metric(0.51, 0.49, 0.53), Metric(0.011, 0.008, 0.014))[0]
    'no leak measured'
    >>> level(Metric(0.85), None)[0]
    'high'
    """
    low = _rank(_end(auc, auc.low), None if tpr is None else _end(tpr, tpr.low))
    high = _rank(_end(auc, auc.high), None if tpr is None else _end(tpr, tpr.high))
    middle = _rank(auc.value, None if tpr is None else tpr.value) if low else 0
    return _LEVELS[middle], _LEVELS[low], _LEVELS[high]


def _end(metric: Metric, bound: float | None) -> float:
    return metric.value if bound is None else bound


def _rank(auc: float, tpr: float | None) -> int:
    """Place in `_LEVELS`."""
    if auc <= 0.5 and (tpr is None or tpr <= _FPR):
        return 0
    return 1 + max(bisect_right(_AUCS, auc), 0 if tpr is None else bisect_right(_TPRS, tpr))
