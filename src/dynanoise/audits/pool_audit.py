"""Audits a pool that the user brought: one model, or several over the same records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dynanoise.attacks.title import title_of
from dynanoise.audits.audit_result import AuditResult
from dynanoise.audits.conditions import Condition, Outcome, outcome
from dynanoise.config.configuration import Configuration
from dynanoise.core.defense import Defense, Method
from dynanoise.core.errors import DynaNoiseError, InputError
from dynanoise.core.outputs import Pool
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import AttackProtocol, Result
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation import provenance
from dynanoise.evaluation.evidence import Gatherer
from dynanoise.evaluation.feasibility import Feasible, feasible
from dynanoise.evaluation.methods import defended, is_file
from dynanoise.evaluation.paper_split import Finding
from dynanoise.evaluation.protocols import adaptive
from dynanoise.evaluation.shadow_pool import judge_pool
from dynanoise.evaluation.single_model import judge_single, single_model
from dynanoise.evaluation.subject import Subject, counts_of
from dynanoise.metrics.bootstrap import FPRS

QUERIES = (1, 16)
"""Query budgets against a defense, unless others are asked for."""


@dataclass(frozen=True)
class Question:
    """How to audit.

    Args:
        defense: what the answers shall pass through, as a name with parameters, as an object, or
            as a `Configuration` or the path of its file, which ends in ".yaml" or ".yml"; None for
            the answers as they are. Of a configuration the defense and the width of keyed noise's
            cells count: it is fitted again to each model, target and shadows, and keys are made
            for the audit, one for each model. The secret is not looked up.
        queries: budgets, each >= 1, for the attacker who repeats a query. Answers without a defense
            are the same every time, so that one query is all there is to them.
        fail_if: conditions of failure.
        attacks: the attacks to run, as specifications; all of the protocol if empty.

    Raises:
        InputError: for an impossible budget, or a specification that cannot be read.
        UnknownNameError: if there is no such defense or attack.

    >>> Question("temperature(temperature=4)").methods[1].defense
    Temperature(temperature=4.0)
    """

    defense: str | Defense | Configuration | None = None
    queries: tuple[int, ...] = QUERIES
    fail_if: tuple[Condition, ...] = ()
    attacks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for attack in self.attacks:
            ATTACKS.build(attack)
        for count in self.queries:
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise InputError(f"A query budget is {count!r}.", "Use integers of at least 1.")
        if not self.queries:
            raise InputError("There is no query budget.", "Use at least one, such as 1.")
        assert self.methods

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """The undefended answers, and those behind the defense if there is one."""
        plain = Method("none", undefended())
        return (plain,) if self.defense is None else (plain, defended(self.defense))

    @property
    def shown(self) -> str:
        """The defense as a command names it; of a file only its name."""
        if isinstance(self.defense, str) and is_file(self.defense):
            return Path(self.defense).name
        return str(self.defense)

    @property
    def budgets(self) -> tuple[int, ...]:
        """Each query budget once, in ascending order; 1 where nothing is gained by asking again."""
        return tuple(sorted(set(self.queries))) if self.defense is not None else (1,)

    @property
    def fprs(self) -> tuple[float, ...]:
        """False positive rates to report."""
        wanted = {one.fpr for one in self.fail_if if one.fpr is not None}
        return tuple(sorted({*FPRS, *wanted}))


def steps(pool: Pool, question: Question) -> int:
    """How often `audited` calls its progress, at most."""
    rows = len(feasible(pool, question.attacks).attacks) + 1 + (len(pool.test.labels) > 0)
    return len(question.budgets) * len(question.methods) * rows


def audited(
    pool: Pool,
    question: Question,
    subject: Subject,
    progress: Callable[[str], None] = lambda step: None,
    keep: Gatherer | None = None,
) -> AuditResult:
    """Runs every attack that these models are enough for.

    Several models are each the target once, the others its shadows (`judge_pool`); one model is
    attacked by somebody who knows half of the records (`judge_single`).

    Args:
        pool: what was given.
        question: how to audit it.
        subject: for the results.
        progress: called after each step.
        keep: what gathers the evidence, where that is shown together with other answers' about the
            same records; None for one of its own.

    Raises:
        TooFewRecordsError: if there are too few models or records, also for a condition.
        NotFittedError: if the defense must learn something that was not given.
    """
    can = feasible(pool, question.attacks)
    needs = dict(can.needs)

    def refused(name: str, error: DynaNoiseError) -> None:
        needs[name] = f"{title_of(name)}: {error}"

    counts = counts_of(pool)
    for condition in question.fail_if:
        condition.check(counts["scored_non_members"])
    keep = keep or Gatherer()
    judge = _Judge(pool, question, can, keep, progress, refused)
    records = list(_records(judge, subject, counts))
    outcomes: tuple[Outcome, ...] = tuple(outcome(one, records) for one in question.fail_if)
    notes = (*needs.values(), *_notes(pool), *(one.sentence for one in outcomes))
    return AuditResult(keep.evidence(records, notes), outcomes)


def _notes(pool: Pool) -> list[str]:
    notes = []
    if len(pool.test.labels) == 0:
        notes.append(
            "Nothing is said about accuracy: that takes test_logits or test_probs, with "
            "test_labels, of records that no model was trained on."
        )
    unknown = int((pool.examples.use < 0).sum())
    if unknown:
        notes.append(
            f"{unknown:,} pairs of model and record of unknown membership were neither scored "
            "nor used."
        )
    return notes


def _records(judge: _Judge, subject: Subject, counts: Mapping[str, int]) -> Iterator[Result]:
    versions, hardware = provenance.versions(), provenance.hardware()
    pool, question = judge.pool, judge.question
    first = question.budgets[0]
    for queries in question.budgets:
        protocol, findings = judge.at(queries)
        for finding in findings:
            if finding.method.name == question.methods[0].name and queries != first:
                continue  # the same answers again, which only MIDPUT compares with
            yield subject.record(finding, protocol, pool, counts, versions, hardware)


@dataclass(frozen=True, eq=False)
class _Judge:
    """Everything but the query budget."""

    pool: Pool
    question: Question
    can: Feasible
    keep: Gatherer
    progress: Callable[[str], None]
    refused: Callable[[str, DynaNoiseError], None]

    def at(self, queries: int) -> tuple[AttackProtocol, Iterator[Finding]]:
        pool, methods = self.pool, self.question.methods
        fprs, keep = self.question.fprs, self.keep
        if pool.models == 1:
            alone = single_model(queries, self.can.attacks)
            found = judge_single(pool, methods, alone, self.progress, keep=keep, fprs=fprs)
            return alone, found
        usual = adaptive(queries)
        protocol = AttackProtocol(usual.name, usual.design, usual.threat, self.can.attacks)
        found = judge_pool(
            {"plain": pool},
            methods,
            protocol,
            self.progress,
            keep=keep,
            fprs=fprs,
            refused=self.refused,
        )
        return protocol, found
