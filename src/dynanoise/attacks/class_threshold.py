"""A signal against a threshold for each class, learned on one shadow model: the entropy attacks."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.numerics import Float64, Int64
from dynanoise.observed import Observed, Shadows
from dynanoise.types import Bools


def best_threshold(scores: Float64, members: Bools) -> float:
    """The t of greatest accuracy for "member if score >= t", among the scores themselves.

    Of several equally accurate thresholds the largest, so that ties are broken towards
    "not a member".

    Args:
        scores: float64 [N], N >= 1.
        members: bool [N].

    >>> best_threshold(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True]))
    4.0
    """
    order = np.argsort(-scores, kind="stable")
    ranked, truth = scores[order], members[order]
    hits: Int64 = np.cumsum(truth) + np.sum(~truth) - np.cumsum(~truth)
    last_of_equals = np.append(ranked[1:] != ranked[:-1], True)
    return float(ranked[last_of_equals][np.argmax(hits[last_of_equals])])


@dataclass(frozen=True)
class ClassThreshold(Attack):
    """Member if the signal reaches the threshold of the record's class.

    The thresholds maximise accuracy on the first shadow model (arXiv:2505.13362v2, after Song &
    Mittal 2021). A class without shadow examples uses the threshold over all classes. The score is
    the signal minus its threshold, so a score of 0 is a member.
    """

    @abstractmethod
    def signal(self, log_probs: Float64, labels: Int64) -> Float64:
        """The statistic [N], larger = more likely a member."""

    @abstractmethod
    def classes(self, log_probs: Float64, labels: Int64) -> Int64:
        """The class [N] whose threshold applies."""

    @final
    def learn(self, shadows: Shadows) -> Float64:
        """A threshold for each class, float64 [K]."""
        log_probs, labels, members = shadows.rows(models=1)
        signal, classes = self.signal(log_probs, labels), self.classes(log_probs, labels)
        thresholds = np.full(log_probs.shape[-1], best_threshold(signal, members))
        for label in np.unique(classes):
            chosen = classes == label
            thresholds[label] = best_threshold(signal[chosen], members[chosen])
        return thresholds

    @final
    def formula(self, learned: Float64, observed: Observed) -> Float64:
        """Signal minus the class's threshold."""
        log_probs, labels = observed.log_probs[:, 0], observed.labels
        return self.signal(log_probs, labels) - learned[self.classes(log_probs, labels)]

    @final
    def decision(self, learned: Float64, scores: Float64) -> Bools:
        """Signal >= threshold."""
        return np.asarray(scores >= 0)


@final
@dataclass(frozen=True)
class Entropy(ClassThreshold):
    """Entropy against a threshold for each *predicted* class; needs no label.

    >>> from dynanoise.audit.observe import answers, shadow_answers
    >>> shadows = shadow_answers(np.log([[[0.9, 0.1], [0.6, 0.4]]]), labels=[0, 0], use=[[1, 0]])
    >>> fitted = Entropy().fit(shadows)
    >>> scores = fitted.score(answers(np.log([[0.95, 0.05], [0.7, 0.3]]), labels=[0, 0]))
    >>> scores.round(4).tolist(), fitted.decide(scores).tolist()
    ([0.1266, -0.2858], [True, False])
    """

    title: ClassVar[str] = "Entropy"

    def signal(self, log_probs: Float64, labels: Int64) -> Float64:
        """-H(p)."""
        return statistics.entropy(log_probs, labels)

    def classes(self, log_probs: Float64, labels: Int64) -> Int64:
        """The predicted class."""
        predicted: Int64 = log_probs.argmax(axis=-1)
        return predicted


@final
@dataclass(frozen=True)
class ModifiedEntropy(ClassThreshold):
    """Modified entropy against a threshold for each *true* class (Song & Mittal 2021).

    >>> from dynanoise.audit.observe import answers, shadow_answers
    >>> shadows = shadow_answers(np.log([[[0.9, 0.1], [0.6, 0.4]]]), labels=[0, 0], use=[[1, 0]])
    >>> fitted = ModifiedEntropy().fit(shadows)
    >>> scores = fitted.score(answers(np.log([[0.95, 0.05], [0.05, 0.95]]), labels=[0, 0]))
    >>> scores.round(4).tolist(), fitted.decide(scores).tolist()
    ([0.0159, -5.6708], [True, False])
    """

    title: ClassVar[str] = "Mod. entropy"

    def signal(self, log_probs: Float64, labels: Int64) -> Float64:
        """Minus the modified entropy."""
        return statistics.modified_entropy(log_probs, labels)

    def classes(self, log_probs: Float64, labels: Int64) -> Int64:
        """The true class."""
        return labels


ATTACKS = {"entropy": Entropy, "modified_entropy": ModifiedEntropy}
