"""Metrics of an attack on a pool of models, with bootstrap intervals over models and records."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Bools, Float64, Floats, Int64
from dynanoise.core.result import Metric
from dynanoise.metrics.intervals import LEVEL, balanced_accuracy, proportion
from dynanoise.metrics.roc import Roc, resolves, roc

FPRS = (0.001, 0.01)
"""False positive rates at which the TPR is reported, where enough non-members resolve them."""

REPLICATES = 200
"""Resampled pools behind an interval."""

_AT_ONCE = 8
"""Resampled pools that are measured at once; more where there are few records."""

_CACHED = 1 << 18
"""Weights of records that fit a processor's cache."""

_KEPT = 1 << 22
"""Weights of records that are kept for the next attack, at most: 16 MiB."""

_PAIRS = 1 << 21
"""Weights of pairs of model and record that are held at once."""


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
        scores: scores and decisions of the pool.
        point: the metrics of the pool, by name.
        replicates: those of the resampled pools, by name, float64 [R]. With one seed and one shape
            of the pool replicate i draws the same models and records, so values of two attacks or
            methods are paired.
        draws: float64 [R, M], how often each model is drawn.
    """

    scores: PoolScores
    point: Mapping[str, float]
    replicates: Mapping[str, Float64]
    draws: Float64

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics with 95% percentile intervals, see also `widen_unanimous`."""
        intervals = {
            name: percentile_interval(value, self.replicates[name])
            for name, value in self.point.items()
        }
        return widen_unanimous(intervals, self.scores)


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


def widen_unanimous(
    metrics: Mapping[str, Metric], scores: PoolScores, level: float = LEVEL
) -> dict[str, Metric]:
    """Widen intervals without width, which say nothing about how few the records are.

    Where no member is found, or every one, all resampled pools agree. The interval is then that of
    independent trials, as many as there are distinct records in all models. That of a TPR is
    Clopper and Pearson's, that of balanced accuracy follows from both rates, and that of an AUC is
    Clopper and Pearson's for disjoint pairs of a member and a non-member, all in order or all tied.

    Args:
        metrics: ``asr``, ``auc``, ``tpr@0.01`` and so on with their intervals.
        scores: scores and decisions [M, N] behind them.
        level: confidence level, in (0, 1).

    Returns:
        The metrics by the same names; those whose intervals have a width are unchanged.

    >>> members = np.arange(40).reshape(1, 40) % 2 == 0
    >>> silent = PoolScores(np.zeros((1, 40)), members & False, members, members | True)
    >>> widen_unanimous({"tpr@0.5": Metric(0.0, 0.0, 0.0)}, silent)["tpr@0.5"].high.__round__(3)
    0.168
    """
    unanimous = [name for name, metric in metrics.items() if metric.low == metric.high]
    if not unanimous:
        return dict(metrics)
    kinds = scores.members & scores.scored, ~scores.members & scores.scored
    counts = [int(kind.any(axis=0).sum()) for kind in kinds]

    def of_records(rate: float, records: int) -> Metric:
        return proportion(round(rate * records), records, level)

    def widen(name: str, value: float) -> Metric:
        if name == "asr":
            right = scores.decisions == scores.members
            rates = [float(right[kind].mean()) for kind in kinds]
            wide = balanced_accuracy(*map(of_records, rates, counts))
        elif name == "auc":
            # Of ordered pairs some may be reversed, which costs 1; of tied ones ordered, 1/2.
            pairs = min(*counts, int(scores.scored.any(axis=0).sum()) // 2)
            others = of_records(0.0, pairs).high or 0.0
            others /= 2 if 0 < value < 1 else 1
            wide = Metric(value, max(value - others, 0.0), min(value + others, 1.0))
        else:
            wide = of_records(value, counts[0])
        return Metric(value, wide.low, wide.high)

    return {**metrics, **{name: widen(name, metrics[name].value) for name in unanimous}}


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
    draw = _draw_once if replicates * records <= _KEPT else _draw
    parts, draws = [], []
    for of_models, of_records in draw(models, records, seed, replicates):
        draws.append(of_models)
        parts.append(measure(of_models, of_records))
    return Bootstrap(
        pool_scores,
        {name: float(value[0]) for name, value in point.items()},
        {name: np.concatenate([part[name] for part in parts]) for name in point},
        np.concatenate(draws),
    )


def _draw(
    models: int, records: int, seed: int, replicates: int
) -> Iterator[tuple[Float64, Floats]]:
    """Draws of `resample`, as many at once as are measured at once: [R, M], and float32 [R, N]."""
    resamples = resample(models, records, seed, replicates)
    while part := list(islice(resamples, max(_AT_ONCE, _CACHED // records))):
        of_models, of_records = zip(*part, strict=True)
        yield np.array(of_models), np.asfortranarray(of_records, dtype=np.float32)


@functools.lru_cache(maxsize=1)
def _draw_once(*arguments: int) -> tuple[tuple[Float64, Floats], ...]:
    """The same, kept for the next attack on the same pool."""
    return tuple(_draw(*arguments))


class _WeightedMetrics:
    """The metrics as functions of how much each model and each record counts.

    Sorting is done once; replicates only sum in that order. Floats are integers and their sums
    exact, so the order of a sum makes no difference.
    """

    def __init__(self, pool_scores: PoolScores, fprs: Sequence[float] = FPRS) -> None:
        scores, members, scored = pool_scores.scores, pool_scores.members, pool_scores.scored
        right = pool_scores.decisions == members
        # Replicates weigh as much as the pool, so float32 is exact for up to 2^24 pairs.
        self.dtype: type[np.floating[Any]] = np.float32 if scores.size <= 1 << 24 else np.float64
        self.per_model = [
            _WeightedModel(scores[m], members[m], right[m], kept) for m, kept in enumerate(scored)
        ]
        non_members = int((~members & scored).sum())
        self.fprs = [fpr for fpr in fprs if resolves(fpr, non_members)]
        self.hits = _WeightedHits(pool_scores, self.fprs) if self.fprs else None

    def __call__(self, models: Float64, records: Floats) -> dict[str, Float64]:
        """Values [R] by name, for weights [R, M] and [R, N]."""
        columns = records.T.astype(self.dtype, order="C", copy=False)
        totals, right = np.empty((2, 2, *models.shape))
        aucs = np.empty(models.shape)
        for m, model in enumerate(self.per_model):
            totals[..., m], right[..., m], aucs[:, m] = model(columns)
        # With few records a replicate may hold no member, or no non-member, of some model.
        models = models * (totals.min(axis=0) > 0)
        rates = right / np.maximum(totals, 1)
        members, non_members = (totals * models).sum(axis=2)
        with np.errstate(invalid="ignore"):  # NaN for a replicate without any model
            metrics = {
                name: (values * models).sum(axis=1) / models.sum(axis=1)
                for name, values in (("asr", (rates[0] + rates[1]) / 2), ("auc", aucs))
            }
            if self.hits is not None:
                hits = self.hits(models.T.astype(self.dtype), columns, non_members)
                names = [f"tpr@{fpr:g}" for fpr in self.fprs]
                metrics |= zip(names, hits / members, strict=True)
        return metrics


class _Ranking(NamedTuple):
    """Scores in descending order, in groups of members followed by non-members.

    Members that no non-member separates are ahead of the same non-members, so areas and hits need
    sums over groups alone. Members and non-members of one score are a group of their own.

    Attributes:
        order: int64 [n], indices of the scores.
        ends: int64 [2 G], ends of the members and of the non-members of each group in this order.
        tied: bool [G], whether all scores of the group are equal.
    """

    order: Int64
    ends: Int64
    tied: Bools


def _rank(scores: Float64, members: Bools) -> _Ranking:
    order = np.argsort(scores)[::-1]
    ranked, inside = scores[order], members[order]
    rises = ranked[1:] != ranked[:-1]
    step = np.cumsum(np.append(False, rises))
    order = order[np.argsort(2 * step + ~inside, kind="stable")]
    inside = members[order]
    mixed = np.zeros(step[-1] + 1, dtype=bool)
    mixed[step[1:][inside[:-1] & ~inside[1:] & ~rises]] = True
    mixed = mixed[step]
    cuts = (inside[1:] & ~inside[:-1]) | (rises & (mixed[1:] | mixed[:-1]))
    starts = np.append(0, np.flatnonzero(cuts) + 1)
    middles = starts + np.add.reduceat(inside, starts, dtype=np.int64)
    ends = np.stack([middles, np.append(starts[1:], len(scores))], axis=1)
    return _Ranking(order, ends.ravel(), mixed[starts])


def _adder(rows: Int64, ends: Int64, columns: int) -> csr_array:
    """Matrix whose product with weights [columns, R] is their sums over the parts of ``rows``."""
    parts = rows[: ends[-1]].astype(np.int32), np.append(0, ends).astype(np.int32)
    return csr_array((np.ones(ends[-1], dtype=np.float32), *parts), shape=(len(ends), columns))


class _WeightedModel:
    """The weights, and the area under the ROC, that metrics of one model consist of.

    Args:
        scores: float64 [N].
        members: bool [N].
        right: bool [N], whether the decision is right.
        scored: bool [N].
    """

    def __init__(self, scores: Float64, members: Bools, right: Bools, scored: Bools) -> None:
        rows = np.flatnonzero(scored)
        ranking = _rank(scores[rows], members[rows])
        self.tied = np.flatnonzero(ranking.tied)
        of_kind = [np.flatnonzero(scored & right & kind) for kind in (members, ~members)]
        rows = np.concatenate([rows[ranking.order], *of_kind])
        ends = np.append(
            ranking.ends, ranking.ends[-1] + np.cumsum([len(kind) for kind in of_kind])
        )
        self.adder = _adder(rows, ends, len(scored))

    def __call__(self, records: Floats) -> tuple[Float64, Floats, Float64]:
        """Floats of members and non-members [2, R], those with the right decision, and areas [R].

        Args:
            records: weights [N, R]. Without members or non-members an area is 0.
        """
        sums = self.adder @ records
        members, non_members = sums[:-2:2], sums[1:-2:2]
        ahead = np.cumsum(members, axis=0)
        totals = np.stack([ahead[-1], non_members.sum(axis=0)]).astype(np.float64)
        # Each non-member counts the members ahead of it, and half of those of its score.
        pairs = np.einsum("gr,gr->r", ahead, non_members, dtype=np.float64)
        tied = members[self.tied], non_members[self.tied]
        pairs -= np.einsum("gr,gr->r", *tied, dtype=np.float64) / 2
        return totals, sums[-2:], pairs / np.maximum(totals.prod(axis=0), 1)


class _WeightedHits:
    """The weighted hits at low FPRs, for which only the largest scores of all pairs matter.

    Args:
        pool_scores: scores of all pairs of model and record.
        limits: the FPRs, at least one.
    """

    def __init__(self, pool_scores: PoolScores, limits: Sequence[float]) -> None:
        self.limits = np.array(limits)
        self.pool_scores = pool_scores
        outside = pool_scores.scores[~pool_scores.members & pool_scores.scored]
        # Twice the limit where every pair counts once: nearly every replicate ends before that.
        enough = min(int(2 * self.limits.max() * len(outside)) + 1, len(outside))
        self.largest = self._ranked(np.partition(outside, -enough)[-enough])

    def _ranked(self, least: float) -> _RankedPairs:
        """Pairs of so large a score at least."""
        pool_scores = self.pool_scores
        chosen = pool_scores.scored & (pool_scores.scores >= least)
        ranking = _rank(pool_scores.scores[chosen], pool_scores.members[chosen])
        models, records = (index[ranking.order] for index in np.nonzero(chosen))
        adder = _adder(np.arange(len(models)), ranking.ends, len(models))
        return _RankedPairs(models, records, adder, ranking.tied)

    def __call__(self, models: Floats, records: Floats, non_members: Float64) -> Float64:
        """Hits [L, R] at an FPR of at most each limit.

        Args:
            models: weights [M, R].
            records: weights [N, R].
            non_members: the weight of all non-members, [R].
        """
        allowed = (self.limits[:, None] + 1e-12) * non_members
        hits, exceeded = self.largest.hits(models, records, allowed)
        rest = np.flatnonzero(~exceeded)
        if len(rest):
            pairs = self._ranked(-np.inf)
            hits[:, rest], _ = pairs.hits(models[:, rest], records[:, rest], allowed[:, rest])
        return hits


class _RankedPairs(NamedTuple):
    """Pairs of model and record in the order of a ranking.

    Attributes:
        models: int64 [n].
        records: int64 [n].
        adder: sums of weights [n, R] over the members and non-members of each group.
        tied: bool [G], see `_Ranking`.
    """

    models: Int64
    records: Int64
    adder: csr_array
    tied: Bools

    def hits(self, models: Floats, records: Floats, allowed: Float64) -> tuple[Float64, Bools]:
        """Floats [L, R] of the members ahead, and whether non-members exceed all limits, [R].

        Args:
            models: weights [M, R].
            records: weights [N, R].
            allowed: weights [L, R] of non-members that may be ahead.
        """
        hits = np.empty(allowed.shape)
        exceeded = np.empty(len(hits[0]), dtype=bool)
        step = max(1, _PAIRS // len(self.models))
        for part in (slice(start, start + step) for start in range(0, len(exceeded), step)):
            weights = models[:, part].take(self.models, axis=0)
            weights *= records[:, part].take(self.records, axis=0)
            sums = (self.adder @ weights).T.astype(np.float64, order="C")
            members, alarms = sums[:, ::2], np.cumsum(sums[:, 1::2], axis=1)
            exceeded[part] = alarms[:, -1] > allowed[:, part].max(axis=0)
            ahead = np.cumsum(members, axis=1)
            # Members of one score with the non-members that exceed the limit do not count.
            before = np.append(ahead - members * self.tied, ahead[:, -1:], axis=1)
            for limit, most in enumerate(allowed[:, part]):
                groups = (alarms <= most[:, None]).sum(axis=1)
                hits[limit, part] = before[np.arange(len(groups)), groups]
        return hits, exceeded
