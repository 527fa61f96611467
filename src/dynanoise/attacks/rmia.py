"""RMIA, the robust attack: a record's likelihood ratio against those of known non-members."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.attacks.population import require_population
from dynanoise.attacks.pseudo_targets import pseudo_targets
from dynanoise.attacks.thresholds import auc
from dynanoise.core.errors import InputError, TooFewRecordsError, check
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations

GRID = tuple(step / 10 for step in range(11))
"""Candidates for `a`."""

PSEUDO_TARGETS = 4
"""Number of pseudo-targets that `a` is chosen on."""


def log_mean(log_probs: Float64) -> Float64:
    """Compute ln of the mean probability over the first axis.

    Args:
        log_probs: float64 [S, ...], ln of probabilities.

    Returns:
        float64 [...].

    >>> log_mean(np.array([-1000.0, -1000.0])).item()
    -1000.0
    """
    top = log_probs.max(axis=0)
    with np.errstate(under="ignore"):
        parts = log_probs - top
        return np.asarray(top + np.log(np.exp(parts, out=parts).mean(axis=0)))


def offline_log_mean(log_mean_out: Float64, a: float) -> Float64:
    """Compute ln(((1 + a) mean_out + 1 - a) / 2), which stands for in- and out-models offline.

    Args:
        log_mean_out: float64 [...], ln of the out-models' mean probability.
        a: in [0, 1]; 1 leaves the mean as it is.

    Returns:
        float64 [...].

    >>> np.exp(offline_log_mean(np.log([0.5, 0.5]), 0.2)).round(12).tolist()
    [0.7, 0.7]
    """
    if a == 1:
        return log_mean_out
    # What underflows here is nothing beside the second term.
    with np.errstate(under="ignore"):
        return np.asarray(np.log((1 + a) / 2 * np.exp(log_mean_out) + (1 - a) / 2))


def share_exceeded(log_ratios: Float64, population: Float64, gamma: float) -> Float64:
    """Compute the share of z with r_x / r_z > gamma, strictly, in O(N log N + P log P).

    Args:
        log_ratios: float64 [...], ln r_x.
        population: float64 [P], ln r_z, P >= 1.
        gamma: > 0.

    Returns:
        float64 [...], in [0, 1].

    >>> share_exceeded(np.log([1.0, 2.0, 9.0]), np.log([1.0, 1.0, 4.0, 0.5]), 2.0).tolist()
    [0.0, 0.25, 1.0]
    """
    bar = np.ravel(log_ratios) - np.log(gamma)
    # Searching in order stays within the cache, which more than pays for sorting.
    order = np.argsort(bar)
    smaller = np.empty(len(bar), dtype=np.int64)
    smaller[order] = np.searchsorted(np.sort(population), bar[order], side="left")
    return np.asarray((smaller / len(population)).reshape(np.shape(log_ratios)))


class MeanProbabilities(NamedTuple):
    """ln of the shadow models' mean probability of the true class, behind p(x) and p(z).

    Attributes:
        slots: in- and out-models of the E records that have shadow models.
        records: float64 [E, A], over in- and out-models, or offline over out-models.
        population: float64 [P, B], over all models; B inputs a record of the population.
        by_model: float64 [S, P, B], of each model on the population.
        ids: int64 [P], the population's records.
    """

    slots: Slots
    records: Float64
    population: Float64
    by_model: Float64
    ids: Int64

    @property
    def comparisons(self) -> int:
        """Number of pairs, an input of a record and one of the population, behind a share."""
        return int(self.records.shape[1] * self.population.size)


def mean_probabilities(
    shadows: ShadowObservations, title: str, *, offline: bool
) -> MeanProbabilities:
    """Average the probability of the true class over shadow models.

    Args:
        shadows: outputs of S shadow models, each with the same population.
        title: the attack's name in messages.
        offline: True to average a record over its out-models only.

    Returns:
        Logarithms of the means, for records and population.

    Raises:
        InputError: if a model has no population, or another than the first model's.
    """
    slots = shadows.slots
    populations = [require_population(model, title) for model in shadows.observations]
    same = all(np.array_equal(other.ids, populations[0].ids) for other in populations)
    check(
        same,
        "The shadow models were queried with different known non-members.",
        "Query all models with the same population.",
    )
    stacked = statistics.stack_models(shadows, "loss")
    inside, outside = map(log_mean, statistics.take_sides(shadows, stacked))
    records = outside if offline else np.logaddexp(inside, outside) - np.log(2)
    by_model = np.stack([statistics.compute(model, "loss") for model in populations])
    return MeanProbabilities(slots, records, log_mean(by_model), by_model, populations[0].ids)


def _log_p(log_mean_probs: Float64, a: float | None) -> Float64:
    """ln p(x) or ln p(z), which online is the mean itself."""
    return log_mean_probs if a is None else offline_log_mean(log_mean_probs, a)


class _Learned(NamedTuple):
    means: MeanProbabilities
    a: float | None  # None online
    threshold: float


@final
@dataclass(frozen=True)
class Rmia(Attack):
    """RMIA: how often a record's likelihood ratio exceeds that of a known non-member.

    Zarifzadeh, Liu & Shokri, ICML 2024, arXiv:2312.03262v3. r_x = p_target(x) / p(x) with p the
    probability of the true class, and the score is the share of the population's records z, known
    non-members of all models, with r_x / r_z > gamma, averaged over the inputs of a record; larger
    = more likely a member. The population's inputs all count as records. Member if the share is
    above that of a record with r_x = 1, halfway between in- and out-models, as the shadow models
    would score it.

    Most shares of a small population are equal. Ties are broken by the ratio itself, which with one
    query has the same order: at most a quarter of the step between two shares is added to a score,
    nothing for r_x = 1.

    Needs shadow models queried with the target's records, k in- and k out-models for each (offline
    only the out-models are used); outputs of target and shadow models on the same population; and
    the true labels. The threat model says whether shadow outputs pass the target's defense.

    Online, p(x) = (mean_in + mean_out) / 2 over k models of either kind. Offline it is
    ((1 + a) mean_out + 1 - a) / 2, where `a` says how far members' probabilities rise: 1 not at
    all. p(z) is taken over all shadow models, since all are out-models for z; offline it is the
    same function of their mean as p(x). Online there are no in-models to average with: r_z is
    larger than it would be with some, and gamma a higher bar. As every x meets the same r_z, that
    changes which scores are equal but never the order of any two.

    The score grows with r_x, so the population's ratios are sorted once: O(N log N + P log P).
    Computed in logarithms, where neither probabilities nor ratios underflow. Records without shadow
    models score 0.

    Args:
        offline: True uses no model that was trained on the record.
        a: in [0, 1], for offline only; None chooses the value of `GRID` with the greatest mean AUC
            over `PSEUDO_TARGETS` pseudo-targets. In a pool these hold a record independently of the
            target, so that none is its complement.
        gamma: > 0; the paper's is 2.
        seed: seed of the choice of pseudo-targets.

    Raises:
        InputError: if a or gamma is out of range; if the target or a shadow model has no
            population, or not the others'; if records have different numbers of shadow models.
        TooFewRecordsError: if ``a`` is to be chosen with one shadow model of either kind.

    >>> from dataclasses import replace
    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> def two(*p):
    ...     return np.log([[x, 1 - x] for x in p])
    >>> references = [observe_logits(two(*p), [0, 0]) for p in [(0.5, 0.2), (0.5, 0.6), (0.5, 0.5)]]
    >>> shadows = observe_shadow_logits([two(0.9), two(0.6)], labels=[0], use=[[1], [0]])
    >>> observed = [replace(o, population=z) for o, z in zip(shadows.observations, references)]
    >>> fitted = Rmia().fit(replace(shadows, observations=tuple(observed)))
    >>> target = observe_logits(two(0.99), labels=[0])
    >>> fitted.score(replace(target, population=references[2])).round(4).tolist()  # 0 of 2
    [0.0272]
    >>> # r_x = 1.32 is more than twice r_z = 0.1 / 0.4, and less than twice 0.5 / 0.5
    >>> one_of_two = replace(target, population=observe_logits(two(0.5, 0.1), [0, 0]))
    >>> fitted.score(one_of_two).round(4).tolist()
    [0.5272]
    """

    offline: bool = False
    a: float | None = None
    gamma: float = 2.0
    seed: int = 0
    title: ClassVar[str] = "RMIA"
    aligned: ClassVar[bool] = True
    needs_population: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(
            self.a is None or 0 <= self.a <= 1,
            f"RMIA's a is {self.a}.",
            "Use a number from 0 to 1, or None to have it chosen.",
        )
        check(
            0 < self.gamma < np.inf, f"RMIA's gamma is {self.gamma}.", "Use a number above 0, or 2."
        )

    def learn(self, shadows: ShadowObservations) -> _Learned:
        """Average over the shadow models, and choose `a` offline."""
        a = None
        if self.offline:
            a = self._choose_a(shadows) if self.a is None else self.a
        means = mean_probabilities(shadows, self.title, offline=self.offline)
        ratios = means.by_model - _log_p(means.population, a)
        share = float(np.mean(ratios < -np.log(self.gamma)))
        return _Learned(means, a, share)

    def settle(self, learned: _Learned) -> Rmia:
        """Return the attack with the `a` that it chose offline."""
        return replace(self, a=learned.a)

    def gather(self, shadows: ShadowObservations) -> None:
        """Return None: each record is compared with the population, which is the same for all."""
        if self.offline and self.a is None:
            raise InputError(
                "RMIA's a is to be chosen on all records.",
                "Say what it is, such as rmia(offline=True, a=0.3).",
            )

    def formula(self, learned: _Learned, target: Observation) -> Float64:
        """Compute the share of the population that each record exceeds, ties broken, [N]."""
        return self._shares(learned.means, learned.a, target)

    def decision(self, learned: _Learned, scores: Float64) -> Bools:
        """Compare share > the learned threshold, [N]."""
        count = learned.means.comparisons
        # Scores are within a quarter of a step of their shares, which are n / count.
        return np.asarray(scores > (np.floor(learned.threshold * count + 1e-9) + 0.5) / count)

    def _shares(self, means: MeanProbabilities, a: float | None, target: Observation) -> Float64:
        population = require_population(target, self.title)
        log_probs = statistics.compute(population, "loss")
        shape = means.population.shape
        if not np.array_equal(population.ids, means.ids) or log_probs.shape != shape:
            raise InputError(
                f"The target's population, of shape {log_probs.shape}, is not the shadow models', "
                f"of shape {shape}.",
                "Ask all models about the same population.",
            )
        ratios = statistics.compute(target, "loss")[means.slots.rows] - _log_p(means.records, a)
        population_ratios = (log_probs - _log_p(means.population, a)).ravel()
        shares = statistics.average_inputs(share_exceeded(ratios, population_ratios, self.gamma))
        middle = statistics.average_inputs(ratios)
        # Rising, in (-1/4, 1/4), 0 for a ratio of 1, and never equal where ratios differ.
        fractions = middle / (1 + np.abs(middle)) / 4
        return means.slots.spread(shares + fractions / means.comparisons, len(target.labels))

    def _choose_a(self, shadows: ShadowObservations) -> float:
        if shadows.slots.k < 2:
            raise TooFewRecordsError(
                "Each record has one shadow model of either kind, too few to play one as a target.",
                "Use more models, or say what a is: the paper's for CIFAR-10 is 0.3.",
            )
        total = np.zeros(len(GRID))
        for pseudo in pseudo_targets(shadows, PSEUDO_TARGETS, self.seed):
            means = mean_probabilities(pseudo.shadows, self.title, offline=True)
            truth = pseudo.members[pseudo.scored]
            for position, a in enumerate(GRID):
                scores = self._shares(means, a, pseudo.target)[pseudo.scored]
                total[position] += auc(scores, truth)
        return GRID[int(np.argmax(total))]


ATTACKS = {"rmia": Rmia}
