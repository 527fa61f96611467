"""A signal against a threshold for each class, learned on one shadow model: the entropy attacks."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations

_NEVER = np.iinfo(np.int64).min


def best_threshold(scores: Float64, members: Bools, *, balanced: bool = False) -> float:
    """The t of greatest accuracy for "member if score >= t", among the scores themselves.

    Of several equally accurate thresholds the largest, so that ties are broken towards
    "not a member".

    Args:
        scores: float64 [N], N >= 1.
        members: bool [N].
        balanced: True to maximise balanced accuracy, (TPR + TNR) / 2; needs both kinds.

    >>> scores, members = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])
    >>> best_threshold(scores, members), best_threshold(scores, members, balanced=True)
    (4.0, 4.0)
    """
    found = _best(scores, members, np.zeros(len(scores), dtype=np.int64), 1, balanced)
    return float(found[0])


def class_thresholds(
    scores: Float64, members: Bools, labels: Int64, classes: int, *, balanced: bool = False
) -> Float64:
    """The `best_threshold` of each class; that over all classes where a class cannot tell.

    Args:
        scores: float64 [N], N >= 1.
        members: bool [N].
        labels: int64 [N], the class of each score, 0..classes-1.
        classes: K.
        balanced: as for `best_threshold`. A class needs both kinds then, else any score.

    Returns:
        float64 [K].

    >>> scores, members = np.array([1.0, 2.0, 7.0, 6.0]), np.array([False, True, False, True])
    >>> class_thresholds(scores, members, np.array([0, 0, 2, 2]), 3, balanced=True).tolist()
    [2.0, 2.0, 6.0]
    """
    found = _best(scores, members, labels, classes, balanced)
    inside = np.bincount(labels[members], minlength=classes)
    outside = np.bincount(labels[~members], minlength=classes)
    cannot = (np.minimum(inside, outside) if balanced else inside + outside) == 0
    if cannot.any():
        found[cannot] = best_threshold(scores, members, balanced=balanced)
    return found


def _best(scores: Float64, members: Bools, labels: Int64, classes: int, balanced: bool) -> Float64:
    """Thresholds [K] of all classes in one pass; NaN for a class without scores."""
    order = np.argsort(-scores)
    # Few classes: sorting by a short integer is a radix sort, many times faster than `lexsort`.
    short = labels[order].astype(np.uint16 if classes <= 1 << 16 else np.int64)
    order = order[np.argsort(short, kind="stable")]
    ranked, truth, groups = scores[order], members[order], labels[order]
    # What calling one more score a member gains, in integers so that ties stay ties.
    hit, alarm = np.ones(classes, dtype=np.int64), np.ones(classes, dtype=np.int64)
    if balanced:
        hit = np.bincount(labels[~members], minlength=classes)
        alarm = np.bincount(labels[members], minlength=classes)
    gained: Int64 = np.cumsum(np.where(truth, hit[groups], -alarm[groups]))
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
    gained -= np.repeat(np.append(0, gained[starts[1:] - 1]), np.diff(starts, append=len(order)))
    gained[:-1][(ranked[1:] == ranked[:-1]) & (groups[1:] == groups[:-1])] = _NEVER
    best = np.repeat(np.maximum.reduceat(gained, starts), np.diff(starts, append=len(order)))
    thresholds = np.full(classes, np.nan)
    winners = np.flatnonzero(gained == best)[::-1]
    thresholds[groups[winners]] = ranked[winners]  # the last assignment, the largest, stays
    return thresholds


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
    def learn(self, shadows: ShadowObservations) -> Float64:
        """A threshold for each class, float64 [K]."""
        log_probs, labels, members = shadows.rows(models=1)
        signal, classes = self.signal(log_probs, labels), self.classes(log_probs, labels)
        return class_thresholds(signal, members, classes, log_probs.shape[-1])

    @final
    def formula(self, learned: Float64, observed: Observation) -> Float64:
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

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.9, 0.1], [0.6, 0.4]]]), [0, 0], [[1, 0]])
    >>> fitted = Entropy().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.95, 0.05], [0.7, 0.3]]), labels=[0, 0]))
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

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.9, 0.1], [0.6, 0.4]]]), [0, 0], [[1, 0]])
    >>> fitted = ModifiedEntropy().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.95, 0.05], [0.05, 0.95]]), labels=[0, 0]))
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
