"""Attacks on a pool of models: each is the target once, the others are its shadows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from dynanoise.attacks.base import Attack, FittedAttack, HeldOut
from dynanoise.attacks.pseudo_targets import LeaveOneOut, PseudoTarget, leave_one_out
from dynanoise.attacks.thresholds import best_threshold
from dynanoise.core import membership
from dynanoise.core.defense import Defense, Method, Noise
from dynanoise.core.errors import DynaNoiseError, InputError, TooFewRecordsError
from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import STRONGEST, ThreatModel
from dynanoise.core.seeding import derive
from dynanoise.evaluation.responses import NoiseSource, observe, recover
from dynanoise.metrics.bootstrap import PoolScores

PSEUDO_TARGETS = 3
"""Shadow models an attacker plays as targets, to choose thresholds and the strongest attack."""

NoiseOf = Callable[[int, str], NoiseSource]
"""The noise of one model of the pool, as "target" or as "shadow"; the two are independent."""


@dataclass(frozen=True, eq=False)
class Answered:
    """What all models of a pool answer behind a defense, as an attacker makes use of it.

    Attributes:
        pool: the models.
        targets: each model as the target answers, one Observation a model.
        shadows: each as the attacker's own copy answers: the same defense, independent draws.
        seed: of who is hidden.
        attacker: the attacker's own models, trained on the same records as those of the pool.
    """

    pool: Pool
    targets: tuple[Observation, ...]
    shadows: tuple[Observation, ...]
    seed: int
    attacker: Pool

    @cached_property
    def roles(self) -> tuple[Roles, ...]:
        """Who sees what when each model is the target."""
        return roles(self.pool, self.seed)

    @property
    def everyone(self) -> ShadowObservations:
        """All models as the attacker's own copies answer."""
        return ShadowObservations(self.shadows, self.pool.examples.use, self.attacker.examples)

    def shadows_of(self, target: int) -> ShadowObservations:
        """The other models, with the same number of in- and out-models for every example."""
        return self.roles[target].role.shadows(self.everyone)


@dataclass(frozen=True, eq=False)
class Roles:
    """Who sees what when one model is the target: told by membership alone.

    Attributes:
        role: of the target and its shadows, among all models.
        played: of shadows that are played as targets, among the shadows.
    """

    role: LeaveOneOut
    played: tuple[LeaveOneOut, ...]


def roles(pool: Pool, seed: int) -> tuple[Roles, ...]:
    """Everybody's roles, for each model as the target.

    Every example has the same number of in- and out-models for every target.

    Args:
        pool: its membership is what counts.
        seed: of who is hidden.

    Raises:
        TooFewRecordsError: if there are too few models for that, or to play some as targets.
    """
    use, everybody = pool.examples.use, range(pool.models)
    k = min(membership.shadows_an_example(np.delete(use, target, axis=0)) for target in everybody)
    found = []
    for target in everybody:
        others = tuple(model for model in everybody if model != target)
        left = membership.equal_numbers(use[list(others)], k, derive(seed, "hidden", target))
        played = leave_one_out(left, pool.examples.ids, PSEUDO_TARGETS, derive(seed, "pseudo"))
        found.append(Roles(LeaveOneOut(target, others, left), tuple(played)))
    return tuple(found)


def answered(
    pool: Pool,
    defenses: Sequence[Defense],
    threat: ThreatModel,
    noise: NoiseOf,
    attacker: tuple[Pool, Sequence[Defense]] | None = None,
) -> Answered:
    """Asks every model of a pool, once as the target and once as a shadow.

    Args:
        pool: the models.
        defenses: one for each model, fitted to it.
        threat: who asks, and how often; an attacker who does not know of the defense has
            undefended shadows.
        noise: of each model and role.
        attacker: models of the attacker's own, with the same membership, and their defenses; None
            for an attacker who has the pool's.

    Raises:
        InputError: if the attacker's models are others in number, or in what they were trained on.
    """
    theirs, their_defenses = (pool, defenses) if attacker is None else attacker
    if not np.array_equal(theirs.examples.use, pool.examples.use):
        raise InputError(
            f"The attacker's {theirs.models} models were not trained on the same records as the "
            f"{pool.models} targets.",
            "Draw both from one split.",
        )

    def seen(
        defense: Defense, model: int, role: str, outputs: Outputs, purpose: str
    ) -> Observation:
        source = noise(model, role)

        def own(asked: str) -> Noise:
            return source(f"{purpose} {asked}")

        found = observe(
            defense,
            outputs,
            own,
            model=model,
            repeats=threat.repeats,
            aware=threat.knows_defense,
        )
        return recover(found, threat.repeats)

    def all_of(asked: Pool, behind: Sequence[Defense], role: str) -> tuple[Observation, ...]:
        return tuple(
            replace(
                seen(defense, model, role, asked.examples, "examples"),
                population=seen(defense, model, role, asked.reference, "population"),
            )
            for model, defense in enumerate(behind)
        )

    targets = shadows = all_of(pool, defenses, "target")
    alike = threat.knows_defense and all(defense.repeatable for defense in defenses)
    # Repeatable noise has a key, and the attacker's is another one.
    alike = alike and not noise(0, "target")("examples first").repeatable
    if attacker is not None or not alike:
        shadows = all_of(theirs, their_defenses, "shadow")
    return Answered(pool, targets, shadows, pool.seed, theirs)


@dataclass(frozen=True, eq=False)
class Attacked:
    """What one attack, or the attacker's choice among several, achieved on a pool.

    Attributes:
        name: as in the protocol, or "strongest".
        found: scores, decisions and truth.
        expected: balanced accuracy on pseudo-targets, for each target [M]: what an attacker knows
            beforehand.
        chosen: which attack was used for how many targets.
    """

    name: str
    found: PoolScores
    expected: Float64
    chosen: Mapping[str, int] = field(default_factory=dict)


def attack_pool(
    answers: Answered,
    attacks: Sequence[str],
    refused: Callable[[str, DynaNoiseError], None] | None = None,
    known: Sequence[Roles] | None = None,
) -> Iterator[Attacked]:
    """Every attack on every model of the pool, then the attacker's choice among them.

    The threshold of an attack is the one of greatest balanced accuracy on pseudo-targets: shadow
    models attacked with the help of the others. So is the strongest attack, for each target anew.
    Nothing of a target's own membership enters what attacks it.

    Args:
        answers: of all models.
        attacks: specifications, see `core.spec`.
        refused: called with an attack's name and its reason if these models are too few for it,
            and the others go on; None raises that reason.
        known: `roles` of this pool and seed, where somebody has them already.

    Yields:
        One value an attack in their order, then one called "strongest".
    """
    everyone = answers.everyone
    settings = []
    for one in known or answers.roles:
        shadows = one.role.shadows(everyone)
        settings.append((shadows, [role.pseudo_target(shadows) for role in one.played]))
    made = []
    for name in attacks:
        try:
            made.append(_attacked(name, answers, settings))
        except (InputError, TooFewRecordsError) as error:
            if refused is None:
                raise
            refused(name, error)
            continue
        yield made[-1]
    if made:
        yield _strongest(made)


def _attacked(
    name: str,
    answers: Answered,
    settings: Sequence[tuple[ShadowObservations, Sequence[PseudoTarget]]],
) -> Attacked:
    """One attack on every model, with its shadows and pseudo-targets."""
    attack = ATTACKS.build(name)
    use = answers.pool.examples.use
    scores = np.zeros(use.shape)
    thresholds, expected = np.zeros(len(scores)), np.zeros(len(scores))
    for target, (shadows, played) in enumerate(settings):
        fitted = attack.fit(shadows)
        thresholds[target], expected[target] = _tuned(attack, fitted, played)
        scores[target] = fitted.score(answers.targets[target])
    # Where nobody knows whether the target was trained on it, nothing can be scored.
    scored = np.array([membership.eligible(shadows.use) for shadows, _ in settings]) & (use >= 0)
    decisions = scores >= thresholds[:, None]
    return Attacked(name, PoolScores(scores, decisions, use == 1, scored), expected)


def _tuned(
    attack: Attack, fitted: FittedAttack, played: Sequence[PseudoTarget]
) -> tuple[float, float]:
    """The threshold of greatest balanced accuracy on pseudo-targets, and that accuracy."""
    apart = fitted.held_out()
    if apart is None:
        found = [
            (attack.fit(one.shadows).score(one.target)[one.scored], one.members[one.scored])
            for one in played
        ]
        apart = HeldOut(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    return own_threshold(*apart)


def own_threshold(scores: Float64, members: Bools) -> tuple[float, float]:
    """The threshold of greatest balanced accuracy for "member if score >= t", and that accuracy.

    Args:
        scores: float64 [N].
        members: bool [N], of both kinds.

    >>> own_threshold(np.array([1.0, 2.0, 3.0]), np.array([False, True, True]))
    (2.0, 1.0)
    """
    threshold = best_threshold(scores, members, balanced=True)
    said = scores >= threshold
    return threshold, float((said[members].mean() + (~said[~members]).mean()) / 2)


def _strongest(made: Sequence[Attacked]) -> Attacked:
    """For each target the attack that did best on its pseudo-targets."""
    best = np.argmax([one.expected for one in made], axis=0)
    rows = np.arange(len(best))
    scores, decisions = (
        np.stack(parts)[best, rows]
        for parts in (
            # Scores of different attacks have different scales; ranks within a model do not.
            [ranks(one.found.scores) for one in made],
            [one.found.decisions for one in made],
        )
    )
    first = made[0].found
    counts = np.bincount(best, minlength=len(made))
    return Attacked(
        STRONGEST,
        PoolScores(scores, decisions, first.members, first.scored),
        np.max([one.expected for one in made], axis=0),
        {one.name: int(count) for one, count in zip(made, counts, strict=True) if count},
    )


def ranks(scores: Float64) -> Float64:
    """Each row's scores [M, N] as their share of scores that are smaller, ties at their middle."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(scores, axis=1) / scores.shape[1])


def fitted_defenses(method: Method, pool: Pool) -> list[Defense]:
    """The method's defense, fitted to every model."""
    return [method.defense.fit(pool.view(model)) for model in range(pool.models)]
