"""Tempered ratios: the target's probability of the label over the shadow models' mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, NamedTuple, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.attacks.rmia import log_mean
from dynanoise.attacks.thresholds import auc
from dynanoise.core import numerics
from dynanoise.core.errors import check
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.seeding import derive

MULTIPLES = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
"""Candidates for the temperature, in units of a model's scale."""

PAIRS = 20_000
"""Pairs of shadow model and record on which the temperature is chosen, about."""

_NUMBERS = 1 << 21
"""Numbers in the outputs of these pairs, at most: with 1,000 classes there are fewer pairs."""


def tempered_log_probs(outputs: Observation, temperature: float) -> Float64:
    """Compute ln of the label's probability at a temperature.

    Args:
        outputs: outputs [N, A, K] of one model.
        temperature: T > 0, that the logits are divided by.

    Returns:
        ln softmax(z / T)_y, float64 [N, A]; kept with the outputs.

    >>> from dynanoise.evaluation.responses import observe_logits
    >>> outputs = observe_logits([[4.0, 0.0]], labels=[0])
    >>> np.exp(tempered_log_probs(outputs, 2.0)).round(4).tolist()  # 1 / (1 + exp(-2))
    [[0.8808]]
    """

    def at_temperature(log_probs: Float64, labels: Int64) -> Float64:
        return numerics.label_log_prob(log_probs, labels, temperature)

    return statistics.compute(outputs, f"tempered {temperature!r}", at_temperature)


def model_scale(outputs: Observation) -> float:
    """Compute the scale of a model's logits, so that models are compared at one.

    Args:
        outputs: outputs of one model.

    Returns:
        The mean absolute scaled logit on the population, or on the records without one; 1 for a
        model whose outputs are all uniform.

    >>> from dynanoise.evaluation.responses import observe_logits
    >>> round(model_scale(observe_logits([[4.0, 0.0], [0.0, 2.0]], labels=[0, 0])), 6)
    3.0
    """
    source = outputs if outputs.population is None else outputs.population
    scale = float(np.abs(statistics.compute(source, "scaled_logit")).mean())
    return scale if scale > 0 else 1.0


def scaled_log_probs(outputs: Observation, multiple: float) -> Float64:
    """Compute `tempered_log_probs` at a multiple of the model's own scale.

    Args:
        outputs: outputs [N, A, K] of one model.
        multiple: > 0.

    Returns:
        float64 [N, A]; kept with the outputs.
    """

    def at_scale(log_probs: Float64, labels: Int64) -> Float64:
        return numerics.label_log_prob(log_probs, labels, multiple * model_scale(outputs))

    return statistics.compute(outputs, f"scaled {multiple!r}", at_scale)


def stack_scaled(shadows: ShadowObservations, multiple: float) -> Float64:
    """Compute `scaled_log_probs` of every model of a pool, once for all selections of it.

    Args:
        shadows: outputs of shadow models, from a pool of M models.
        multiple: > 0.

    Returns:
        float64 [M, N, A].
    """
    formula = partial(scaled_log_probs, multiple=multiple)
    return statistics.stack_models(shadows, f"scaled {multiple!r}", formula)


class _Learned(NamedTuple):
    slots: Slots
    means: Float64  # [E, A]
    multiple: float | None  # of each model's scale; None for the attack's own temperature


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
        temperature: T > 0, the same for all models; 1 is BASE as published. None takes a multiple
            of every model's own scale (`model_scale`), so that models whose logits differ in scale
            are compared at one.
        multiple: that multiple, > 0; None chooses the value of `MULTIPLES` with the greatest AUC of
            the shadow models' own ratios, on about `PAIRS` pairs of model and record.
        seed: seed of the choice of pairs.

    Raises:
        InputError: if temperature or multiple is not above 0, or both are given; on fitting, if
            records have different numbers of in- and out-models.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits([[[2.0, 0.0]], [[0.0, 0.0]]], labels=[0], use=[[1], [0]])
    >>> fitted = TemperedRatio(temperature=1.0).fit(shadows)
    >>> fitted.score(observe_logits([[2.0, 0.0]], labels=[0])).round(4).tolist()
    [0.2436]
    >>> float(np.log(0.8808 / ((0.8808 + 0.5) / 2)).round(4))
    0.2436
    """

    temperature: float | None = None
    multiple: float | None = None
    seed: int = 0
    title: ClassVar[str] = "Tempered ratio"
    aligned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, value in (("temperature", self.temperature), ("multiple", self.multiple)):
            check(
                value is None or 0 < value < np.inf,
                f"The {name} is {value}.",
                "Use a number above 0, or None to have it chosen.",
            )
        check(
            self.temperature is None or self.multiple is None,
            f"Both the temperature {self.temperature} and the multiple {self.multiple} are given.",
            "Use the one for all models, or the multiple of every model's own scale.",
        )

    def learn(self, shadows: ShadowObservations) -> _Learned:
        """Choose the temperature, and average the shadow models' probabilities."""
        multiple = self.multiple
        if self.temperature is None and multiple is None:
            multiple = self._choose(shadows)
        slots = shadows.slots
        if multiple is not None:
            stacked = stack_scaled(shadows, multiple)
        else:
            formula = partial(self._values, multiple=None)
            stacked = statistics.stack_models(shadows, f"tempered {self.temperature!r}", formula)
        sides = statistics.take_sides(shadows, stacked)
        return _Learned(slots, log_mean(np.concatenate(sides)), multiple)

    def settle(self, learned: _Learned) -> TemperedRatio:
        """Return the attack with the multiple that it chose."""
        return replace(self, multiple=learned.multiple)

    def formula(self, learned: _Learned, target: Observation) -> Float64:
        """Average over inputs ln of the ratio, [N]."""
        values = self._values(target, learned.multiple)
        ratios = values[learned.slots.rows] - learned.means
        return learned.slots.spread(statistics.average_inputs(ratios), len(target.labels))

    def _values(self, outputs: Observation, multiple: float | None) -> Float64:
        if multiple is not None:
            return scaled_log_probs(outputs, multiple)
        assert self.temperature is not None
        return tempered_log_probs(outputs, self.temperature)

    def _choose(self, shadows: ShadowObservations) -> float:
        """The multiple at which the shadow models' ratios best tell their own members.

        A model is part of its records' means, which moves members and non-members alike.
        """
        slots = shadows.slots
        pairs = min(PAIRS, _NUMBERS // (shadows.observations[0].log_probs[0].size))
        by_id = np.argsort(shadows.ids[slots.rows])  # whatever the order of the records
        generator = np.random.default_rng(derive(self.seed, "tempered ratio"))
        chosen = by_id[generator.permutation(len(by_id))[: max(1, pairs // (2 * slots.k))]]
        rows = slots.rows[chosen]
        models = np.concatenate([slots.inside[:, chosen], slots.outside[:, chosen]])
        # Single precision is enough to compare temperatures.
        logits = np.stack(
            [
                (model.log_probs[rows] / model_scale(model)).astype(np.float32)
                for model in shadows.observations
            ]
        )
        both = logits[models, np.arange(len(rows))]
        labels = shadows.observations[0].labels[rows]
        at_label = np.take_along_axis(both, labels[None, :, None, None], axis=-1)[..., 0]
        members = np.repeat([True, False], slots.k * len(chosen))
        success = []
        for multiple in MULTIPLES:
            log_probs = at_label / multiple - numerics.logsumexp(both / multiple)
            scores = (log_probs - log_mean(log_probs)).mean(axis=2)
            success.append(auc(scores.ravel(), members))
        return MULTIPLES[int(np.argmax(success))]


ATTACKS = {"tempered_ratio": TemperedRatio}
