"""Any attack after the target's logits have been brought to the shadow models' scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, final

import numpy as np

from dynanoise.attacks.base import Attack, FittedAttack, HeldOut
from dynanoise.core import numerics, registry
from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.observation import Observation, ShadowObservations


class _Learned(NamedTuple):
    fitted: FittedAttack
    gap: float


@final
@dataclass(frozen=True)
class ScaleAligned(Attack):
    """An attack on answers that are rescaled to the shadow models' median top gap.

    For targets that were trained shorter or longer than the shadow models, or answer at a
    temperature the attacker does not know: the target's centred log-probabilities are multiplied
    by (median top gap of all answers of the shadow models that are not hidden) / (median top gap
    of the target's answers), both of original inputs. It needs no labels, and keeps every argmax.
    Answers without a gap stay as they are. Scores and decisions are those of the attack.

    Args:
        attack: an attack's name, with its parameters where they are not the usual ones, such as
            "threshold(statistic=hinge)".

    Raises:
        UnknownNameError, InputError: as of `Registry.build`.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits([[[4.0, 0.0], [2.0, 0.0]]], labels=[0, 0], use=[[1, 0]])
    >>> aligned = ScaleAligned("threshold").fit(shadows)
    >>> tempered = observe_logits([[0.4, 0.0], [0.2, 0.0]], labels=[0, 0])
    >>> aligned.score(tempered).round(6).tolist()
    [-0.0, -2.0]
    """

    attack: str = "threshold"
    title: ClassVar[str] = "Scale aligned"

    def __post_init__(self) -> None:
        registry.ATTACKS.build(self.attack)

    @property
    def aligned(self) -> bool:  # type: ignore[override]
        """As the attack."""
        return bool(registry.ATTACKS.build(self.attack).aligned)

    def learn(self, shadows: ShadowObservations) -> _Learned:
        """The fitted attack and the shadow models' median top gap."""
        shown = [
            numerics.top_gaps(seen.log_probs[use >= 0, 0])
            for seen, use in zip(shadows.observed, shadows.use, strict=True)
        ]
        gap = float(np.median(np.concatenate(shown)))
        return _Learned(registry.ATTACKS.build(self.attack).fit(shadows), gap)

    def formula(self, learned: _Learned, observed: Observation) -> Float64:
        """The attack's score of the rescaled answers."""
        own = float(np.median(numerics.top_gaps(observed.log_probs[:, 0])))
        scale = learned.gap / own if own > 0 and learned.gap > 0 else 1.0
        return learned.fitted.score(_rescaled(observed, scale))

    def decision(self, learned: _Learned, scores: Float64) -> Bools:
        """The attack's own."""
        return learned.fitted.decide(scores)

    def held_out(self, learned: _Learned) -> HeldOut | None:
        """The attack's own, of shadow models on their own scale."""
        return learned.fitted.held_out()


def _rescaled(observed: Observation, scale: float) -> Observation:
    def undo(log_probs: Float64) -> Float64:
        return scale * observed.undo(log_probs)

    return replace(
        observed,
        log_probs=numerics.log_softmax(scale * numerics.centred(observed.log_probs)),
        undo=undo,
        population=None if observed.population is None else _rescaled(observed.population, scale),
    )


ATTACKS = {"scale_aligned": ScaleAligned}
