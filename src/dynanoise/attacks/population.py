"""Attack-P: the target's output among its outputs on known non-members, without shadow models."""

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


def require_population(outputs: Observation, title: str) -> Observation:
    """Return a model's outputs on known non-members.

    Args:
        outputs: outputs of one model.
        title: the attack's name in messages.

    Returns:
        `Observation.population`.

    Raises:
        InputError: if there is none, or it is empty.
    """
    if outputs.population is None or len(outputs.population.labels) == 0:
        raise InputError(
            f"{title} compares outputs with those on known non-members, and none were passed.",
            "Give `Observation.population`, the same model's outputs on records that no model was "
            "trained on, such as a pool's reference.",
        )
    return outputs.population


def ranks(values: Float64, population: Float64) -> Float64:
    """Compute the share of the population that is smaller than each value, equal ones half.

    Args:
        values: float64 [N].
        population: float64 [P], P >= 1.

    Returns:
        float64 [N], in [0, 1].

    >>> ranks(np.array([0.0, 2.0, 9.0]), np.array([1.0, 2.0, 2.0, 3.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    ordered = np.sort(population)
    smaller = np.searchsorted(ordered, values, side="left")
    not_larger = np.searchsorted(ordered, values, side="right")
    return np.asarray((smaller + not_larger) / (2 * len(population)))


@final
@dataclass(frozen=True)
class Population(Attack):
    """Attack-P: the quantile of a statistic among the target's outputs on known non-members.

    Ye et al., CCS 2022, arXiv:2111.09679v4, Attack P. Needs outputs of the same model on records
    that no model was trained on (the population) and the true labels; no shadow models, so `fit()`
    takes none. Score: the share of the population whose statistic is smaller, equal ones counted
    half, in [0, 1]; larger = more likely a member. Member if the score is above 1 - alpha, so that
    of non-members like the population a share of alpha is called members, to within one record of
    the population where values have no ties. Statistics are averaged over a record's inputs.

    Args:
        alpha: the false positive rate to decide at, in (0, 1); 0.05 takes a few hundred known
            non-members.
        statistic: registered name of the statistic; "loss" in the paper.
        by_class: True compares with known non-members of the record's true class. A class with
            fewer than 1/alpha of them, which cannot resolve alpha, is compared with all.

    Raises:
        InputError: if alpha is not in (0, 1); on scoring, if there are no known non-members.
        UnknownNameError: for a statistic that is not registered.

    >>> from dataclasses import replace
    >>> from dynanoise.evaluation.responses import observe_logits
    >>> reference = np.log([[0.2, 0.8], [0.5, 0.5], [0.6, 0.4], [0.9, 0.1]])
    >>> target = observe_logits(np.log([[0.95, 0.05], [0.6, 0.4]]), labels=[0, 0])
    >>> fitted = Population(alpha=0.25).fit()
    >>> scores = fitted.score(replace(target, population=observe_logits(reference, [0, 0, 0, 0])))
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
        """Learn nothing."""

    def formula(self, learned: None, target: Observation) -> Float64:
        """Compute the quantile of each record's statistic, [N]."""
        population = require_population(target, self.title)
        values, reference = (
            statistics.average_inputs(statistics.compute(outputs, self.statistic))
            for outputs in (target, population)
        )
        scores = ranks(values, reference)
        if self.by_class:
            for label in np.unique(target.labels):
                records, peers = target.labels == label, population.labels == label
                if peers.sum() * self.alpha >= 1:
                    scores[records] = ranks(values[records], reference[peers])
        return scores

    def decision(self, learned: None, scores: Float64) -> Bools:
        """Compare score > 1 - alpha, [N]."""
        return np.asarray(scores > 1 - self.alpha)


ATTACKS = {"population": Population}
