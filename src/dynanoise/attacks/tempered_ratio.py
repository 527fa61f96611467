"""Tempered ratios: the target's probability of the label over the shadow models' mean."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.attacks.rmia import log_mean
from dynanoise.attacks.thresholds import auc
from dynanoise.core import numerics
from dynanoise.core.errors import check
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.seeding import derive

TEMPERATURES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Candidates for the temperature."""

PAIRS = 20_000
"""Pairs of shadow model and record on which the temperature is chosen, at most."""


def tempered_log_probs(
    outputs: Observation, temperature: float, *, normalised: bool = False
) -> Float64:
    """Compute ln of the label's probability at a temperature.

    Args:
        outputs: outputs [N, A, K] of one model.
        temperature: T > 0, that the logits are divided by.
        normalised: True to divide the logits by the model's scale as well: the mean absolute
            scaled logit of its outputs on the population, or on the records without one.

    Returns:
        ln softmax(z / T)_y, float64 [N, A]; kept with the outputs.

    >>> from dynanoise.evaluation.responses import observe_logits
    >>> outputs = observe_logits([[4.0, 0.0]], labels=[0])
    >>> np.exp(tempered_log_probs(outputs, 2.0)).round(4).tolist()  # 1 / (1 + exp(-2))
    [[0.8808]]
    """
    name = f"tempered {temperature!r} {normalised}"
    if name not in outputs.memo:
        divisor = temperature * (_scale(outputs) if normalised else 1.0)
        tempered = numerics.log_softmax(outputs.log_probs / divisor)
        labels = np.broadcast_to(outputs.labels[:, None], tempered.shape[:2])
        outputs.memo[name] = numerics.take_label(tempered, labels)
    values: Float64 = outputs.memo[name]
    return values


def _scale(outputs: Observation) -> float:
    """Mean absolute scaled logit; 1 for a model whose outputs are all uniform."""
    source = outputs if outputs.population is None else outputs.population
    scale = float(np.abs(statistics.compute(source, "scaled_logit")).mean())
    return scale if scale > 0 else 1.0


class _Learned(NamedTuple):
    slots: Slots
    means: Float64  # [E, A]
    temperature: float
    normalised: bool


@final
@dataclass(frozen=True)
class TemperedRatio(Attack):
    """Ratio of the target's probability of the label to the mean of shadow models'.

    BASE (arXiv:2505.24089, NeurIPS 2025) with all probabilities at a temperature T: the score is
    ln p_T(target) - ln mean p_T(shadow models), over k in- and k out-models, in nats, averaged over
    the inputs of a record; larger = more likely a member, member if above 0. A temperature above 1
    makes probabilities near 1, which most members have, differ.

    Needs shadow models queried with the target's records, k in- and k out-models for each, and the
    true labels; no population, though its outputs set the scale of a model where there are any. The
    threat model says whether shadow outputs pass the target's defense. Records without shadow
    models score 0.

    Args:
        temperature: T > 0; 1 is BASE as published. None chooses the value of `TEMPERATURES` with
            the greatest AUC of the shadow models' own ratios, on at most `PAIRS` pairs of model and
            record.
        normalised: True to divide each model's logits by its scale first, see
            `tempered_log_probs`: for models whose logits differ in scale. None chooses likewise.
        seed: seed of the choice of pairs.

    Raises:
        InputError: if the temperature is not above 0; on fitting, if records have different numbers
            of in- and out-models.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits([[[2.0, 0.0]], [[0.0, 0.0]]], labels=[0], use=[[1], [0]])
    >>> fitted = TemperedRatio(temperature=1.0, normalised=False).fit(shadows)
    >>> fitted.score(observe_logits([[2.0, 0.0]], labels=[0])).round(4).tolist()
    [0.2436]
    >>> float(np.log(0.8808 / ((0.8808 + 0.5) / 2)).round(4))
    0.2436
    """

    temperature: float | None = None
    normalised: bool | None = None
    seed: int = 0
    title: ClassVar[str] = "Tempered ratio"
    aligned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(
            self.temperature is None or 0 < self.temperature < np.inf,
            f"The temperature is {self.temperature}.",
            "Use a number above 0, or None to have it chosen.",
        )

    def learn(self, shadows: ShadowObservations) -> _Learned:
        """Choose the temperature and the scale, and average the shadow models' probabilities."""
        temperature, normalised = self._choose(shadows)
        slots = shadows.slots
        inside, outside = slots.take(_stack(shadows, temperature, normalised))
        means = log_mean(np.concatenate([inside, outside]))
        return _Learned(slots, means, temperature, normalised)

    def formula(self, learned: _Learned, target: Observation) -> Float64:
        """Average over inputs ln of the ratio, [N]."""
        values = tempered_log_probs(target, learned.temperature, normalised=learned.normalised)
        ratios = values[learned.slots.rows] - learned.means
        return learned.slots.spread(ratios.mean(axis=1), len(target.labels))

    def _choose(self, shadows: ShadowObservations) -> tuple[float, bool]:
        """Temperature and scale with which the shadow models' ratios best tell their own members.

        A model is part of its records' means, which moves members and non-members alike.
        """
        temperatures = TEMPERATURES if self.temperature is None else (self.temperature,)
        scales = (False, True) if self.normalised is None else (self.normalised,)
        choices = list(itertools.product(temperatures, scales))
        if len(choices) == 1:
            return choices[0]
        slots = shadows.slots
        count = max(1, PAIRS // (2 * slots.k))
        by_id = np.argsort(shadows.ids[slots.rows])  # whatever the order of the records
        generator = np.random.default_rng(derive(self.seed, "tempered ratio"))
        chosen = by_id[generator.permutation(len(by_id))[:count]]
        sample = Slots(slots.rows[chosen], slots.inside[:, chosen], slots.outside[:, chosen])
        members = np.repeat([True, False], slots.k * len(chosen))
        success = []
        for temperature, normalised in choices:
            both = np.concatenate(sample.take(_stack(shadows, temperature, normalised)))
            scores = (both - log_mean(both)).mean(axis=2)
            success.append(auc(scores.ravel(), members))
        return choices[int(np.argmax(success))]


def _stack(shadows: ShadowObservations, temperature: float, normalised: bool) -> Float64:
    """`tempered_log_probs` of every shadow model, [S, N, A]."""
    return np.stack(
        [
            tempered_log_probs(model, temperature, normalised=normalised)
            for model in shadows.observations
        ]
    )


ATTACKS = {"tempered_ratio": TemperedRatio}
