"""Further measures of an audit: precision, groups, epsilon, and agreement of attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dynanoise.audits.blind_baseline import blind_auc
from dynanoise.audits.columns import CLASS, Columns
from dynanoise.core.numerics import Bools, Int64
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.result import STRONGEST, Metric, Result
from dynanoise.core.seeding import derive
from dynanoise.evaluation.design import Design
from dynanoise.evaluation.engine import Task
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.evaluation.single_model import SingleModel
from dynanoise.evaluation.trial import AttackScores
from dynanoise.integrations.holdout import select_rows
from dynanoise.metrics.bootstrap import PoolScores
from dynanoise.metrics.epsilon import are_fair_coins, epsilon_f_dp, epsilon_one_run
from dynanoise.metrics.groups import group_metrics
from dynanoise.metrics.intervals import LEVEL
from dynanoise.metrics.roc import resolves
from dynanoise.metrics.two_way import precision, rates

PRIORS = (0.01, 0.1, 0.5)
"""Shares of members at which the precision is reported."""

DELTA = 1e-5
"""delta of the bounds on epsilon that have one."""

GUESSED = (0.01, 0.1)
"""Shares of the records that the attacker guesses to be members, for bounds on epsilon."""

MOST_GUESSES = 2_000
AT_FPR = 0.01
"""False positive rate at which the records that attacks find are compared."""


class Measures:
    """Computes further metrics of each attack, see `evaluation.engine.evaluate`.

    Args:
        columns: values of the records, by their ids.
        fprs: false positive rates at which the TPR is wanted.
        pool: records whose members and non-members the blind baseline compares.
        overlap: True where records or persons are members and non-members at once, see
            `columns.overlap_warnings`: no fair coin decided their membership.
    """

    def __init__(
        self, columns: Columns, fprs: Sequence[float], pool: Pool, *, overlap: bool = False
    ) -> None:
        self.columns, self.fprs = columns, fprs
        records = pool.records
        inputs = columns.inputs
        if inputs is not None:
            inputs = select_rows(inputs, records.ids.copy())  # torch takes no read-only positions
        persons = columns.person_numbers(records.ids)
        self._seed = derive(pool.seed, "guesses of members")
        self._blind = _blind(inputs, records, pool.seed, persons)
        differ = any((auc.low or 0) > 0.5 for auc in self._blind.values())
        self._fair = not overlap and not differ
        self._found: dict[tuple[str, str], dict[str, Bools]] = {}

    def __call__(self, task: Task, attack: AttackScores) -> dict[str, Metric]:
        """Measure precision of each attack; of the attacker's choice also groups and epsilon.

        Args:
            task: method and protocol, and the records that were scored.
            attack: scores of one attack.

        Returns:
            As of `measure`.
        """
        records, names = task.design.records, (task.protocol.name, task.method.name)
        return self.measure(names, attack.name, attack.measured, records.labels, records.ids)

    def measure(
        self,
        names: tuple[str, str],
        attack: str,
        scores: PoolScores,
        labels: Int64,
        ids: Int64,
    ) -> dict[str, Metric]:
        """Measure an attack's scores, see `__call__`.

        Args:
            names: names of the protocol and the method.
            attack: name of the attack.
            scores: its scores and decisions, [M, N] on records or [M, P] on their persons.
            labels: int64 [N], true classes of the scored records.
            ids: int64 [N], their positions in the columns.

        Returns:
            ``tpr`` and ``fpr`` of the decisions and ``ppv@PRIOR``; ``COLUMN=VALUE METRIC`` of
            `metrics.groups.group_metrics`, where persons whose records have several values are
            the group "several"; ``epsilon``, ``epsilon_delta`` and ``epsilon_f_dp`` of
            `epsilon_bounds`, where fair coins may have decided membership; ``blind_auc`` of
            `blind_baseline.blind_auc`, or without inputs ``blind_auc_labels``.
        """
        named = {name: np.asarray(values)[ids] for name, values in self.columns.by.items()}
        by = {CLASS: labels, **named}
        persons = self.columns.person_numbers(ids)
        if persons is not None:
            by = {name: _of_persons(values, persons) for name, values in by.items()}
        # Half of the error for each rate, so that the precision's interval holds at the level.
        tpr, fpr = rates(scores, ((1 + LEVEL) / 2, LEVEL))
        metrics = {f"ppv@{prior:g}": precision(tpr[0], fpr[0], prior) for prior in PRIORS}
        metrics["tpr"], metrics["fpr"] = tpr[1], fpr[1]
        if attack == STRONGEST:
            metrics |= group_metrics(scores, by, self.fprs)
            members = scores.members[scores.scored]
            if self._fair and are_fair_coins(int(members.sum()), members.size):
                metrics |= epsilon_bounds(scores, self._seed)
            metrics |= self._blind
        else:
            pairs = members_found(scores)
            if pairs is not None:
                self._found.setdefault(names, {})[attack] = pairs
        return metrics

    def complete(self, results: Sequence[Result]) -> list[Result]:
        """Add to results how many members several attacks find at an FPR of 1%.

        Args:
            results: those of the attacks that were measured.

        Returns:
            The results; those of an attack with ``found`` and ``found_alone``, the shares of the
            members that it finds and that no other attack finds; those of the attacker's choice
            with ``found_by_N``, the share that at least N attacks find.
        """
        return [
            replace(result, metrics={**result.metrics, **self._agreement(result)})
            for result in results
        ]

    def _agreement(self, result: Result) -> dict[str, Metric]:
        attacks = self._found.get((result.protocol, result.method), {})
        count = np.sum(list(attacks.values()), axis=0)
        if result.attack == STRONGEST:
            several = range(1, len(attacks) + 1)
            return {f"found_by_{n}": Metric(float((count >= n).mean())) for n in several}
        if result.attack not in attacks:
            return {}
        of_attack = attacks[result.attack]
        alone = of_attack & (count == 1)
        return {
            "found": Metric(float(of_attack.mean())),
            "found_alone": Metric(float(alone.mean())),
        }


def _of_persons(values: npt.NDArray[Any], persons: Int64) -> npt.NDArray[Any]:
    """The value that all records of a person have, or "several", [P]."""
    _, first = np.unique(persons, return_index=True)
    differs = values != values[first][persons]
    mixed = np.bincount(persons, differs) > 0
    return np.where(mixed, "several", values[first].astype(str)) if mixed.any() else values[first]


def _blind(inputs: Any, records: Outputs, seed: int, persons: Int64 | None) -> dict[str, Metric]:
    """The AUC of the blind baseline, on labels alone where inputs cannot be made numbers."""
    arguments = records.labels, records.use[0], seed, persons
    if inputs is not None:
        try:
            auc = blind_auc(inputs, *arguments)
        except (TypeError, ValueError, RuntimeError):  # also of torch's tensors
            return _blind(None, records, seed, persons)
        return {} if auc is None else {"blind_auc": auc}
    auc = blind_auc(None, *arguments)
    return {} if auc is None else {"blind_auc_labels": auc}


def members_found(scores: PoolScores, fpr: float = AT_FPR) -> Bools | None:
    """Mark the members that an attack finds at a low false positive rate.

    Args:
        scores: scores [M, N] of one attack.
        fpr: false positive rate of all pairs of model and record together.

    Returns:
        bool [n], for all pairs of a model and a scored member; None if the non-members are too few.
    """
    outside = scores.scores[scores.scored & ~scores.members]
    if not resolves(fpr, len(outside)):
        return None
    place = len(outside) - int((fpr + 1e-12) * len(outside)) - 1
    threshold = np.partition(outside, place)[place]
    return np.asarray((scores.scores > threshold)[scores.scored & scores.members])


def epsilon_bounds(scores: PoolScores, seed: int) -> dict[str, Metric]:
    """Bound epsilon from below from the guesses about one model at a time.

    The attacker guesses "member" for the records with the largest scores of each model, 1% or 10%
    of them and at most 2,000; among equal scores the seed decides. They hold where a fair coin of
    its own put each record into the training data: the larger of both bounds, at half of the error
    each, and over several models the median at half of the error again (see
    `metrics.epsilon.epsilon_of_models`).

    Args:
        scores: scores [M, N] of one attack.
        seed: seed of the order of equal scores.

    Returns:
        ``epsilon`` for delta = 0 and ``epsilon_delta`` for `DELTA` (Steinke et al.), and
        ``epsilon_f_dp`` at `DELTA` for Gaussian mechanisms (Mahloujifar et al.).
    """
    models = len(scores.scores)
    level = 1 - (1 - LEVEL) / len(GUESSED) / (1 if models == 1 else 2)
    generator = np.random.default_rng(seed)
    bounds = []
    for values, members, scored in zip(scores.scores, scores.members, scores.scored, strict=True):
        # Files often hold members first, so the order of the rows must not break ties.
        ties = generator.permutation(int(scored.sum()))
        ranked = members[scored][np.lexsort((ties, -values[scored]))]
        numbers = (min(int(share * len(ranked)), MOST_GUESSES) for share in GUESSED)
        guesses = [(int(ranked[:count].sum()), count) for count in numbers]
        coins: dict[str, Any] = {"delta": DELTA, "records": len(ranked)}
        pure = [epsilon_one_run(*guess, level) for guess in guesses]
        # Which share is the best is chosen by the guesses, for which the level is corrected.
        best = guesses[int(np.argmax(pure))]
        with_delta = max(epsilon_one_run(*guess, level, **coins) for guess in guesses)
        bounds.append((max(pure), with_delta, epsilon_f_dp(*best, level, **coins)))
    medians = [sorted(column)[models // 2] for column in zip(*bounds, strict=True)]
    names = ("epsilon", "epsilon_delta", "epsilon_f_dp")
    return {name: Metric(bound) for name, bound in zip(names, medians, strict=True)}


class Counted(Design, Protocol):
    """A design that counts its records."""

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of models and records, see `evaluation.provenance.count_records`."""


def count_persons(design: Counted, persons: Int64 | None) -> dict[str, int]:
    """Count models and records, and the scored pairs by person where persons are known.

    Args:
        design: models and records.
        persons: int64 [N], position of the person of each record of the pool; None without.

    Returns:
        As of `evaluation.provenance.count_records`, and ``persons``.
    """
    if persons is None:
        return design.counts
    scored = persons[design.halves.scored] if isinstance(design, SingleModel) else persons
    pairs = [0, 0]
    for row in design.scored_use if isinstance(design, ShadowPool) else design.records.use:
        inside = np.unique(scored[row == 1])
        pairs[1] += len(inside)
        pairs[0] += len(np.setdiff1d(scored[row == 0], inside))
    named = {"scored_members": pairs[1], "scored_non_members": pairs[0]}
    return {**design.counts, **named, "persons": len(np.unique(persons))}
