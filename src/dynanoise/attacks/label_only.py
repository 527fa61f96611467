"""Label-only attacks: they use nothing but the predicted class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation, ShadowObservations


@final
@dataclass(frozen=True)
class Gap(Attack):
    """Member if the prediction for the original input is correct (Yeom et al. 2018, section 4.1).

    Learns nothing from shadow models; needs one predicted label a record and its true label. Its
    balanced accuracy is 0.5 + (train accuracy - test accuracy) / 2. Score: 1 for a correct
    prediction, 0 for a wrong one; larger = more likely a member.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.9, 0.1], [0.6, 0.4]]]), [0, 0], [[1, 0]])
    >>> fitted = Gap().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.6, 0.4], [0.4, 0.6]]), labels=[0, 0]))
    >>> scores.tolist(), fitted.decide(scores).tolist()
    ([1.0, 0.0], [True, False])
    """

    title: ClassVar[str] = "Gap"

    def learn(self, shadows: ShadowObservations) -> None:
        """Learn nothing."""

    def formula(self, learned: None, target: Observation) -> Float64:
        """Return 1 for a correct prediction of the original input, else 0, [N]."""
        return statistics.compute(target, "correctness")[:, 0]


class _PredictionScores(NamedTuple):
    """Scores of a correct and of a wrong prediction for each input, float64 [N, A] each."""

    correct: Float64
    wrong: Float64


@final
@dataclass(frozen=True)
class LabelOnly(Attack):
    """Likelihood of a correct or wrong prediction from models with the record, over without it.

    Score: ln(a_in / a_out) for a correct prediction, ln((1 - a_in) / (1 - a_out)) for a wrong one,
    with a = (hits + 1) / (n + 2) over the n shadow models that were (a_in) or were not (a_out)
    trained on this record: the log-likelihood ratio of one Bernoulli trial, each rate by Laplace's
    rule of succession. Over near-duplicates the sum, each input with rates of its own, as if their
    predictions were independent (Choquette-Choo et al. 2021 query such inputs; the ratio for each
    record follows the likelihood-ratio test of Carlini et al. 2022). In nats; larger = more likely
    a member, member if above 0. Records without shadow models score 0.

    Needs shadow models queried with the target's records, k in- and k out-models for each, and the
    true labels; of every output only the largest entry. A defense that keeps labels therefore
    leaves every score as it is, at this number of queries.

    Args:
        calibrate: "defended" counts the shadow models' predictions behind the defense, "clean"
            their undefended ones.

    Raises:
        InputError: for another ``calibrate``, in-models and out-models of different numbers, or a
            target with another number of inputs a record than the shadow models.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> right, wrong = [0.9, 0.1], [0.1, 0.9]
    >>> shadows = observe_shadow_logits(np.log([[right], [wrong]]), labels=[0], use=[[1], [0]])
    >>> fitted = LabelOnly().fit(shadows)  # rates 2/3 and 1/3
    >>> fitted.score(observe_logits(np.log([right]), labels=[0])).round(4).tolist()
    [0.6931]
    """

    calibrate: Literal["defended", "clean"] = "defended"
    title: ClassVar[str] = "Label only"
    aligned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.calibrate not in ("defended", "clean"):
            raise InputError(
                f"calibrate is {self.calibrate!r}.", "Use 'defended' or 'clean' shadow outputs."
            )

    def learn(self, shadows: ShadowObservations) -> _PredictionScores:
        """Compute the scores of a correct and of a wrong prediction for each input."""
        slots = shadows.slots
        clean = self.calibrate == "clean"
        stack = statistics.stack_clean if clean else statistics.stack_models
        sides = statistics.take_sides(shadows, stack(shadows, "correctness"))
        a_in, a_out = ((side.sum(axis=0) + 1) / (slots.k + 2) for side in sides)
        count = shadows.use.shape[1]
        return _PredictionScores(
            slots.spread(np.log(a_in / a_out), count),
            slots.spread(np.log((1 - a_in) / (1 - a_out)), count),
        )

    def formula(self, learned: _PredictionScores, target: Observation) -> Float64:
        """Sum the scores of the predictions over inputs, [N]."""
        correct = statistics.compute(target, "correctness")
        if correct.shape != learned.correct.shape:
            raise InputError(
                f"The target model was queried with {correct.shape[1]} inputs of each record, the "
                f"shadow models with {learned.correct.shape[1]}.",
                "Query all models with the same near-duplicates.",
            )
        scores: Float64 = np.where(correct > 0, learned.correct, learned.wrong).sum(axis=1)
        return scores


ATTACKS = {"gap": Gap, "label_only": LabelOnly}
