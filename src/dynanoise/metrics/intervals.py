"""Confidence intervals, each with the conditions it is valid under."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from dynanoise.core.errors import InputError
from dynanoise.core.result import Metric

LEVEL = 0.95
"""The usual level of confidence."""


def proportion(hits: int, trials: int, level: float = LEVEL) -> Metric:
    """Compute a proportion with its Clopper-Pearson interval.

    Valid for independent trials at a threshold fixed beforehand on *one* model. Pooled over
    models it is several times too narrow: records of one model share their training.

    Args:
        hits: 0..trials.
        trials: >= 1.
        level: confidence level, in (0, 1).

    Returns:
        hits / trials with its interval, all in [0, 1].

    Raises:
        InputError: for other numbers.

    >>> bool(np.isclose(proportion(0, 10).high, 1 - 0.025 ** (1 / 10)))  # closed form at 0
    True
    """
    if not 0 <= hits <= trials or trials < 1:
        raise InputError(f"{hits} of {trials} is not a proportion.", "Pass 0 <= hits <= trials.")
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits == trials else float(special.betaincinv(hits + 1, trials - hits, 1 - tail))
    return Metric(hits / trials, low, high)


def balanced_accuracy(tpr: Metric, tnr: Metric) -> Metric:
    """Compute (TPR + TNR) / 2 with the interval that follows from those of the two rates.

    The square-and-add method (Newcombe, Statistics in Medicine 17, 1998, method 10), here over
    Clopper-Pearson limits; valid where those are.

    Args:
        tpr: in [0, 1], with or without an interval.
        tnr: likewise.

    Returns:
        In [0, 1]; without an interval if a rate has none.

    >>> balanced_accuracy(Metric(0.8, 0.7, 0.9), Metric(0.6, 0.6, 0.6)).low.__round__(6)
    0.65
    """
    value = (tpr.value + tnr.value) / 2
    bounds = [tpr.low, tpr.high, tnr.low, tnr.high]
    if any(bound is None for bound in bounds):
        return Metric(value)
    low_1, high_1, low_2, high_2 = (float(bound) for bound in bounds if bound is not None)
    below = np.hypot(tpr.value - low_1, tnr.value - low_2) / 2
    above = np.hypot(high_1 - tpr.value, high_2 - tnr.value) / 2
    return Metric(value, float(value - below), float(value + above))


def mean(values: Sequence[float], level: float = LEVEL) -> Metric:
    """Compute the mean over independent runs with Student's t interval.

    Args:
        values: one for each run, at least one.
        level: confidence level, in (0, 1).

    Returns:
        The mean; without an interval for a single run.

    Raises:
        InputError: if there is no value.

    >>> metric = mean([0.5, 0.6, 0.7])
    >>> round(metric.value, 4), round(metric.low, 4), round(metric.high, 4)
    (0.6, 0.3516, 0.8484)
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise InputError("There are no values to average.", "Pass at least one.")
    centre = float(array.mean())
    if array.size == 1:
        return Metric(centre)
    half = float(special.stdtrit(array.size - 1, (1 + level) / 2) * array.std(ddof=1))
    half /= float(np.sqrt(array.size))
    return Metric(centre, centre - half, centre + half)


def median(values: Sequence[float], level: float = LEVEL) -> Metric:
    """Compute the median of independent repetitions, with an interval between two of the values.

    Exact for any continuous distribution, so a few disturbed repetitions do not widen it (Conover,
    Practical Nonparametric Statistics, 3rd ed., section 3.2).

    Args:
        values: one for each repetition, at least one.
        level: confidence level, in (0, 1), which the interval has or exceeds.

    Returns:
        The median; without an interval below 6 values, of which the least and the greatest do not
        cover 95%.

    Raises:
        InputError: if there is no value.

    >>> median(range(1, 21))  # the 6th and the 15th of 20
    Metric(value=10.5, low=6.0, high=15.0)
    >>> median([1.0, 2.0, 9.0])
    Metric(value=2.0, low=None, high=None)
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if ordered.size == 0:
        raise InputError("There are no values to take the median of.", "Pass at least one.")
    centre = float(np.median(ordered))
    ranks = np.arange(ordered.size // 2)
    outside = 2 * special.bdtr(ranks, ordered.size, 0.5)
    inner = int((outside <= 1 - level).sum())
    if inner == 0:
        return Metric(centre)
    return Metric(centre, float(ordered[inner - 1]), float(ordered[-inner]))
