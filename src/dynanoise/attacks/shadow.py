"""A classifier trained on a shadow model's answers: the paper's shadow attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.core import numerics
from dynanoise.core.numerics import Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations


def features(log_probs: Float64, labels: Int64) -> Float64:
    """[max p, entropy, modified entropy, p_y, -ln p_y] of each row, float64 [N, 5].

    Probabilities are clamped to [1e-12, 1 - 1e-12] as in the paper's artifact.

    >>> features(np.log([[0.9, 0.1]]), np.array([0])).round(4).tolist()
    [[0.9, 0.3251, 0.0211, 0.9, 0.1054]]
    """
    clipped = numerics.clip_log_probabilities(log_probs)
    own = numerics.take_label(clipped, labels)
    return np.column_stack(
        [
            statistics.confidence(clipped, labels),
            -statistics.entropy(clipped, labels),
            -statistics.modified_entropy(clipped, labels),
            np.exp(own),
            -own,
        ]
    )


@final
@dataclass(frozen=True)
class Shadow(Attack):
    """Logistic regression on five features of the first shadow model (arXiv:2505.13362v2).

    Unstandardised features, L2 penalty of 1, lbfgs: scikit-learn's defaults, as published. Score:
    the log-odds of membership; member if above 0.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.9, 0.1], [0.6, 0.4]]]), [0, 0], [[1, 0]])
    >>> fitted = Shadow().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.95, 0.05], [0.05, 0.95]]), labels=[0, 0]))
    >>> fitted.decide(scores).tolist()
    [True, False]
    """

    title: ClassVar[str] = "Shadow"

    def learn(self, shadows: ShadowObservations) -> Any:
        """The fitted classifier."""
        from sklearn.linear_model import LogisticRegression

        log_probs, labels, members = shadows.rows(models=1)
        return LogisticRegression(max_iter=1000).fit(features(log_probs, labels), members)

    def formula(self, learned: Any, observed: Observation) -> Float64:
        """ln(P(member) / P(non-member))."""
        log_odds: Float64 = learned.decision_function(
            features(observed.log_probs[:, 0], observed.labels)
        )
        return log_odds


ATTACKS = {"shadow": Shadow}
