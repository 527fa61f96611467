"""One target model as one attacker meets it, and the scores of attacks on such trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from dynanoise.attacks.base import Attack, FittedAttack, HeldOut
from dynanoise.attacks.pseudo_targets import PseudoTarget
from dynanoise.attacks.thresholds import auc, best_threshold
from dynanoise.core.errors import DynaNoiseError, InputError, TooFewRecordsError
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import STRONGEST
from dynanoise.metrics.bootstrap import PoolScores
from dynanoise.metrics.groups import Persons, by_person

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
        queries: queries a record to the target, the mean of the attack that needs most.
        persons: persons of the target's and the pseudo-targets' records, to attack persons; needs a
            calibration. None to attack records.
    """

    target: Observation
    shadows: ShadowObservations
    calibration: Sequence[PseudoTarget]
    members: Bools
    scored: Bools
    queries: float = 1.0
    persons: Persons | None = None


class ByPerson(NamedTuple):
    """Scores of one attack on persons, each the mean of the scores of the person's records.

    Attributes:
        scores: scores, decisions and truth, [M, P] for M trials.
        calibration: scores and membership of the persons of the pseudo-targets of each trial; empty
            for "strongest".
    """

    scores: PoolScores
    calibration: tuple[HeldOut, ...] = ()


@dataclass(frozen=True, eq=False)
class AttackScores:
    """Scores of one attack, or of the attacker's choice among several, on all trials of a design.

    Attributes:
        name: specification of the attack, or "strongest".
        scores: scores, decisions and truth of the records, [M, N] for M trials.
        expected: balanced accuracy on pseudo-targets, [M], which an attacker knows beforehand;
            None without calibration.
        merit: mean of balanced accuracy and `mean_auc` on pseudo-targets, [M], by which an attack
            is chosen; empty without calibration.
        chosen: for "strongest", the number of trials for which each attack was chosen.
        calibration: scores and membership of the pseudo-targets of each trial; empty without
            calibration.
        thresholds: thresholds of the decisions "member if score >= threshold", [M]; empty without
            calibration, and for "strongest", whose attacks differ in scale.
        persons: scores of persons, where these are attacked: the thresholds, ``expected`` and
            ``merit`` are then of persons too. None where records are attacked.
    """

    name: str
    scores: PoolScores
    expected: Float64 | None
    chosen: Mapping[str, int] = field(default_factory=dict)
    merit: Float64 = field(default_factory=lambda: np.zeros(0))
    calibration: tuple[HeldOut, ...] = ()
    thresholds: Float64 = field(default_factory=lambda: np.zeros(0))
    persons: ByPerson | None = None

    @property
    def measured(self) -> PoolScores:
        """Scores of persons where these are attacked, else of records."""
        return self.scores if self.persons is None else self.persons.scores


def attack_trials(
    trials: Sequence[Trial], attacks: Sequence[str], on_refusal: OnRefusal | None = None
) -> Iterator[AttackScores]:
    """Run every attack on every trial, then the attacker's choice among the attacks.

    The threshold of an attack is the one of greatest balanced accuracy on the trial's pseudo-
    targets. The strongest attack has the greatest mean of balanced accuracy and AUC there. Both are
    chosen for each trial anew, and the target's own membership enters neither.

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
    members = np.stack([trial.members for trial in trials])
    scored = np.stack([trial.scored for trial in trials])
    for name in attacks:
        try:
            finished.append(_attack(name, trials, members, scored))
        except (InputError, TooFewRecordsError) as error:
            if on_refusal is None:
                raise
            on_refusal(name, error)
            continue
        yield finished[-1]
    if finished and finished[0].expected is not None:
        yield _strongest(finished)


def _attack(name: str, trials: Sequence[Trial], members: Bools, scored: Bools) -> AttackScores:
    """Scores of one attack on every trial."""
    attack: Attack = ATTACKS.build(name)
    scores, decisions, expected, merit, calibrations, thresholds = [], [], [], [], [], []
    of_persons = []
    for trial in trials:
        fitted = attack.fit(trial.shadows)
        scores.append(fitted.score(trial.target))
        if trial.calibration:
            calibration = _calibrate(attack, fitted, trial.calibration)
            calibrations.append(calibration)
            if trial.persons is not None:
                calibration = calibrate_persons(calibration, trial.persons)
                of_persons.append(calibration)
            threshold, accuracy = tune_threshold(calibration.scores, calibration.members)
            thresholds.append(threshold)
            decisions.append(scores[-1] >= threshold)
            expected.append(accuracy)
            merit.append((accuracy + mean_auc(calibration)) / 2)
        else:
            decisions.append(fitted.decide(scores[-1]))
    pool_scores = PoolScores(np.stack(scores), np.stack(decisions), members, scored)
    if not expected:
        return AttackScores(name, pool_scores, None)
    persons, first = None, trials[0]
    if first.persons is not None:
        _, positions = np.unique(first.persons.find(first.target.ids), return_inverse=True)
        together = by_person(pool_scores, positions, np.array(thresholds))
        persons = ByPerson(together, tuple(of_persons))
    return AttackScores(
        name,
        pool_scores,
        np.array(expected),
        merit=np.array(merit),
        calibration=tuple(calibrations),
        thresholds=np.array(thresholds),
        persons=persons,
    )


def _calibrate(
    attack: Attack, fitted: FittedAttack, calibration: Sequence[PseudoTarget]
) -> HeldOut:
    """Scores and membership of pseudo-targets that the attack did not learn from."""
    held_out = fitted.held_out()
    if held_out is not None:
        return held_out
    attack = attack.settle(fitted.learned)
    scores, members, ids = [], [], []
    for pseudo in calibration:  # each is made when it is taken
        records = np.flatnonzero(pseudo.scored)
        scores.append(attack.fit(pseudo.shadows).score(pseudo.target)[records])
        members.append(pseudo.members[records])
        ids.append(pseudo.target.ids[records])
    sizes = tuple(map(len, members))
    return HeldOut(np.concatenate(scores), np.concatenate(members), sizes, np.concatenate(ids))


def calibrate_persons(calibration: HeldOut, persons: Persons) -> HeldOut:
    """Put the scores of each person's records on each pseudo-target together, as `by_person` does.

    Args:
        calibration: scores and membership of records, with their ids.
        persons: persons of these records.

    Returns:
        Mean scores and membership of persons.

    Raises:
        TooFewRecordsError: if all persons are members, or none is.

    >>> ids, scores, members = np.arange(3), np.array([1.0, 3.0, 0.0]), np.array([1, 1, 0]) == 1
    >>> persons = Persons(ids, np.array([7, 7, 8]))
    >>> calibrate_persons(HeldOut(scores, members, (3,), ids), persons).scores.tolist()
    [2.0, 0.0]
    """
    sizes = calibration.sizes or (len(calibration.scores),)
    numbers = persons.find(calibration.ids)
    each = numbers.max(initial=0) + 1
    pairs, of = np.unique(
        np.repeat(np.arange(len(sizes)), sizes) * each + numbers, return_inverse=True
    )
    members = np.bincount(of, calibration.members) > 0
    if members.all() or not members.any():
        raise TooFewRecordsError(
            f"Thresholds are chosen on {len(members)} persons, of whom all or none are members.",
            "Use more persons, some of them with no record in the training data.",
        )
    means = np.bincount(of, calibration.scores) / np.bincount(of)
    counts = np.bincount(pairs // each, minlength=len(sizes))
    return HeldOut(means, members, tuple(counts.tolist()))


def mean_auc(calibration: HeldOut) -> float:
    """Compute the mean AUC of pseudo-targets, of each by itself, as results have it of targets.

    Args:
        calibration: scores and membership of pseudo-targets.

    Returns:
        The mean over those with members and non-members, in 0..1; of all pairs together where none
        has both or ``sizes`` is empty.

    >>> scores, members = np.array([1.0, 2.0, 11.0, 12.0]), np.array([False, True, False, True])
    >>> mean_auc(HeldOut(scores, members)), mean_auc(HeldOut(scores, members, (2, 2)))
    (0.75, 1.0)
    """
    ends = np.cumsum(calibration.sizes, dtype=np.int64)[:-1]
    scores, members = np.split(calibration.scores, ends), np.split(calibration.members, ends)
    pairs = zip(scores, members, strict=True)
    each = [auc(part, truth) for part, truth in pairs if truth.any() and not truth.all()]
    return float(np.mean(each)) if each else auc(calibration.scores, calibration.members)


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
    hits = np.count_nonzero(decisions & members) / np.count_nonzero(members)
    rejections = np.count_nonzero(~decisions & ~members) / np.count_nonzero(~members)
    return threshold, float(hits + rejections) / 2


def choose_attacks(attacks: Sequence[AttackScores]) -> Int64:
    """Choose for each trial the attack of the greatest merit on its pseudo-targets.

    Args:
        attacks: scores of at least one attack on M trials, with a calibration.

    Returns:
        int64 [M], the position of the attack of each trial, the first of equals.
    """
    return np.asarray(np.argmax([attack.merit for attack in attacks], axis=0))


def _strongest(attacks: Sequence[AttackScores]) -> AttackScores:
    """For each trial the attack that did best on its pseudo-targets."""
    expected = np.array([attack.expected for attack in attacks])
    best = choose_attacks(attacks)
    rows = np.arange(len(best))
    chosen = [attacks[attack] for attack in best]
    scores = _on_common_scale([(attack.scores, attack.calibration) for attack in chosen])
    persons = [attack.persons for attack in chosen if attack.persons is not None]
    counts = np.bincount(best, minlength=len(attacks))
    return AttackScores(
        STRONGEST,
        scores,
        expected[best, rows],
        {attack.name: int(count) for attack, count in zip(attacks, counts, strict=True) if count},
        persons=ByPerson(_on_common_scale(persons)) if persons else None,
    )


def _on_common_scale(chosen: Sequence[tuple[PoolScores, Sequence[HeldOut]]]) -> PoolScores:
    """Scores of the attack that was chosen for each trial, and its decisions.

    Args:
        chosen: for each trial, the scores of its attack on all trials, with their calibration.
    """
    scores = [
        to_common_scale(scores.scores[row], calibration[row])
        for row, (scores, calibration) in enumerate(chosen)
    ]
    decisions = [scores.decisions[row] for row, (scores, _) in enumerate(chosen)]
    first = chosen[0][0]
    return PoolScores(np.stack(scores), np.stack(decisions), first.members, first.scored)


def to_common_scale(scores: Float64, calibration: HeldOut) -> Float64:
    """Map scores to -ln of the false positive rate at which pseudo-targets have them.

    Scores of different attacks, and of one attack on different targets, have different scales. This
    one they share, so that they can be ranked together.

    Args:
        scores: float64 [N].
        calibration: scores and membership of pseudo-targets.

    Returns:
        float64 [N], in the order of ``scores``; also between two neighbours of the calibration.

    >>> calibration = HeldOut(np.array([1.0, 2.0, 3.0]), np.zeros(3, dtype=bool))
    >>> to_common_scale(np.array([0.0, 2.5, 9.0]), calibration).round(2).tolist()
    [0.03, 0.75, 1.47]
    """
    outside = np.sort(calibration.scores[~calibration.members])
    count = len(outside)
    above = count - np.searchsorted(outside, scores, side="left")
    # The step between two neighbours is more than ln(1 + 1 / (count + 1)).
    within = rankdata(scores) / (len(scores) + 1) * np.log1p(1 / (count + 1)) / 2
    return np.asarray(np.log(count + 1) - np.log(above + 1) + within)
