"""Metrics of an attack with intervals over models and records in closed form.

Each metric is linearised: every pair of a model and a record has an influence on it, and the
variance of a sum of influences that depend on each other within a model and within a record is
Var(models) + Var(records) - Var(pairs) (Cameron, Gelbach & Miller, Journal of Business & Economic
Statistics 29, 2011). For the AUC of one model this is the variance of DeLong et al. (1988).

Beside `bootstrap` for what resampling cannot do: any level of confidence, which a correction for
many groups takes, and pools of millions of records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.stats import rankdata

from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.result import Metric
from dynanoise.metrics.bootstrap import FPRS, PoolScores, widen_unanimous
from dynanoise.metrics.intervals import LEVEL, proportion
from dynanoise.metrics.roc import resolves


class _Influences:
    """Sums of influences by model and by record.

    Args:
        models: M.
        records: N.
    """

    def __init__(self, models: int, records: int) -> None:
        self.models, self.records, self.pairs = np.zeros(models), np.zeros(records), 0.0

    def add(self, model: int, rows: Bools, influences: Float64) -> None:
        """Add the influences [n] of a model's records, marked in ``rows`` [N]."""
        self.models[model] += influences.sum()
        self.records[rows] += influences
        self.pairs += float(influences @ influences)

    def metric(self, value: float, level: float) -> Metric:
        """The value with its interval, within 0 and 1; Student's t for the number of models."""
        models, records = len(self.models), len(self.records)
        of_records = float(self.records @ self.records) * records / max(records - 1, 1)
        if models == 1:
            variance, freedom = of_records, np.inf
        else:
            of_models = float(self.models @ self.models) * models / (models - 1)
            variance = max(of_models + of_records - self.pairs, of_models, of_records)
            # Satterthwaite's approximation.
            spread = of_models**2 / (models - 1) + of_records**2 / max(records - 1, 1)
            freedom = variance**2 / spread if spread else np.inf
        quantile = (
            special.ndtri((1 + level) / 2)
            if np.isinf(freedom)
            else special.stdtrit(freedom, (1 + level) / 2)
        )
        half = float(quantile * np.sqrt(variance))
        return Metric(value, max(0.0, value - half), min(1.0, value + half))


def two_way_metrics(
    scores: PoolScores, fprs: Sequence[float] = FPRS, level: float = LEVEL
) -> dict[str, Metric]:
    """Compute ASR, AUC and TPR at low FPR with intervals over models and records.

    Args:
        scores: scores and decisions [M, N] of one attack.
        fprs: false positive rates to report the TPR at, each in (0, 1].
        level: confidence level, in (0, 1).

    Returns:
        The metrics of `bootstrap.bootstrap`, whose values are the same; for intervals of which no
        record has an influence see `bootstrap.widen_unanimous`.

    >>> members = np.arange(8).reshape(1, 8) % 2 == 0
    >>> values = np.array([[4.0, 0.0, 3.0, 1.0, 5.0, 2.0, 1.5, 0.5]])
    >>> metrics = two_way_metrics(PoolScores(values, values > 2.5, members, members | True))
    >>> metrics["asr"].value, metrics["auc"].value
    (0.875, 0.9375)
    """
    non_members = int((scores.scored & ~scores.members).sum())
    metrics = {"asr": _accuracy(scores, level), "auc": _auc(scores, level)}
    resolved = [fpr for fpr in fprs if resolves(fpr, non_members)]
    metrics |= {f"tpr@{fpr:g}": _tpr_at(scores, fpr, level) for fpr in resolved}
    return widen_unanimous(metrics, scores, level)


def rates(
    scores: PoolScores, levels: Sequence[float] = (LEVEL,)
) -> tuple[list[Metric], list[Metric]]:
    """Compute TPR and FPR of the decisions, over all pairs of model and record.

    Args:
        scores: scores and decisions [M, N] of one attack.
        levels: confidence levels, each in (0, 1).

    Returns:
        TPR and FPR, with an interval for each level. Where all decisions about one kind agree, the
        interval is Clopper and Pearson's for as many trials as there are records of that kind.
    """
    both: list[list[Metric]] = []
    for kind in (scores.members & scores.scored, ~scores.members & scores.scored):
        count = int(kind.sum())
        hits = int((scores.decisions & kind).sum())
        if hits in {0, count}:
            records = int(kind.any(axis=0).sum())
            both.append([proportion(records if hits else 0, records, each) for each in levels])
            continue
        value = hits / count
        influences = _Influences(*kind.shape)
        for model, rows in enumerate(kind):
            influences.add(model, rows, (scores.decisions[model, rows] - value) / count)
        both.append([influences.metric(value, level) for level in levels])
    return both[0], both[1]


def precision(tpr: Metric, fpr: Metric, prior: float) -> Metric:
    """Compute the share of members among the records that are called members (PPV).

    Args:
        tpr: true positive rate of the decisions.
        fpr: false positive rate.
        prior: share of members among all records that are scored, in (0, 1).

    Returns:
        prior TPR / (prior TPR + (1 - prior) FPR), between its values at opposite ends of both
        intervals; the prior itself where nothing is called a member.

    >>> precision(Metric(0.5, 0.4, 0.6), Metric(0.1, 0.1, 0.1), 0.01).value.__round__(4)
    0.0481
    """

    def share(hits: float, alarms: float) -> float:
        total = prior * hits + (1 - prior) * alarms
        return prior * hits / total if total else prior

    value = share(tpr.value, fpr.value)
    if tpr.low is None or tpr.high is None or fpr.low is None or fpr.high is None:
        return Metric(value)
    return Metric(value, share(tpr.low, fpr.high), share(tpr.high, fpr.low))


def _accuracy(scores: PoolScores, level: float) -> Metric:
    """Balanced accuracy of the decisions, the mean over the models."""
    models, records = scores.scores.shape
    influences, values = _Influences(models, records), np.empty(models)
    for model in range(models):
        shares = []
        for member in (True, False):
            rows = scores.scored[model] & (scores.members[model] == member)
            right = (scores.decisions[model, rows] == member).astype(np.float64)
            shares.append(right.mean())
            influences.add(model, rows, (right - right.mean()) / (2 * len(right) * models))
        values[model] = np.mean(shares)
    influences.models += (values - values.mean()) / models
    return influences.metric(float(values.mean()), level)


def _auc(scores: PoolScores, level: float) -> Metric:
    """AUC, the mean over the models: each record's influence is its place in the other kind."""
    models, records = scores.scores.shape
    influences, values = _Influences(models, records), np.empty(models)
    for model in range(models):
        kinds = [scores.scored[model] & (scores.members[model] == kind) for kind in (True, False)]
        inside, outside = (scores.scores[model, rows] for rows in kinds)
        ranks = rankdata(np.concatenate([inside, outside]))
        ahead = (ranks[: len(inside)] - rankdata(inside)) / len(outside)
        behind = 1 - (ranks[len(inside) :] - rankdata(outside)) / len(inside)
        values[model] = ahead.mean()
        for rows, places in zip(kinds, (ahead, behind), strict=True):
            influences.add(model, rows, (places - values[model]) / (len(places) * models))
    influences.models += (values - values.mean()) / models
    return influences.metric(float(values.mean()), level)


class _Point(NamedTuple):
    """A point of a ROC: its threshold, rates, and how steep the curve is around it."""

    threshold: float
    tpr: float
    fpr: float
    steepness: float


def _point(inside: Float64, outside: Float64, fpr: float) -> _Point:
    """The highest point of a ROC whose FPR is at most ``fpr``; sorts ``outside`` in part."""
    count = len(outside)

    def place(rate: float) -> int:
        return count - int((rate + 1e-12) * count) - 1

    rates = (fpr / 2, fpr, min(2 * fpr, 1.0))
    outside.partition([max(place(rate), 0) for rate in rates])
    bars = [float(outside[place(rate)]) if place(rate) >= 0 else -np.inf for rate in rates]
    tprs = [float((inside > bar).mean()) for bar in bars]
    alarms = [float((outside > bar).mean()) for bar in bars]
    steepness = (tprs[2] - tprs[0]) / max(alarms[2] - alarms[0], 1 / count)
    return _Point(bars[1], tprs[1], alarms[1], steepness)


def _tpr_at(scores: PoolScores, fpr: float, level: float) -> Metric:
    """TPR at an FPR of all pairs together.

    The threshold is an estimate as well: a false positive more raises it, which costs as many
    members as the ROC is steep there.
    """
    kinds = scores.scored & scores.members, scores.scored & ~scores.members
    point = _point(scores.scores[kinds[0]], scores.scores[kinds[1]], fpr)
    members, non_members = (int(kind.sum()) for kind in kinds)
    influences = _Influences(*scores.scores.shape)
    for model, (inside, outside) in enumerate(zip(*kinds, strict=True)):
        above = scores.scores[model] > point.threshold
        influences.add(model, inside, (above[inside] - point.tpr) / members)
        falsely = -point.steepness * (above[outside] - point.fpr) / non_members
        influences.add(model, outside, falsely)
    return influences.metric(point.tpr, level)
