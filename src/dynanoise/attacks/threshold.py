"""A signal against a threshold for each class, learned on all shadow models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.attacks.class_threshold import class_thresholds
from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import STATISTICS


@final
@dataclass(frozen=True)
class Threshold(Attack):
    """Member if the signal reaches the threshold of the record's *true* class.

    Song & Mittal, USENIX Security 2021, section 4.1, with the thresholds that maximise *balanced*
    accuracy over all pairs of shadow model and record that are not hidden. Of equally good
    thresholds the largest, towards "not a member". A class without both members and non-members
    uses the threshold over all classes. The score is the signal, averaged over a record's
    inputs, minus its class's threshold; a score of 0 is a member.

    Args:
        statistic: registered name of the signal.

    Raises:
        UnknownNameError: if no statistic is called so.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> probs = [[[0.9, 0.1], [0.6, 0.4]], [[0.5, 0.5], [0.8, 0.2]]]
    >>> shadows = observe_shadow_logits(np.log(probs), labels=[0, 0], use=[[1, 0], [0, 1]])
    >>> fitted = Threshold("loss").fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.8, 0.2], [0.7, 0.3]]), labels=[0, 0]))
    >>> scores.round(4).tolist(), fitted.decide(scores).tolist()
    ([0.0, -0.1335], [True, False])
    """

    statistic: str = "scaled_logit"
    title: ClassVar[str] = "Threshold"

    def __post_init__(self) -> None:
        STATISTICS.get(self.statistic)

    def learn(self, shadows: ShadowObservations) -> Float64:
        """A threshold for each class, float64 [K]."""
        values, labels, members = statistics.pooled(shadows, self.statistic)
        return class_thresholds(values, members, labels, shadows.classes, balanced=True)

    def formula(self, learned: Float64, observed: Observation) -> Float64:
        """Signal minus the class's threshold."""
        signal = statistics.of(observed, self.statistic).mean(axis=1)
        return np.asarray(signal - learned[observed.labels])

    def decision(self, learned: Float64, scores: Float64) -> Bools:
        """Signal >= threshold."""
        return np.asarray(scores >= 0)


ATTACKS = {"threshold": Threshold}
