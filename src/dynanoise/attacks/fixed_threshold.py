"""A signal against a threshold fixed beforehand: the paper's confidence and loss attacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.observation import Observation, ShadowObservations


@final
@dataclass(frozen=True)
class Confidence(Attack):
    """Member if max p > threshold (arXiv:2505.13362v2, confidence attack, 0.9).

    Such a fixed threshold is no evidence of protection when it fails: with ten classes and a
    temperature of 10 a confidence above 0.9 needs a logit gap of about 44.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.99, 0.01], [0.6, 0.4]]]), [0, 0], [[1, 0]])
    >>> fitted = Confidence().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.95, 0.05], [0.3, 0.7]]), labels=[0, 0]))
    >>> scores.round(6).tolist(), fitted.decide(scores).tolist()
    ([0.95, 0.7], [True, False])
    """

    threshold: float = 0.9
    title: ClassVar[str] = "Confidence"
    needs_shadows: ClassVar[bool] = False

    def learn(self, shadows: ShadowObservations) -> None:
        """Nothing."""

    def formula(self, learned: None, observed: Observation) -> Float64:
        """max p."""
        return statistics.confidence(observed.log_probs[:, 0], observed.labels)

    def decision(self, learned: None, scores: Float64) -> Bools:
        """max p > threshold."""
        return np.asarray(scores > self.threshold)


@final
@dataclass(frozen=True)
class Loss(Attack):
    """Member if -ln p_y < threshold (arXiv:2505.13362v2, loss attack, 0.5 nats).

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.99, 0.01], [0.6, 0.4]]]), [0, 0], [[1, 0]])
    >>> fitted = Loss().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.95, 0.05], [0.3, 0.7]]), labels=[0, 0]))
    >>> scores.round(4).tolist(), fitted.decide(scores).tolist()
    ([-0.0513, -1.204], [True, False])
    """

    threshold: float = 0.5
    title: ClassVar[str] = "Loss"
    needs_shadows: ClassVar[bool] = False

    def learn(self, shadows: ShadowObservations) -> None:
        """Nothing."""

    def formula(self, learned: None, observed: Observation) -> Float64:
        """ln p_y."""
        return statistics.loss(observed.log_probs[:, 0], observed.labels)

    def decision(self, learned: None, scores: Float64) -> Bools:
        """-ln p_y < threshold."""
        return np.asarray(-scores < self.threshold)


ATTACKS = {"confidence": Confidence, "loss": Loss}
