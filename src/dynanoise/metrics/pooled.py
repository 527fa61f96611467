"""How well an attack does on a pool of models, with intervals over models and records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dynanoise.errors import InputError
from dynanoise.metrics.intervals import LEVEL
from dynanoise.metrics.roc import RESOLVING_NON_MEMBERS, Roc, roc
from dynanoise.numerics import Float64, Int64
from dynanoise.record import Metric
from dynanoise.types import Bools

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
    def roc(self) -> Roc:
        """The ROC of all pairs of model and example together."""
        return roc(self.scores[self.scored], self.members[self.scored])


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Metrics, and what they are in resampled pools.

    Attributes:
        point: by name.
        drawn: by name, float64 [replicates]. With one seed and one shape of the pool replicate i
            draws the same models and records, so values of two attacks or contenders are paired.
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
    low, high = np.percentile(drawn, [tail, 100 - tail])
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
    point = measure(np.ones(models), np.ones(records))
    drawn = [measure(*weights) for weights in resampled(models, records, seed, replicates)]
    return Bootstrap(point, {name: np.array([one[name] for one in drawn]) for name in point})


class _Measure:
    """The metrics as functions of how much each model and each record counts.

    Sorting is done once; a replicate only sums in that order.
    """

    def __init__(self, found: PoolScores, fprs: Sequence[float] = FPRS) -> None:
        self.members, self.scored, self.decisions = found.members, found.scored, found.decisions
        self.per_model = [
            _Sorted(found.scores[m, kept], found.members[m, kept], np.flatnonzero(kept))
            for m, kept in enumerate(found.scored)
        ]
        which, where = np.nonzero(found.scored)
        self.which = which
        self.together = _Sorted(found.scores[found.scored], found.members[found.scored], where)
        negatives = int((~found.members & found.scored).sum())
        self.fprs = [fpr for fpr in fprs if negatives * fpr >= RESOLVING_NON_MEMBERS - 1e-9]

    def __call__(self, models: Float64, records: Float64) -> dict[str, float]:
        weights = records * self.scored
        right = weights * (self.decisions == self.members)
        rates = [
            (right * kind).sum(axis=1) / (weights * kind).sum(axis=1)
            for kind in (self.members, ~self.members)
        ]
        aucs = np.array([one.auc(records[one.rows]) for one in self.per_model])
        found = {
            "asr": float(np.average((rates[0] + rates[1]) / 2, weights=models)),
            "auc": float(np.average(aucs, weights=models)),
        }
        pairs = models[self.which] * records[self.together.rows]
        for fpr in self.fprs:
            found[f"tpr@{fpr:g}"] = self.together.tpr_at(fpr, pairs)
        return found


class _Sorted:
    """Scores in falling order, and where steps of the ROC end; equal scores are one step."""

    def __init__(self, scores: Float64, members: Bools, rows: Int64) -> None:
        self.order = np.argsort(-scores, kind="stable")
        ranked = scores[self.order]
        self.members = members[self.order]
        self.ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self.rows = rows

    def _curve(self, weights: Float64) -> tuple[Float64, Float64]:
        weighed = weights[self.order]
        hits = np.cumsum(weighed * self.members)[self.ends]
        alarms = np.cumsum(weighed * ~self.members)[self.ends]
        return np.append(0.0, alarms / alarms[-1]), np.append(0.0, hits / hits[-1])

    def auc(self, weights: Float64) -> float:
        fpr, tpr = self._curve(weights)
        return float(np.trapezoid(tpr, fpr))

    def tpr_at(self, limit: float, weights: Float64) -> float:
        fpr, tpr = self._curve(weights)
        return float(tpr[fpr <= limit + 1e-12].max())
