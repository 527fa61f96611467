"""How well an attack does on a pool of models, with intervals over models and records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.result import Metric
from dynanoise.metrics.intervals import LEVEL
from dynanoise.metrics.roc import RESOLVING_NON_MEMBERS, Roc, roc

FPRS = (0.001, 0.01)
"""False positive rates at which the TPR is reported, where enough non-members resolve them."""

REPLICATES = 200


@dataclass(frozen=True, eq=False)
class PoolScores:
    """One attack's scores on every model of a pool, each the target once.

    Attributes:
        scores: float64 [M, N], larger = more likely a member.
        decisions: bool [M, N], at a threshold chosen without the target.
        members: bool [M, N], the truth.
        scored: bool [M, N]; False where an example had no shadows for this target.

    Raises:
        InputError: for other shapes, or a model of which only members or non-members were scored.
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
        """Of the decisions, the mean over the models."""
        right = self.decisions == self.members
        kinds = self.members & self.scored, ~self.members & self.scored
        rates = [(right & kind).sum(axis=1) / kind.sum(axis=1) for kind in kinds]
        return float(np.mean(rates))

    @property
    def roc(self) -> Roc:
        """The ROC of all pairs of model and example together."""
        return roc(self.scores[self.scored], self.members[self.scored])


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Metrics, and what they are in resampled pools.

    Attributes:
        point: by name.
        drawn: by name, float64 [replicates]. With one seed and one shape of the pool replicate i
            draws the same models and records, so values of two attacks or methods are paired.
    """

    point: Mapping[str, float]
    drawn: Mapping[str, Float64]

    @property
    def metrics(self) -> dict[str, Metric]:
        """With 95% intervals, percentiles of what was drawn."""
        return {name: interval(value, self.drawn[name]) for name, value in self.point.items()}


def interval(point: float, drawn: Float64) -> Metric:
    """A value with the percentiles of its replicates as its 95% interval.

    >>> found = interval(50.0, np.arange(101.0))
    >>> round(found.low, 9), round(found.high, 9)
    (2.5, 97.5)
    """
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(drawn, [tail, 100 - tail])
    return Metric(point, float(low), float(high))


def resampled(
    models: int, records: int, seed: int, replicates: int = REPLICATES
) -> Iterator[tuple[Float64, Float64]]:
    """How often each model [M] and each record [N] is drawn, with replacement, in each replicate.

    Args:
        models: M.
        records: N.
        seed: of the drawing.
        replicates: how many.

    >>> [models.sum() for models, records in resampled(4, 10, seed=0, replicates=2)]
    [np.float64(4.0), np.float64(4.0)]
    """
    generator = np.random.default_rng(seed)
    for _ in range(replicates):
        yield (
            np.bincount(generator.integers(0, models, models), minlength=models).astype(float),
            np.bincount(generator.integers(0, records, records), minlength=records).astype(float),
        )


def bootstrap(
    found: PoolScores,
    seed: int,
    replicates: int = REPLICATES,
    *,
    fprs: Sequence[float] = FPRS,
) -> Bootstrap:
    """ASR, AUC and TPR at low FPR, in the pool and in resampled pools.

    Models and records are both drawn with replacement: records of one model share its training, and
    models share records, so a binomial interval over all pairs is several times too narrow.

    Args:
        found: scores and decisions.
        seed: of the bootstrap.
        replicates: how many.
        fprs: false positive rates at which the TPR is wanted, each in (0, 1].

    Returns:
        ``asr``: balanced accuracy of the decisions, and ``auc``, means over the models;
        ``tpr@0.001`` and so on of the ROC of all pairs, each left out if fewer than 10
        non-members resolve it.
    """
    measure = _Measure(found, fprs)
    models, records = found.scores.shape
    point = measure(np.ones((1, models)), np.ones((1, records)))
    drawn = list(resampled(models, records, seed, replicates))
    weights = np.array([one for one, _ in drawn]), np.array([one for _, one in drawn])
    return Bootstrap({name: float(value[0]) for name, value in point.items()}, measure(*weights))


_AT_ONCE = 1 << 14
"""Weights that are summed at once: what the processor's cache holds."""


class _Measure:
    """The metrics as functions of how much each model and each record counts.

    Sorting is done once; replicates only sum in that order.
    """

    def __init__(self, found: PoolScores, fprs: Sequence[float] = FPRS) -> None:
        kinds = found.members & found.scored, ~found.members & found.scored
        # Records first: a replicate's weights are multiplied by these.
        self.kinds = [kind.T.astype(np.float64) for kind in kinds]
        self.right = [(kind & (found.decisions == found.members)).T.astype(float) for kind in kinds]
        self.per_model = [
            _Area(found.scores[m, kept], found.members[m, kept], np.flatnonzero(kept))
            for m, kept in enumerate(found.scored)
        ]
        negatives = int(kinds[1].sum())
        which, where = np.nonzero(found.scored)
        scores, members = found.scores[found.scored], found.members[found.scored]
        self.starts = {
            fpr: _Start(scores, members, which, where, fpr)
            for fpr in fprs
            if negatives * fpr >= RESOLVING_NON_MEMBERS - 1e-9
        }

    def __call__(self, models: Float64, records: Float64) -> dict[str, Float64]:
        """For weights [replicates, M] and [replicates, N] values [replicates] by name."""
        totals = [records @ kind for kind in self.kinds]
        # Of few records a replicate may hold no member, or no non-member, of some model.
        models = models * (np.minimum(*totals) > 0)
        rates = [
            (records @ right) / np.maximum(total, 1)
            for right, total in zip(self.right, totals, strict=True)
        ]
        aucs = np.stack([one(records) for one in self.per_model], axis=1)
        members, non_members = ((total * models).sum(axis=1) for total in totals)
        with np.errstate(invalid="ignore"):  # a replicate without any model says nothing
            found = {
                name: (values * models).sum(axis=1) / models.sum(axis=1)
                for name, values in (("asr", (rates[0] + rates[1]) / 2), ("auc", aucs))
            }
            for fpr, start in self.starts.items():
                found[f"tpr@{fpr:g}"] = start(models, records, non_members) / members
        return found


def _in_parts(count: int, width: int) -> Iterator[slice]:
    step = max(1, _AT_ONCE // max(1, width))
    return (slice(start, start + step) for start in range(0, count, step))


class _Area:
    """The area under one model's weighted ROC, equal scores one step of it.

    Args:
        scores: float64 [n].
        members: bool [n].
        rows: int64 [n], which record each is.
    """

    def __init__(self, scores: Float64, members: Bools, rows: Int64) -> None:
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        self.rows = rows[order]
        self.members = members[order].astype(np.float64)
        steps = np.flatnonzero(ranked[1:] != ranked[:-1]) + 1
        self.tied = len(steps) + 1 < len(ranked)
        step = np.cumsum(np.isin(np.arange(len(ranked)), steps))
        # Of the cumulative sum with a leading 0: before and after the step an answer is in.
        self.before = np.append(0, steps)[step]
        self.after = np.append(steps, len(ranked))[step]

    def __call__(self, records: Float64) -> Float64:
        """Areas [replicates] for weights [replicates, N]; 0 without members or non-members."""
        found = np.empty(len(records))
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
            found[part] = weights @ (1 - self.members) / np.maximum(total * alarms, 1)
        return found


class _Start:
    """The weighted hits at a low FPR, for which only the largest scores of all pairs matter.

    Args:
        scores: float64 [n], of all pairs.
        members: bool [n].
        which: int64 [n], the model of each pair.
        where: int64 [n], the record of each pair.
        limit: the FPR.
    """

    def __init__(
        self, scores: Float64, members: Bools, which: Int64, where: Int64, limit: float
    ) -> None:
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        self.limit = limit
        self.ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self.which, self.where, self.members = which[order], where[order], members[order]
        alarms = np.cumsum(~self.members)[self.ends]
        # Twice the limit where every pair counts once: nearly every replicate ends before that.
        self.enough = int(np.searchsorted(alarms, 2 * limit * alarms[-1])) + 1

    def __call__(self, models: Float64, records: Float64, non_members: Float64) -> Float64:
        """Hits [replicates] at an FPR of at most the limit.

        Args:
            models: weights [replicates, M].
            records: weights [replicates, N].
            non_members: the weight of all non-members, [replicates].
        """
        return np.array(
            [self._hits(*one) for one in zip(models, records, non_members, strict=True)]
        )

    def _hits(self, models: Float64, records: Float64, non_members: float) -> float:
        allowed = (self.limit + 1e-12) * non_members
        for steps in (self.enough, len(self.ends)):
            ends = self.ends[:steps]
            count = ends[-1] + 1
            weights = models[self.which[:count]] * records[self.where[:count]]
            alarms = np.cumsum(np.where(self.members[:count], 0.0, weights))[ends]
            if alarms[-1] > allowed:
                break
        last = int(np.searchsorted(alarms, allowed, side="right"))
        return (
            float(weights[: ends[last - 1] + 1] @ self.members[: ends[last - 1] + 1])
            if last
            else 0.0
        )
