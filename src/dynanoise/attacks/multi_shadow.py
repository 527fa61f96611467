"""A classifier trained on the answers of all shadow models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack, HeldOut
from dynanoise.attacks.pseudo import among
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.seeding import derive

SIGNALS = (
    "confidence",
    "correctness",
    "entropy",
    "hinge",
    "loss",
    "modified_entropy",
    "scaled_logit",
)


class _Learned(NamedTuple):
    classifier: Any
    mean: Float64  # [7]
    sd: Float64  # [7]
    classes: int
    apart: HeldOut | None

    def design(self, signals: Float64, labels: Int64) -> Float64:
        """Standardised signals and the class as one-hot, [R, 7 + K]."""
        one_hot = np.eye(self.classes)[labels]
        return np.concatenate([(signals - self.mean) / self.sd, one_hot], axis=1)

    def score(self, signals: Float64, labels: Int64) -> Float64:
        """The log-odds [R]."""
        found: Float64 = self.classifier.decision_function(self.design(signals, labels))
        return found


@final
@dataclass(frozen=True)
class MultiShadow(Attack):
    """Logistic regression on seven standardised signals and the true class (Shokri et al. 2017).

    Pooled over all pairs of shadow model and record that are not hidden, of which at most ``rows``,
    drawn at random, are learned from; L2 penalty of 1. The class enters as one-hot: on pools of
    600 digits and 10,000 images interactions with the signals, or one classifier a class, changed
    the AUC by less than 0.01 either way. Signals are averaged over a
    record's inputs. Score: the log-odds of membership; member if above 0.

    Of five or more shadow models a fifth is kept apart, see `Attack.held_out`.

    Args:
        rows: pairs to learn from, at most.
        seed: of their choice.

    Raises:
        InputError: if ``rows`` is below 2, or the pairs drawn are all members or all non-members.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> probs = [[[0.9, 0.1], [0.6, 0.4]], [[0.5, 0.5], [0.8, 0.2]]]
    >>> shadows = observe_shadow_logits(np.log(probs), labels=[0, 0], use=[[1, 0], [0, 1]])
    >>> fitted = MultiShadow().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.95, 0.05], [0.05, 0.95]]), labels=[0, 0]))
    >>> fitted.decide(scores).tolist()
    [True, False]
    """

    rows: int = 20_000
    seed: int = 0
    title: ClassVar[str] = "Multi-shadow"

    def __post_init__(self) -> None:
        if self.rows < 2:
            raise InputError(f"rows is {self.rows}.", "Learn from at least two pairs.")

    def learn(self, shadows: ShadowObservations) -> _Learned:
        """The fitted classifier, and how signals are standardised for it."""
        models = range(len(shadows.use))
        apart = len(models) // 5
        signals, labels, members = _pairs(shadows, models[: len(models) - apart])
        generator = np.random.default_rng(derive(self.seed, "multi_shadow"))
        drawn = generator.permutation(len(labels))[: self.rows]
        if members[drawn].all() or not members[drawn].any():
            raise InputError(
                f"The {len(drawn)} pairs drawn are all members or all non-members.",
                "Use more rows.",
            )
        learned = self._fitted(signals[drawn], labels[drawn], members[drawn], shadows.classes)
        if not apart:
            return learned
        signals, labels, members = _pairs(shadows, models[-apart:])
        if members.all() or not members.any():
            return learned
        return learned._replace(apart=HeldOut(learned.score(signals, labels), members))

    def _fitted(self, signals: Float64, labels: Int64, members: Bools, classes: int) -> _Learned:
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        sd = signals.std(axis=0)
        learned = _Learned(
            LogisticRegression(max_iter=1000),
            signals.mean(axis=0),
            np.where(sd > 0, sd, 1.0),
            classes,
            None,
        )
        with threadpool_limits(1):  # on a busy machine threads mostly wait for each other
            learned.classifier.fit(learned.design(signals, labels), members)
        return learned

    def formula(self, learned: _Learned, observed: Observation) -> Float64:
        """ln(P(member) / P(non-member))."""
        signals = np.stack([statistics.of(observed, name).mean(axis=1) for name in SIGNALS], axis=1)
        return learned.score(signals, observed.labels)

    def held_out(self, learned: _Learned) -> HeldOut | None:
        """Scores of shadow models that nothing was learned from, where there are five or more."""
        return learned.apart


def _pairs(shadows: ShadowObservations, models: range) -> tuple[Float64, Int64, Bools]:
    """Signals [R, 7], labels [R] and membership [R] of what is not hidden of some shadow models."""
    chosen = among(shadows, models, shadows.use[models.start : models.stop])
    pooled = [statistics.pooled(chosen, name) for name in SIGNALS]
    return np.stack([values for values, _, _ in pooled], axis=1), *pooled[0][1:]


ATTACKS = {"multi_shadow": MultiShadow}
