"""Metrics of an attack on a pool of models, with bootstrap intervals over models and records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.result import Metric
from dynanoise.metrics.intervals import LEVEL
from dynanoise.metrics.roc import Roc, resolves, roc

FPRS = (0.001, 0.01)
"""False positive rates at which the TPR is reported, where enough non-members resolve them."""

REPLICATES = 200
"""Resampled pools behind an interval."""


@dataclass(frozen=True, eq=False)
class PoolScores:
    """One attack's scores on every model of a pool, each the target once.

    Attributes:
        scores: float64 [M, N], larger = more likely a member.
        decisions: bool [M, N], at a threshold chosen without the target.
        members: bool [M, N], the true membership.
        scored: bool [M, N]; False where a record had no shadow models for this target.

    Raises:
        InputError: for other shapes, or a model of which only members or only non-members were
            scored.
    """

    scores: Float64
    decisions: Bools
    members: Bools
    scored: Bools

    def __post_init__(self) -> None:
        shapes = {part.shape for part in (self.scores, self.decisions, self.members, self.scored)}
        if len(shapes) > 1 or self.scores.ndim != 2:
            raise InputError(f"The parts have the shapes {sorted(shapes)}.", "Pass [M, N] each.")
        for kind in (self.members, ~self.members):
            if not (kind & self.scored).any(axis=1).all():
                raise InputError(
                    "Of some model only members or only non-members were scored.",
                    "Use a larger pool.",
                )

    @property
    def balanced_accuracy(self) -> float:
        """Balanced accuracy of the decisions, the mean over the models."""
        right = self.decisions == self.members
        kinds = self.members & self.scored, ~self.members & self.scored
        rates = [(right & kind).sum(axis=1) / kind.sum(axis=1) for kind in kinds]
        return float(np.mean(rates))

    @property
    def roc(self) -> Roc:
        """The ROC of all scored pairs of model and record together."""
        return roc(self.scores[self.scored], self.members[self.scored])


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Metrics of a pool and of resampled pools.

    Attributes:
        point: the metrics of the pool, by name.
        replicates: those of the resampled pools, by name, float64 [R]. With one seed and one shape
            of the pool replicate i draws the same models and records, so values of two attacks or
            methods are paired.
    """

    point: Mapping[str, float]
    replicates: Mapping[str, Float64]

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics with 95% percentile intervals."""
        return {
            name: percentile_interval(value, self.replicates[name])
            for name, value in self.point.items()
        }


def percentile_interval(point: float, replicates: Float64) -> Metric:
    """Attach the 2.5% and 97.5% percentiles of the replicates to a value.

    Args:
        point: the value.
        replicates: float64 [R], the value in R resampled pools; NaN is left out.

    Returns:
        The value with its 95% interval.

    >>> metric = percentile_interval(50.0, np.arange(101.0))
    >>> round(metric.low, 9), round(metric.high, 9)
    (2.5, 97.5)
    """
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(replicates, [tail, 100 - tail])
    return Metric(point, float(low), float(high))


def resample(
    models: int, records: int, seed: int, replicates: int = REPLICATES
) -> Iterator[tuple[Float64, Float64]]:
    """Draw models and records with replacement, as often as there are of each.

    Args:
        models: M.
        records: N.
        seed: seed of the draws.
        replicates: R.

    Yields:
        R pairs of float64 [M] and float64 [N]: how often each model and each record is drawn.

    >>> [models.sum() for models, records in resample(4, 10, seed=0, replicates=2)]
    [np.float64(4.0), np.float64(4.0)]
    """
    generator = np.random.default_rng(seed)
    for _ in range(replicates):
        yield (
            np.bincount(generator.integers(0, models, models), minlength=models).astype(float),
            np.bincount(generator.integers(0, records, records), minlength=records).astype(float),
        )


def bootstrap(
    pool_scores: PoolScores,
    seed: int,
    replicates: int = REPLICATES,
    *,
    fprs: Sequence[float] = FPRS,
) -> Bootstrap:
    """Compute ASR, AUC and TPR at low FPR of a pool and of resampled pools.

    Models and records are both drawn with replacement: records of one model share its training, and
    models share records, so a binomial interval over all pairs is several times too narrow.

    Args:
        pool_scores: scores and decisions of one attack.
        seed: seed of the bootstrap.
        replicates: how many resampled pools.
        fprs: false positive rates to report the TPR at, each in (0, 1].

    Returns:
        ``asr``: balanced accuracy of the decisions, and ``auc``, means over the models, 0 to 1;
        ``tpr@0.001`` and so on of the ROC of all pairs, each left out if fewer than 10
        non-members resolve it.

    >>> members = np.arange(8).reshape(1, 8) % 2 == 0
    >>> scores = np.array([[4.0, 0.0, 3.0, 1.0, 5.0, 2.0, 1.5, 0.5]])
    >>> point = bootstrap(PoolScores(scores, scores > 2.5, members, members | True), seed=0).point
    >>> point["asr"], point["auc"]
    (0.875, 0.9375)
    """
    measure = _WeightedMetrics(pool_scores, fprs)
    models, records = pool_scores.scores.shape
    point = measure(np.ones((1, models)), np.ones((1, records)))
    draws = list(resample(models, records, seed, replicates))
    weights = np.array([pair[0] for pair in draws]), np.array([pair[1] for pair in draws])
    return Bootstrap({name: float(value[0]) for name, value in point.items()}, measure(*weights))


_AT_ONCE = 1 << 14
"""Weights that are summed at once: a size that fits the processor's cache."""


class _WeightedMetrics:
    """The metrics as functions of how much each model and each record counts.

    Sorting is done once; replicates only sum in that order.
    """

    def __init__(self, pool_scores: PoolScores, fprs: Sequence[float] = FPRS) -> None:
        members, scored = pool_scores.members, pool_scores.scored
        kinds = members & scored, ~members & scored
        right = pool_scores.decisions == members
        # Records first: a replicate's weights are multiplied by these.
        self.kinds = [kind.T.astype(np.float64) for kind in kinds]
        self.right = [(kind & right).T.astype(float) for kind in kinds]
        self.per_model = [
            _WeightedAuc(pool_scores.scores[m, kept], members[m, kept], np.flatnonzero(kept))
            for m, kept in enumerate(scored)
        ]
        non_members = int(kinds[1].sum())
        models, records = np.nonzero(scored)
        pairs = pool_scores.scores[scored], members[scored], models, records
        self.at_fpr = {
            fpr: _WeightedHits(*pairs, fpr) for fpr in fprs if resolves(fpr, non_members)
        }

    def __call__(self, models: Float64, records: Float64) -> dict[str, Float64]:
        """Values [R] by name, for weights [R, M] and [R, N]."""
        totals = [records @ kind for kind in self.kinds]
        # With few records a replicate may hold no member, or no non-member, of some model.
        models = models * (np.minimum(*totals) > 0)
        rates = [
            (records @ right) / np.maximum(total, 1)
            for right, total in zip(self.right, totals, strict=True)
        ]
        aucs = np.stack([auc(records) for auc in self.per_model], axis=1)
        members, non_members = ((total * models).sum(axis=1) for total in totals)
        with np.errstate(invalid="ignore"):  # NaN for a replicate without any model
            metrics = {
                name: (values * models).sum(axis=1) / models.sum(axis=1)
                for name, values in (("asr", (rates[0] + rates[1]) / 2), ("auc", aucs))
            }
            for fpr, hits in self.at_fpr.items():
                metrics[f"tpr@{fpr:g}"] = hits(models, records, non_members) / members
        return metrics


def _in_parts(count: int, width: int) -> Iterator[slice]:
    step = max(1, _AT_ONCE // max(1, width))
    return (slice(start, start + step) for start in range(0, count, step))


class _WeightedAuc:
    """The area under one model's weighted ROC, equal scores one step of it.

    Args:
        scores: float64 [n].
        members: bool [n].
        rows: int64 [n], the record of each score.
    """

    def __init__(self, scores: Float64, members: Bools, rows: Int64) -> None:
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        self.rows = rows[order]
        self.members = members[order].astype(np.float64)
        steps = np.flatnonzero(ranked[1:] != ranked[:-1]) + 1
        self.tied = len(steps) + 1 < len(ranked)
        step = np.cumsum(np.isin(np.arange(len(ranked)), steps))
        # Positions in the cumulative sum with a leading 0: before and after each score's step.
        self.before = np.append(0, steps)[step]
        self.after = np.append(steps, len(ranked))[step]

    def __call__(self, records: Float64) -> Float64:
        """Areas [R] for weights [R, N]; 0 without members or non-members."""
        areas = np.empty(len(records))
        for part in _in_parts(len(records), len(self.rows)):
            weights = records[part][:, self.rows]
            hits = np.cumsum(weights * self.members, axis=1)
            total = hits[:, -1].copy()
            if self.tied:
                hits = np.concatenate([np.zeros((len(hits), 1)), hits], axis=1)
                hits = (hits[:, self.before] + hits[:, self.after]) / 2
            alarms = weights.sum(axis=1) - total
            # Each non-member counts the members ahead of it, and half of those in its step.
            weights *= hits
            areas[part] = weights @ (1 - self.members) / np.maximum(total * alarms, 1)
        return areas


class _WeightedHits:
    """The weighted hits at a low FPR, for which only the largest scores of all pairs matter.

    Args:
        scores: float64 [n], of all pairs.
        members: bool [n].
        models: int64 [n], the model of each pair.
        records: int64 [n], the record of each pair.
        limit: the FPR.
    """

    def __init__(
        self, scores: Float64, members: Bools, models: Int64, records: Int64, limit: float
    ) -> None:
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        self.limit = limit
        self.ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self.models, self.records, self.members = models[order], records[order], members[order]
        alarms = np.cumsum(~self.members)[self.ends]
        # Twice the limit where every pair counts once: nearly every replicate ends before that.
        self.enough = int(np.searchsorted(alarms, 2 * limit * alarms[-1])) + 1

    def __call__(self, models: Float64, records: Float64, non_members: Float64) -> Float64:
        """Hits [R] at an FPR of at most the limit.

        Args:
            models: weights [R, M].
            records: weights [R, N].
            non_members: the weight of all non-members, [R].
        """
        replicates = zip(models, records, non_members, strict=True)
        return np.array([self._hits(*weights) for weights in replicates])

    def _hits(self, models: Float64, records: Float64, non_members: float) -> float:
        allowed = (self.limit + 1e-12) * non_members
        for steps in (self.enough, len(self.ends)):
            ends = self.ends[:steps]
            count = ends[-1] + 1
            weights = models[self.models[:count]] * records[self.records[:count]]
            alarms = np.cumsum(np.where(self.members[:count], 0.0, weights))[ends]
            if alarms[-1] > allowed:
                break
        last = int(np.searchsorted(alarms, allowed, side="right"))
        if last == 0:
            return 0.0
        stop = ends[last - 1] + 1
        return float(weights[:stop] @ self.members[:stop])
