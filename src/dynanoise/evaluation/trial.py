"""One target model as one attacker meets it, and the scores of attacks on such trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from dynanoise.attacks.base import Attack, FittedAttack, HeldOut
from dynanoise.attacks.pseudo_targets import PseudoTarget
from dynanoise.attacks.thresholds import best_threshold
from dynanoise.core.errors import DynaNoiseError, InputError, TooFewRecordsError
from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import STRONGEST
from dynanoise.metrics.bootstrap import PoolScores

OnRefusal = Callable[[str, DynaNoiseError], None]
"""Called with the name of an attack that has too few models, and the error."""


class Trial(NamedTuple):
    """One target model as one attacker meets it.

    Attributes:
        target: predictions of the target model on N records.
        shadows: predictions of the models that attacks learn from.
        calibration: pseudo-targets, on which the threshold and the strongest attack are chosen;
            empty where every attack keeps its own threshold.
        members: bool [N], the truth, which attacks do not get.
        scored: bool [N], records whose scores count.
    """

    target: Observation
    shadows: ShadowObservations
    calibration: Sequence[PseudoTarget]
    members: Bools
    scored: Bools


@dataclass(frozen=True, eq=False)
class AttackScores:
    """Scores of one attack, or of the attacker's choice among several, on all trials of a design.

    Attributes:
        name: specification of the attack, or "strongest".
        scores: scores, decisions and truth, [M, N] for M trials.
        expected: balanced accuracy on pseudo-targets, [M], which an attacker knows beforehand;
            None without calibration.
        chosen: for "strongest", the number of trials for which each attack was chosen.
    """

    name: str
    scores: PoolScores
    expected: Float64 | None
    chosen: Mapping[str, int] = field(default_factory=dict)


def attack_trials(
    trials: Sequence[Trial], attacks: Sequence[str], on_refusal: OnRefusal | None = None
) -> Iterator[AttackScores]:
    """Run every attack on every trial, then the attacker's choice among the attacks.

    The threshold of an attack is the one of greatest balanced accuracy on the trial's pseudo-
    targets, and so is the strongest attack, for each trial anew. The target's own membership
    enters neither.

    Args:
        trials: at least one; either all or none of them have a calibration.
        attacks: specifications such as "lira(variance=example)".
        on_refusal: called for each attack that has too few models, which is then skipped; None
            raises the error.

    Yields:
        Scores of each attack in the order of ``attacks``; then, with a calibration, of "strongest".

    Raises:
        InputError: if an attack cannot be run on these models and ``on_refusal`` is None.
        TooFewRecordsError: likewise.
    """
    finished: list[AttackScores] = []
    for name in attacks:
        try:
            finished.append(_attack(name, trials))
        except (InputError, TooFewRecordsError) as error:
            if on_refusal is None:
                raise
            on_refusal(name, error)
            continue
        yield finished[-1]
    if finished and finished[0].expected is not None:
        yield _strongest(finished)


def _attack(name: str, trials: Sequence[Trial]) -> AttackScores:
    """Scores of one attack on every trial."""
    attack: Attack = ATTACKS.build(name)
    scores, decisions, expected = [], [], []
    for trial in trials:
        fitted = attack.fit(trial.shadows)
        scores.append(fitted.score(trial.target))
        if trial.calibration:
            threshold, accuracy = _calibrate(attack, fitted, trial.calibration)
            decisions.append(scores[-1] >= threshold)
            expected.append(accuracy)
        else:
            decisions.append(fitted.decide(scores[-1]))
    members = np.stack([trial.members for trial in trials])
    scored = np.stack([trial.scored for trial in trials])
    pool_scores = PoolScores(np.stack(scores), np.stack(decisions), members, scored)
    return AttackScores(name, pool_scores, np.array(expected) if expected else None)


def _calibrate(
    attack: Attack, fitted: FittedAttack, calibration: Sequence[PseudoTarget]
) -> tuple[float, float]:
    """Threshold of greatest balanced accuracy on pseudo-targets, and that accuracy."""
    held_out = fitted.held_out()
    if held_out is None:
        scores = [
            attack.fit(pseudo.shadows).score(pseudo.target)[pseudo.scored] for pseudo in calibration
        ]
        members = [pseudo.members[pseudo.scored] for pseudo in calibration]
        held_out = HeldOut(np.concatenate(scores), np.concatenate(members))
    return tune_threshold(*held_out)


def tune_threshold(scores: Float64, members: Bools) -> tuple[float, float]:
    """Find the threshold of greatest balanced accuracy for "member if score >= threshold".

    Args:
        scores: float64 [N].
        members: bool [N], with members and non-members.

    Returns:
        The threshold, and its balanced accuracy in 0..1.

    >>> tune_threshold(np.array([1.0, 2.0, 3.0]), np.array([False, True, True]))
    (2.0, 1.0)
    """
    threshold = best_threshold(scores, members, balanced=True)
    decisions = scores >= threshold
    accuracy = (decisions[members].mean() + (~decisions[~members]).mean()) / 2
    return threshold, float(accuracy)


def _strongest(attacks: Sequence[AttackScores]) -> AttackScores:
    """For each trial the attack that did best on its pseudo-targets."""
    expected = np.array([attack.expected for attack in attacks])
    best = np.argmax(expected, axis=0)
    rows = np.arange(len(best))
    # Scores of different attacks have different scales; ranks within a model do not.
    scores = np.stack([rank_scores(attack.scores.scores) for attack in attacks])[best, rows]
    decisions = np.stack([attack.scores.decisions for attack in attacks])[best, rows]
    first = attacks[0].scores
    counts = np.bincount(best, minlength=len(attacks))
    return AttackScores(
        STRONGEST,
        PoolScores(scores, decisions, first.members, first.scored),
        expected.max(axis=0),
        {attack.name: int(count) for attack, count in zip(attacks, counts, strict=True) if count},
    )


def rank_scores(scores: Float64) -> Float64:
    """Share of scores that are smaller, for each row of [M, N]; ties at their middle.

    Args:
        scores: float64 [M, N].

    Returns:
        float64 [M, N], in 0..1.

    >>> rank_scores(np.array([[5.0, 7.0, 7.0, 9.0]])).tolist()
    [[0.25, 0.625, 0.625, 1.0]]
    """
    from scipy.stats import rankdata

    return np.asarray(rankdata(scores, axis=1) / scores.shape[1])
