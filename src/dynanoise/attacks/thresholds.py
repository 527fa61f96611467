"""Threshold attacks: a statistic of the output against a fixed or a learned threshold."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import STATISTICS

_NEVER = np.iinfo(np.int64).min


def auc(scores: Float64, members: Bools) -> float:
    """Compute the probability that a member's score is above a non-member's, ties counted half.

    Args:
        scores: float64 [N], larger = more likely a member.
        members: bool [N].

    Returns:
        In 0..1; 0.5 if all are of one kind.

    >>> auc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True]))
    0.875
    """
    inside, outside = np.sort(scores[members]), np.sort(scores[~members])
    pairs = len(inside) * len(outside)
    if pairs == 0:
        return 0.5
    below = np.searchsorted(outside, inside)
    # The search is the costly part, so it is repeated for ties alone.
    tied = inside[outside[np.minimum(below, len(outside) - 1)] == inside]
    ties = np.searchsorted(outside, tied, "right") - np.searchsorted(outside, tied)
    return float((below.sum() + ties.sum() / 2) / pairs)


def best_threshold(scores: Float64, members: Bools, *, balanced: bool = False) -> float:
    """Find the t of greatest accuracy for "member if score >= t", among the scores themselves.

    Of several equally accurate thresholds the largest, so that ties are broken towards
    "not a member".

    Args:
        scores: float64 [N], N >= 1.
        members: bool [N].
        balanced: True to maximise balanced accuracy, (TPR + TNR) / 2; needs both kinds.

    Returns:
        One of the scores.

    >>> scores, members = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])
    >>> best_threshold(scores, members), best_threshold(scores, members, balanced=True)
    (4.0, 4.0)
    """
    thresholds, _ = _best(scores, members, np.zeros(len(scores), dtype=np.int64), 1, balanced)
    return float(thresholds[0])


def class_thresholds(
    scores: Float64, members: Bools, labels: Int64, classes: int, *, balanced: bool = False
) -> Float64:
    """Find the `best_threshold` of each class.

    Args:
        scores: float64 [N], N >= 1.
        members: bool [N].
        labels: int64 [N], the class of each score, 0..classes-1.
        classes: K.
        balanced: True to maximise balanced accuracy. A class then needs both members and
            non-members, else one score of either kind.

    Returns:
        float64 [K]. A class with too few scores has the threshold over all classes.

    >>> scores, members = np.array([1.0, 2.0, 7.0, 6.0]), np.array([False, True, False, True])
    >>> class_thresholds(scores, members, np.array([0, 0, 2, 2]), 3, balanced=True).tolist()
    [2.0, 2.0, 6.0]
    """
    thresholds, counts = _best(scores, members, labels, classes, balanced)
    too_few = (counts.min(axis=1) if balanced else counts.sum(axis=1)) == 0
    if too_few.any():
        thresholds[too_few] = best_threshold(scores, members, balanced=balanced)
    return thresholds


def _best(
    scores: Float64, members: Bools, labels: Int64, classes: int, balanced: bool
) -> tuple[Float64, Int64]:
    """Thresholds [K] of all classes in one pass, and their non-members and members, int64 [K, 2].

    The threshold of a class without scores is NaN.
    """
    order = np.argsort(-scores)
    if classes > 1:
        # Few classes: sorting by a short integer is a radix sort, many times faster than `lexsort`.
        short = labels[order].astype(np.uint16 if classes <= 1 << 16 else np.int64)
        order = order[np.argsort(short, kind="stable")]
    ranked, groups = scores[order], labels[order]
    kinds = 2 * labels + members
    counts: Int64 = np.bincount(kinds, minlength=2 * classes).reshape(classes, 2)
    # The gain of calling one more score a member, in integers so that ties stay ties.
    gains = (counts[:, ::-1] if balanced else np.ones_like(counts)) * np.array([-1, 1])
    gained: Int64 = np.cumsum(gains.ravel()[kinds][order])
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
    gained -= np.repeat(np.append(0, gained[starts[1:] - 1]), np.diff(starts, append=len(order)))
    gained[:-1][(ranked[1:] == ranked[:-1]) & (groups[1:] == groups[:-1])] = _NEVER
    best = np.repeat(np.maximum.reduceat(gained, starts), np.diff(starts, append=len(order)))
    thresholds = np.full(classes, np.nan)
    winners = np.flatnonzero(gained == best)[::-1]
    thresholds[groups[winners]] = ranked[winners]  # the last assignment, the largest, stays
    return thresholds, counts


@final
@dataclass(frozen=True)
class Confidence(Attack):
    """Member if max p > threshold: the confidence attack of arXiv:2505.13362v2.

    Needs one query a record; no shadow models, no population, no label, no knowledge of the
    defense. Score: max p, in (0, 1]; larger = more likely a member.

    Such a fixed threshold does not show protection when it fails: with ten classes and a
    temperature of 10 a confidence above 0.9 needs a logit gap of about 44.

    Args:
        threshold: threshold on the confidence; 0.9 in the paper.

    >>> from dynanoise.evaluation.responses import observe_logits
    >>> fitted = Confidence().fit()
    >>> scores = fitted.score(observe_logits(np.log([[0.95, 0.05], [0.3, 0.7]]), labels=[0, 0]))
    >>> scores.round(6).tolist(), fitted.decide(scores).tolist()
    ([0.95, 0.7], [True, False])
    """

    threshold: float = 0.9
    title: ClassVar[str] = "Confidence"
    needs_shadows: ClassVar[bool] = False

    def learn(self, shadows: ShadowObservations) -> None:
        """Learn nothing."""

    def formula(self, learned: None, target: Observation) -> Float64:
        """Return max p of the original input, [N]."""
        return statistics.confidence(target.log_probs[:, 0], target.labels)

    def decision(self, learned: None, scores: Float64) -> Bools:
        """Compare max p > threshold, [N]."""
        return np.asarray(scores > self.threshold)


@final
@dataclass(frozen=True)
class Loss(Attack):
    """Member if -ln p_y < threshold: the loss attack of arXiv:2505.13362v2.

    Needs one query a record and its true label; no shadow models, no population, no knowledge of
    the defense. Score: ln p_y in nats, at most 0; larger = more likely a member.

    Args:
        threshold: threshold on the loss, in nats; 0.5 in the paper.

    >>> from dynanoise.evaluation.responses import observe_logits
    >>> fitted = Loss().fit()
    >>> scores = fitted.score(observe_logits(np.log([[0.95, 0.05], [0.3, 0.7]]), labels=[0, 0]))
    >>> scores.round(4).tolist(), fitted.decide(scores).tolist()
    ([-0.0513, -1.204], [True, False])
    """

    threshold: float = 0.5
    title: ClassVar[str] = "Loss"
    needs_shadows: ClassVar[bool] = False

    def learn(self, shadows: ShadowObservations) -> None:
        """Learn nothing."""

    def formula(self, learned: None, target: Observation) -> Float64:
        """Return ln p_y of the original input, [N]."""
        return statistics.loss(target.log_probs[:, 0], target.labels)

    def decision(self, learned: None, scores: Float64) -> Bools:
        """Compare -ln p_y < threshold, [N]."""
        return np.asarray(-scores < self.threshold)


@dataclass(frozen=True)
class ClassThreshold(Attack):
    """Member if the statistic reaches a threshold of the record's class.

    The base of the paper's two entropy attacks (arXiv:2505.13362v2, after Song & Mittal 2021). The
    thresholds maximise accuracy on the first shadow model, which need not have been queried with
    the target's records. A class without shadow records has the threshold over all classes. Score:
    statistic minus threshold, in nats; larger = more likely a member, 0 is a member.
    """

    @abstractmethod
    def statistic(self, log_probs: Float64, labels: Int64) -> Float64:
        """Compute the statistic.

        Args:
            log_probs: float64 [N, K].
            labels: int64 [N], the true classes.

        Returns:
            float64 [N], larger = more likely a member.
        """

    @abstractmethod
    def classes(self, log_probs: Float64, labels: Int64) -> Int64:
        """Choose the class whose threshold applies.

        Args:
            log_probs: float64 [N, K].
            labels: int64 [N], the true classes.

        Returns:
            int64 [N], in 0..K-1.
        """

    @final
    def learn(self, shadows: ShadowObservations) -> Float64:
        """Learn a threshold for each class, float64 [K]."""
        log_probs, labels, members = shadows.rows(models=1)
        values, classes = self.statistic(log_probs, labels), self.classes(log_probs, labels)
        return class_thresholds(values, members, classes, log_probs.shape[-1])

    @final
    def formula(self, learned: Float64, target: Observation) -> Float64:
        """Subtract the class's threshold from the statistic, [N]."""
        log_probs, labels = target.log_probs[:, 0], target.labels
        return self.statistic(log_probs, labels) - learned[self.classes(log_probs, labels)]

    @final
    def decision(self, learned: Float64, scores: Float64) -> Bools:
        """Compare statistic >= threshold, [N]."""
        return np.asarray(scores >= 0)


@final
@dataclass(frozen=True)
class Entropy(ClassThreshold):
    """Member if the entropy is below a threshold of the *predicted* class.

    Needs one shadow model and one query a record; no label of the target's records. See
    `ClassThreshold`.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.9, 0.1], [0.6, 0.4]]]), [0, 0], [[1, 0]])
    >>> fitted = Entropy().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.95, 0.05], [0.7, 0.3]]), labels=[0, 0]))
    >>> scores.round(4).tolist(), fitted.decide(scores).tolist()
    ([0.1266, -0.2858], [True, False])
    """

    title: ClassVar[str] = "Entropy"

    def statistic(self, log_probs: Float64, labels: Int64) -> Float64:
        """Return -H(p) in nats, [N]."""
        return statistics.entropy(log_probs, labels)

    def classes(self, log_probs: Float64, labels: Int64) -> Int64:
        """Return the predicted class, [N]."""
        predicted: Int64 = log_probs.argmax(axis=-1)
        return predicted


@final
@dataclass(frozen=True)
class ModifiedEntropy(ClassThreshold):
    """Member if the modified entropy is below a threshold of the *true* class.

    Song & Mittal, USENIX Security 2021, equation 6. Needs one shadow model, one query a record and
    its true label. See `ClassThreshold`.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.9, 0.1], [0.6, 0.4]]]), [0, 0], [[1, 0]])
    >>> fitted = ModifiedEntropy().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.95, 0.05], [0.05, 0.95]]), labels=[0, 0]))
    >>> scores.round(4).tolist(), fitted.decide(scores).tolist()
    ([0.0159, -5.6708], [True, False])
    """

    title: ClassVar[str] = "Mod. entropy"

    def statistic(self, log_probs: Float64, labels: Int64) -> Float64:
        """Return minus the modified entropy in nats, [N]."""
        return statistics.modified_entropy(log_probs, labels)

    def classes(self, log_probs: Float64, labels: Int64) -> Int64:
        """Return the true class, [N]."""
        return labels


@final
@dataclass(frozen=True)
class Threshold(Attack):
    """Member if the statistic reaches a threshold of the record's *true* class.

    Song & Mittal, USENIX Security 2021, section 4.1, with thresholds that maximise *balanced*
    accuracy over all pairs of shadow model and record that are not hidden; of equally good
    thresholds the largest. A class without both members and non-members has the threshold over all
    classes.

    Needs shadow models, whatever records they were queried with, and the records' true labels; the
    threat model says whether their outputs pass the target's defense. Score: the statistic,
    averaged over a record's inputs, minus its class's threshold; larger = more likely a member, 0
    is a member.

    Args:
        statistic: registered name of the statistic.

    Raises:
        UnknownNameError: for an unknown statistic.

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
        """Learn a threshold for each class, float64 [K]."""
        values, labels, members = statistics.pool_shadows(shadows, self.statistic)
        return class_thresholds(values, members, labels, shadows.classes, balanced=True)

    def formula(self, learned: Float64, target: Observation) -> Float64:
        """Subtract the class's threshold from the mean statistic, [N]."""
        values = statistics.average_inputs(statistics.compute(target, self.statistic))
        return np.asarray(values - learned[target.labels])

    def decision(self, learned: Float64, scores: Float64) -> Bools:
        """Compare statistic >= threshold, [N]."""
        return np.asarray(scores >= 0)


ATTACKS = {
    "confidence": Confidence,
    "loss": Loss,
    "entropy": Entropy,
    "modified_entropy": ModifiedEntropy,
    "threshold": Threshold,
}
