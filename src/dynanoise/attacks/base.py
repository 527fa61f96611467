"""Base classes of all attacks: subclasses write a formula, the checks are made once, here.

`title_of` is the heading of an attack in tables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import ATTACKS


class HeldOut(NamedTuple):
    """Scores of shadow models that an attack with one costly fit did not learn from.

    They estimate the attack's strength and its best threshold before the target model is queried,
    without fitting the attack again on every pseudo-target.

    Attributes:
        scores: float64 [R], one for each pair of shadow model and record; larger = more likely a
            member.
        members: bool [R], the membership of these pairs.
        sizes: numbers of consecutive pairs that belong to one shadow model each; empty if all
            pairs are to be compared with each other.
        ids: int64 [R], the record of each pair; empty if it is not known.
    """

    scores: Float64
    members: Bools
    sizes: tuple[int, ...] = ()
    ids: Int64 = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Attack(ABC):
    """A rule that turns outputs of a target model into membership scores.

    Scores are float64; larger = more likely a member. Subclasses are final and write `learn`,
    `formula` and, where a record is not simply called a member for a positive score, `decision`.
    They never see the target's membership.

    Attributes:
        title: the name in tables; the class's name unless set.
        aligned: True if the shadow models must have been queried with the target's records.
        needs_shadows: False if the attack learns nothing from shadow models: `fit()` without any
            audits a single model. Shadow models that are passed all the same are still checked.
        needs_population: True if the attack compares with outputs on known non-members.
        needs_inputs: True if the attack reads the inputs of the records, not only outputs on them.
        needs_chosen_inputs: True if the attack reads what queries with chosen inputs revealed, a
            column of the observations.
    """

    title: ClassVar[str]
    aligned: ClassVar[bool] = False
    needs_shadows: ClassVar[bool] = True
    needs_population: ClassVar[bool] = False
    needs_inputs: ClassVar[bool] = False
    needs_chosen_inputs: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "title" not in vars(cls):
            cls.title = cls.__name__

    @property
    def least_population(self) -> int:
        """Smallest number of known non-members that the attack learns enough from."""
        return 0

    @final
    def check_population(self, records: int) -> None:
        """Check that there are enough known non-members.

        Args:
            records: number of known non-members.

        Raises:
            TooFewRecordsError: if there are fewer than ``least_population``.
        """
        if records < self.least_population:
            raise TooFewRecordsError(
                f"{self.title} needs {self.least_population:,} known non-members, and there are "
                f"{records:,}.",
                "Give more records that no model was trained on, or leave this attack out.",
            )

    @abstractmethod
    def learn(self, shadows: ShadowObservations) -> Any:
        """Learn from shadow models.

        Args:
            shadows: outputs of S shadow models and their membership, both kinds present.

        Returns:
            Any value that `formula` and `decision` take, such as thresholds or a classifier.
        """

    @abstractmethod
    def formula(self, learned: Any, target: Observation) -> Float64:
        """Compute the scores of N >= 1 records.

        Args:
            learned: the value that `learn` returned; None without shadow models.
            target: outputs of the target model.

        Returns:
            float64 [N], finite, larger = more likely a member.
        """

    def gather(self, shadows: ShadowObservations) -> Any:
        """Compute sums over some of the records, for values that all records share.

        Args:
            shadows: outputs of the shadow models on some of the records.

        Returns:
            A value that ``+`` adds to those of the other records, or None if records share
            nothing.

        Raises:
            InputError: if the attack cannot be applied to some of the records at a time.
        """
        raise InputError(
            f"{self.title} learns from all records at once.",
            "In parts of the records use lira, or rmia (if offline with a number for a).",
        )

    def learn_part(self, shadows: ShadowObservations, gathered: Any) -> Any:
        """Learn from some of the records, with the same result as `learn` from all of them.

        Args:
            shadows: outputs of the shadow models on these records.
            gathered: the sum of `gather` over all records.

        Returns:
            The same kind of value as `learn`.
        """
        return self.learn(shadows)

    def settle(self, learned: Any) -> Attack:
        """Return the attack with the parameters that it chose, such as a temperature.

        Fitted on pseudo-targets, it then gives scores of one scale.

        Args:
            learned: the value that `learn` returned.

        Returns:
            The attack; this one if it chooses no parameter.
        """
        return self

    def held_out(self, learned: Any) -> HeldOut | None:
        """Return the scores of shadow models that `learn` set aside.

        Args:
            learned: the value that `learn` returned.

        Returns:
            Scores and membership, or None if `learn` sets nothing aside.
        """
        return None

    def decision(self, learned: Any, scores: Float64) -> Bools:
        """Apply the attack's own threshold, which is 0 unless a subclass has another.

        Args:
            learned: the value that `learn` returned.
            scores: float64 [N].

        Returns:
            bool [N], True = member.
        """
        return np.asarray(scores > 0)

    @final
    def fit(self, shadows: ShadowObservations | None = None) -> FittedAttack:
        """Fit the attack to shadow models.

        Args:
            shadows: outputs and membership of the attacker's own models; None only for attacks
                that need none, whose `learn` is then not called.

        Returns:
            The attack, ready to score.

        Raises:
            InputError: if the shadow models have no member or no non-member, or are missing.
        """
        if shadows is None:
            if self.needs_shadows:
                raise InputError(
                    f"{self.title} needs shadow models, and none were passed.",
                    "Train shadow models, or use an attack without, such as population.",
                )
            return FittedAttack(self, None)
        if not ((shadows.use == 1).any() and (shadows.use == 0).any()):
            raise InputError(
                "The shadow models' outputs hold no members or no non-members.",
                "Pass shadow outputs on both.",
            )
        return FittedAttack(self, self.learn(shadows), shadows.observations[0])

    @final
    def fit_part(self, shadows: ShadowObservations, gathered: Any) -> FittedAttack:
        """Fit the attack for some of the records; see `learn_part`.

        Args:
            shadows: outputs of the shadow models on these records.
            gathered: the sum of `gather` over all records.

        Returns:
            The attack, ready to score these records.
        """
        return FittedAttack(self, self.learn_part(shadows, gathered), shadows.observations[0])


@final
@dataclass(frozen=True, eq=False)
class FittedAttack:
    """An attack with what it learned. Made by `Attack.fit`.

    Attributes:
        attack: the attack.
        learned: the value that its `learn` returned.
        example: outputs of a shadow model, which the target's must match in classes and, for
            aligned attacks, in records; None without shadow models.
    """

    attack: Attack
    learned: Any
    example: Observation | None = None

    def score(self, target: Observation) -> Float64:
        """Score the records of a target model.

        Args:
            target: outputs [N, A, K] of the target model.

        Returns:
            float64 [N], larger = more likely a member.

        Raises:
            InputError: if the outputs have another number of classes than the shadow models', or,
                for an aligned attack, belong to other records or other inputs of them.
            FloatingPointError: if the formula gave NaN or another shape, a fault of the attack.
        """
        if self.example is not None:
            self._check_like(target, self.example)
        if len(target.labels) == 0:
            return np.zeros(0)
        if self.learned is None and self.attack in target.memo:
            return target.memo[self.attack]  # type: ignore[no-any-return]
        scores = np.asarray(self.attack.formula(self.learned, target), dtype=np.float64)
        if scores.shape != target.labels.shape or np.isnan(scores).any():
            raise FloatingPointError(
                f"{type(self.attack).__name__} gave scores of shape {scores.shape} with "
                f"{int(np.isnan(scores).sum())} NaN for {len(target.labels)} records"
            )
        if self.learned is None:  # the same as a pseudo-target of every target
            scores.flags.writeable = False
            target.memo[self.attack] = scores
        return scores

    def decide(self, scores: Float64) -> Bools:
        """Apply the attack's own threshold.

        Args:
            scores: float64 [N], from `score`.

        Returns:
            bool [N], True = member.
        """
        return self.attack.decision(self.learned, scores)

    def held_out(self) -> HeldOut | None:
        """Return the scores of shadow models that nothing was learned from.

        Returns:
            Scores and membership, or None for an attack that sets nothing aside: fit such an attack
            on `pseudo_targets` to estimate its strength.
        """
        return self.attack.held_out(self.learned)

    def _check_like(self, target: Observation, example: Observation) -> None:
        if target.classes != example.classes:
            raise InputError(
                f"The target model's outputs have {target.classes} classes, those of the shadow "
                f"models {example.classes}.",
                "Train shadow models with the target model's classes.",
            )
        if not self.attack.aligned:
            return
        if not np.array_equal(target.ids, example.ids):
            raise InputError(
                f"{self.attack.title} compares outputs of the target and of shadow models on the "
                "same records, and these shadow models were queried with other records.",
                "Query all models with the same records, in the same order.",
            )
        inputs = [outputs.log_probs.shape[1] for outputs in (target, example)]
        if inputs[0] != inputs[1]:
            raise InputError(
                f"The target model was queried with {inputs[0]} inputs of each record, the shadow "
                f"models with {inputs[1]}.",
                "Query all models with the same inputs.",
            )


def title_of(text: str) -> str:
    """Heading of an attack's column: its title, and its parameters as they were written.

    Args:
        text: the attack's specification, such as "lira(variance=example)". One that is not
            installed here is its own title.

    Returns:
        The heading.

    >>> title_of("lira_by_class(shadows=1)"), title_of("theirs")
    ('LiRA by class (shadows=1)', 'theirs')
    >>> title_of("cell_mates(attack=lira)")
    'LiRA, cell-mates'
    """
    name, _, rest = text.partition("(")
    if name not in ATTACKS.names():
        return text
    title = str(ATTACKS.get(name).title)
    if rest.startswith("attack=") and "," not in rest:
        return f"{title_of(rest[len('attack=') : -1])}, {title[0].lower()}{title[1:]}"
    return f"{title} ({rest}" if rest else title
