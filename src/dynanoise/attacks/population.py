"""The target's answer among its answers about known non-members: no shadow models needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.core.errors import InputError, check
from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import STATISTICS


def known_non_members(observed: Observation, title: str) -> Observation:
    """The population of an attack that cannot do without.

    Raises:
        InputError: if there is none, or it is empty.
    """
    if observed.population is None or len(observed.population.labels) == 0:
        raise InputError(
            f"{title} compares answers with those about known non-members, and there are none.",
            "Give `Observation.population`, the same model's answers about records that no model "
            "was trained on, such as a pool's reference.",
        )
    return observed.population


def ranks(signal: Float64, known: Float64) -> Float64:
    """The share of known values that are smaller, equal ones counted half, in [0, 1].

    Args:
        signal: float64 [N].
        known: float64 [P], P >= 1.

    >>> ranks(np.array([0.0, 2.0, 9.0]), np.array([1.0, 2.0, 2.0, 3.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    ordered = np.sort(known)
    smaller = np.searchsorted(ordered, signal, side="left")
    not_larger = np.searchsorted(ordered, signal, side="right")
    return np.asarray((smaller + not_larger) / (2 * len(known)))


@final
@dataclass(frozen=True)
class Population(Attack):
    """Attack-P: the quantile of the signal among the target's answers about known non-members.

    Ye et al., CCS 2022, arXiv:2111.09679v4, Attack P. Score: the share of the
    population whose signal is smaller, equal ones counted half, in [0, 1]. Member if the score is
    above 1 - alpha, so that of non-members like the population a share of alpha is called members,
    to within one record of the population where signals have no ties. Signals are averaged over a
    record's inputs. It learns nothing from shadow models: `fit()` needs none.

    Args:
        alpha: the false positive rate to decide at, in (0, 1); 0.05 can be had from a few hundred
            known non-members.
        statistic: a registered statistic, "loss" in the paper.
        by_class: True compares with known non-members of the record's true class. A class with
            fewer than 1/alpha of them, which cannot resolve alpha, uses all.

    Raises:
        InputError: if alpha is not in (0, 1); on scoring, if there are no known non-members.
        UnknownNameError: for a statistic that is not registered.

    >>> from dataclasses import replace
    >>> from dynanoise.evaluation.responses import observe_logits
    >>> probs = [[0.2, 0.8], [0.5, 0.5], [0.6, 0.4], [0.9, 0.1]]
    >>> known = observe_logits(np.log(probs), [0, 0, 0, 0])
    >>> seen = replace(observe_logits(np.log([[0.95, 0.05], [0.6, 0.4]]), [0, 0]), population=known)
    >>> fitted = Population(alpha=0.25).fit()
    >>> scores = fitted.score(seen)
    >>> scores.tolist(), fitted.decide(scores).tolist()
    ([1.0, 0.625], [True, False])
    """

    alpha: float = 0.05
    statistic: str = "loss"
    by_class: bool = False
    title: ClassVar[str] = "Attack-P"
    needs_shadows: ClassVar[bool] = False
    needs_population: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(
            0 < self.alpha < 1,
            f"Attack-P's alpha is {self.alpha}.",
            "Use a false positive rate between 0 and 1, such as 0.05.",
        )
        STATISTICS.get(self.statistic)

    def learn(self, shadows: ShadowObservations) -> None:
        """Nothing."""

    def formula(self, learned: None, observed: Observation) -> Float64:
        """The quantile of each signal."""
        population = known_non_members(observed, self.title)
        signal = statistics.of(observed, self.statistic).mean(axis=1)
        known = statistics.of(population, self.statistic).mean(axis=1)
        scores = ranks(signal, known)
        if self.by_class:
            for label in np.unique(observed.labels):
                mine, theirs = observed.labels == label, population.labels == label
                if theirs.sum() * self.alpha >= 1:
                    scores[mine] = ranks(signal[mine], known[theirs])
        return scores

    def decision(self, learned: None, scores: Float64) -> Bools:
        """Score > 1 - alpha."""
        return np.asarray(scores > 1 - self.alpha)


ATTACKS = {"population": Population}
