"""What every attack shares: the author writes the formula, checks are made here, once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.observation import Observation, ShadowObservations


class HeldOut(NamedTuple):
    """Scores [R] of pairs of shadow model and record, and whether they are members, bool [R].

    What an attack with one costly fit has instead of being fitted again on every pseudo-target: its
    strength and its best threshold can be estimated from these before the target is seen.
    """

    scores: Float64
    members: Bools


@dataclass(frozen=True)
class Attack(ABC):
    """A rule that turns answers into membership scores; larger = more likely a member.

    Subclasses are final and write `learn`, `formula` and, where the decision is not simply a
    positive score, `decision`. They never see the target's membership.

    Attributes:
        title: the column heading in tables; the class's name unless given.
        aligned: True if shadows and target must answer the same records.
        needs_shadows: False if the rule learns nothing from shadow models, so that `fit()` without
            any audits a single model. Shadows that are given all the same are checked like others'.
        needs_population: True if the rule compares with answers about known non-members.
    """

    title: ClassVar[str]
    aligned: ClassVar[bool] = False
    needs_shadows: ClassVar[bool] = True
    needs_population: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "title" not in vars(cls):
            cls.title = cls.__name__

    @abstractmethod
    def learn(self, shadows: ShadowObservations) -> Any:
        """What the rule learns from shadow models: any value `formula` and `decision` take."""

    @abstractmethod
    def formula(self, learned: Any, observed: Observation) -> Float64:
        """Scores [N] of the observed records."""

    def gather(self, shadows: ShadowObservations) -> Any:
        """What some of the examples add to what is shared by all; None where nothing is.

        Values of several parts of the examples are added by ``+`` (see `audit.shards`).

        Raises:
            InputError: if the rule cannot be applied to some of the examples at a time.
        """
        raise InputError(
            f"{self.title} learns from all records at once.",
            "By shards use lira, or rmia with a number for a where it is offline.",
        )

    def learn_part(self, shadows: ShadowObservations, gathered: Any) -> Any:
        """As `learn` of all examples, for some of them.

        Args:
            shadows: about these examples.
            gathered: the sum of `gather` over all examples.
        """
        return self.learn(shadows)

    def held_out(self, learned: Any) -> HeldOut | None:
        """Scores of what `learn` kept apart, where it kept something apart; else None."""
        return None

    def decision(self, learned: Any, scores: Float64) -> Bools:
        """Member or not [N], at the rule's own threshold."""
        return np.asarray(scores > 0)

    @final
    def fit(self, shadows: ShadowObservations | None = None) -> FittedAttack:
        """The attack, ready to score.

        Args:
            shadows: what the attacker holds on its own models; None only for attacks that need
                none, whose `learn` is then not asked.

        Raises:
            InputError: if the shadows hold no member or no non-member, or are missing.
        """
        if shadows is None:
            if self.needs_shadows:
                raise InputError(
                    f"{self.title} learns from shadow models, and there are none.",
                    "Train some, or use an attack that needs none, such as population.",
                )
            return FittedAttack(self, None)
        if not ((shadows.use == 1).any() and (shadows.use == 0).any()):
            raise InputError(
                "The shadow models' outputs hold no members or no non-members.",
                "Give every attack shadow outputs of both kinds.",
            )
        return FittedAttack(self, self.learn(shadows), shadows.observed[0])

    @final
    def fit_part(self, shadows: ShadowObservations, gathered: Any) -> FittedAttack:
        """The attack, ready to score some of the examples; see `learn_part`."""
        return FittedAttack(self, self.learn_part(shadows, gathered), shadows.observed[0])


@final
@dataclass(frozen=True, eq=False)
class FittedAttack:
    """An attack and what it learned. Made by `Attack.fit`.

    Attributes:
        example: answers of a shadow model, which the target's must be like; None without shadows.
    """

    attack: Attack
    learned: Any
    example: Observation | None = None

    def score(self, observed: Observation) -> Float64:
        """float64 scores [N], larger = more likely a member.

        Raises:
            InputError: if the answers have another number of classes than the shadows', or, for an
                aligned attack, are about other records or other inputs of them.
            FloatingPointError: if the formula gave NaN or another shape, a fault of the attack.
        """
        if self.example is not None:
            self._compare(observed, self.example)
        if len(observed.labels) == 0:
            return np.zeros(0)
        scores = np.asarray(self.attack.formula(self.learned, observed), dtype=np.float64)
        if scores.shape != observed.labels.shape or np.isnan(scores).any():
            raise FloatingPointError(
                f"{type(self.attack).__name__} gave scores of shape {scores.shape} with "
                f"{int(np.isnan(scores).sum())} NaN for {len(observed.labels)} records"
            )
        return scores

    def decide(self, scores: Float64) -> Bools:
        """Member (True) or not, bool [N], at the attack's own threshold."""
        return self.attack.decision(self.learned, scores)

    def held_out(self) -> HeldOut | None:
        """Scores and membership of shadow models that nothing was learned from, or None.

        None for attacks that keep nothing apart: fit those on `pseudo_targets` to see how they do.
        """
        return self.attack.held_out(self.learned)

    def _compare(self, observed: Observation, example: Observation) -> None:
        if observed.classes != example.classes:
            raise InputError(
                f"The target answers {observed.classes} classes, the shadows {example.classes}.",
                "Train the shadows for the target's task.",
            )
        if not self.attack.aligned:
            return
        if not np.array_equal(observed.ids, example.ids):
            raise InputError(
                f"{self.attack.title} compares each record with shadow models of the same record, "
                "and these shadows answered others.",
                "Use a pool in which all models answer the same records.",
            )
        inputs = [seen.log_probs.shape[1] for seen in (observed, example)]
        if inputs[0] != inputs[1]:
            raise InputError(
                f"The target answered {inputs[0]} inputs of each record, the shadows {inputs[1]}.",
                "Ask all models about the same inputs.",
            )
