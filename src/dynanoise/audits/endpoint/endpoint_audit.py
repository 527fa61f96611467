"""Audits a model that is served: its answers are asked for over the network, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.audits.audit_result import AuditResult
from dynanoise.audits.conditions import Condition, outcome
from dynanoise.audits.endpoint import query_plan
from dynanoise.audits.endpoint.client import BATCH, Endpoint, Metadata, printable
from dynanoise.audits.endpoint.configuration_check import (
    ServerOutputs,
    describe_outputs,
    find_differences,
)
from dynanoise.audits.inputs import LEAST, Given, given_of
from dynanoise.audits.model_file.model_file import load, probabilities, records
from dynanoise.audits.pool_audit import Question, audited, steps
from dynanoise.config.configuration import Configuration
from dynanoise.core import numerics
from dynanoise.core.defense import Method
from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation
from dynanoise.core.outputs import Pool
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import SERVED, Result
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation import provenance
from dynanoise.evaluation.evidence import Gatherer
from dynanoise.evaluation.feasibility import Feasible, feasible
from dynanoise.evaluation.noise_streams import with_noise
from dynanoise.evaluation.paper_split import describe
from dynanoise.evaluation.single_model import judge_seen, single_model
from dynanoise.evaluation.subject import Subject, counts_of

Bars = Callable[[str, int], AbstractContextManager[Callable[[str], None]]]


@dataclass(frozen=True)
class Wanted:
    """How to audit a server.

    Attributes:
        members: table of records that the model was trained on.
        nonmembers: table of others.
        queries: how often each record is asked; None for what the budget allows, at most 16 times.
        configured: a defense.yaml that the server should follow, or None.
        model: a file of the same model, to see what it answers itself and as configured; or None.
        factory: for it, see `models_on_disk.load`.
        fail_if: conditions of failure.
        seed: of everything drawn.
        attacks: the attacks to run, as specifications; all of the protocol if empty.

    Raises:
        InputError: if something does not fit together.
    """

    members: Path
    nonmembers: Path
    queries: int | None = None
    configured: Path | None = None
    model: Path | None = None
    factory: str | None = None
    fail_if: tuple[Condition, ...] = ()
    seed: int = 0
    attacks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for attack in self.attacks:
            ATTACKS.build(attack)
        if self.queries is not None and self.queries < 1:
            raise InputError(f"A query budget is {self.queries}.", "Use at least 1.")
        if self.model is not None and self.configured is None:
            raise InputError(
                "A model beside a server is compared with it as configured.",
                "Pass --defense with the server's defense.yaml, or leave --model out.",
            )


def audited_server(
    endpoint: Endpoint,
    wanted: Wanted,
    command: str,
    bars: Bars,
) -> AuditResult:
    """Asks a server about records and runs every attack that one model is enough for.

    The attacker sees what any client sees. With a configuration it knows the defense and its
    parameters and undoes what can be undone; without one it takes answers as they are. It averages
    answers to repeated queries where they differ.

    Args:
        endpoint: of the model.
        wanted: what to find out.
        command: for results.
        bars: shows progress, for a title and a number of steps.

    Raises:
        DynaNoiseError: if tables or files are not usable, or the server does not answer.
        TooFewRecordsError: if the budget reaches for too few records.
    """
    configured = None if wanted.configured is None else Configuration.read(wanted.configured)
    inputs, labels, member = records(wanted.members, wanted.nonmembers)
    plan = query_plan.plan_queries(len(labels), endpoint.budget, wanted.queries)
    rows = query_plan.choose_records(member, plan.records, wanted.seed)
    inside, outside = int(member[rows].sum()), int((~member[rows]).sum())
    if min(inside, outside) < LEAST:
        raise TooFewRecordsError(
            f"{endpoint.budget:,} queries are enough for {inside} members and {outside} others, "
            f"{plan.queries} each.",
            f"Give at least {LEAST} of both, and a larger --budget or fewer --queries.",
        )
    local = None
    if wanted.model is not None:
        whole = load(wanted.model, wanted.factory, wanted.members, wanted.nonmembers)
        local = _selected(whole, rows)
    for condition in wanted.fail_if:
        condition.check(outside - outside // 2)
    with bars(f"questions to {endpoint.name}", plan.requests(BATCH)) as progress:
        seen = _seen(endpoint, inputs[rows], plan, configured, wanted.seed, progress)
    given = given_of(
        endpoint.name,
        labels=labels[rows],
        member=member[rows],
        **{"probs" if seen.probabilities else "logits": seen.repeated.passes[0]},
    )
    subject = Subject(given.name, "as served", command)
    pool, keep = given.pool(wanted.seed), Gatherer()
    can = feasible(pool, wanted.attacks)
    found: list[Result] = []
    question = (
        None
        if local is None
        else Question(str(wanted.configured), _budgets(plan), attacks=wanted.attacks)
    )
    total = len(_budgets(plan)) * (len(can.attacks) + 1)
    total += 0 if local is None or question is None else steps(local.pool(wanted.seed), question)
    with bars(f"audit of {endpoint.name}", total) as progress:
        if local is not None and question is not None:
            beside = audited(local.pool(wanted.seed), question, subject, progress, keep)
            found += beside.records
        known = _Known(pool, seen, plan, configured, wanted.fail_if)
        answered = list(known.records(subject, can, progress, keep))
    outcomes = tuple(outcome(one, answered) for one in wanted.fail_if)
    own = None if local is None else local.logits[0]
    not_so = tuple(
        f"Not as configured: {one}."
        for one in (find_differences(seen, configured, own, wanted.seed) if configured else ())
    )
    asked = (
        f"Of {len(labels):,} records {len(rows):,} were asked, by {endpoint.spent:,} of "
        f"{endpoint.budget:,} queries."
    )
    as_said = (
        () if configured is None or not_so else ("Nothing was seen that is not as configured.",)
    )
    notes = (asked, *describe_outputs(seen), *not_so, *as_said, *can.needs.values())
    notes += tuple(one.sentence for one in outcomes)
    return AuditResult(keep.evidence([*found, *answered], notes), outcomes, not_so)


def _budgets(plan: query_plan.Plan) -> tuple[int, ...]:
    return tuple(sorted({1, plan.queries}))


def _selected(given: Given, rows: Any) -> Given:
    return replace(
        given,
        logits=given.logits[:, rows],
        labels=given.labels[rows],
        member=given.member[:, rows],
    )


def _seen(
    endpoint: Endpoint,
    inputs: Any,
    plan: query_plan.Plan,
    configured: Configuration | None,
    seed: int,
    progress: Callable[[str], None],
) -> ServerOutputs:
    announced = endpoint.metadata()
    output = _output(announced, configured)
    axis = -1 if configured is None else configured.class_axis

    def ask(rows: Any) -> Any:
        values = endpoint.query(announced, rows, output, progress)
        if values.ndim != 2 or not -2 <= axis < 2:
            raise InputError(
                f"An answer has the shape {list(values.shape)}.",
                "An audit needs one row of classes for each record.",
            )
        return values if axis in (-1, 1) else values.T

    try:
        answers = query_plan.run_plan(ask, endpoint.convert(announced, inputs), plan, seed)
    finally:
        endpoint.close()
    sums_to_one = probabilities(answers.passes.reshape(-1, answers.passes.shape[-1]))
    made = numerics.log_probabilities if sums_to_one else numerics.log_softmax
    return ServerOutputs(announced, answers, made(answers.passes.astype(np.float64)), sums_to_one)


def _output(announced: Metadata, configured: Configuration | None) -> str | None:
    name = None if configured is None else configured.output
    if name is None and len(announced.outputs) == 1:
        return announced.outputs[0]  # some servers answer something else, unless asked for it
    if name is None or not announced.outputs or name in announced.outputs:
        return name
    raise InputError(
        f"The server offers {', '.join(map(printable, announced.outputs))}, and not {name}.",
        "Pass the defense.yaml that it was started with.",
    )


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known when the attacks begin."""

    pool: Pool
    seen: ServerOutputs
    plan: query_plan.Plan
    configured: Configuration | None
    fail_if: tuple[Condition, ...]

    def records(
        self, subject: Subject, can: Feasible, progress: Callable[[str], None], keep: Gatherer
    ) -> Iterator[Result]:
        """What the attacks make of the answers, at one query a record and at all of them."""
        configured = self.configured
        defense = undefended() if configured is None else configured.defense
        method = Method(SERVED, defense)
        said: dict[str, Any] = {"name": "unknown"}
        if configured is not None:
            width = configured.cell_width
            said = with_noise(describe(defense), replace(method, cell_width=width))
        versions, hardware = provenance.versions(), provenance.hardware()
        fprs = Question(fail_if=self.fail_if).fprs
        counts, held = counts_of(self.pool), self._held()
        for queries in _budgets(self.plan):
            protocol = single_model(queries, can.attacks, knows_defense=configured is not None)
            options: Any = {"keep": keep, "fprs": fprs}
            found = judge_seen(self.pool, method, said, held, protocol, progress, **options)
            for finding in found:
                yield subject.record(finding, protocol, self.pool, counts, versions, hardware)

    def _held(self) -> Observation:
        """The answers as an attacker holds them."""
        passes = self.seen.log_probs[:, :, None]

        def ask(count: int) -> Iterator[Float64]:
            yield passes[1 : 1 + count]

        return Observation(
            self.pool.examples.labels,
            self.pool.examples.ids,
            passes[0],
            self.plan.queries,
            ask,
            numerics.centred if self.configured is None else self.configured.defense.undo,
            constant=self.seen.repeated.constant,
        )
