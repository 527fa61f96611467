"""Audit of a served model, which is queried over the network within a budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.audits.audit_report import AuditReport
from dynanoise.audits.chosen.one_target import MODELS, OneTarget, evaluate_chosen
from dynanoise.audits.chosen.own_shadows import default_classifier, train_shadows
from dynanoise.audits.columns import UNNAMED, ColumnNames, Columns, overlap_warnings
from dynanoise.audits.conditions import Condition, check_condition, warn_unresolved
from dynanoise.audits.endpoint import query_plan
from dynanoise.audits.endpoint.client import BATCH, UNLIMITED, Endpoint, Metadata, printable
from dynanoise.audits.endpoint.configuration_check import (
    ServerOutputs,
    describe_outputs,
    find_differences,
)
from dynanoise.audits.endpoint.served_target import ServedTarget
from dynanoise.audits.inputs import (
    LEAST,
    AuditInputs,
    check_conditions,
    check_inputs,
    headline,
    membership_warnings,
)
from dynanoise.audits.measures import Measures, count_persons
from dynanoise.audits.model_file import Records, query_model, read_records
from dynanoise.audits.pool_audit import (
    BY_PERSON,
    AuditPlan,
    audit_pool,
    count_steps,
    find_attacks,
    with_inputs,
)
from dynanoise.audits.random_halves import check_numbers
from dynanoise.config.configuration import Configuration
from dynanoise.core import numerics
from dynanoise.core.arrays.labels import class_numbers
from dynanoise.core.arrays.predictions import is_distribution
from dynanoise.core.defense import Method
from dynanoise.core.errors import InputError, SecretError, TooFewRecordsError
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation
from dynanoise.core.outputs import Outputs
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import SERVED, Result
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.chosen_inputs import direct_queries, prepare_paths
from dynanoise.evaluation.engine import evaluate
from dynanoise.evaluation.evidence import Gatherer
from dynanoise.evaluation.protocols import chosen, gives_cells_away, single_model
from dynanoise.evaluation.provenance import Provenance
from dynanoise.evaluation.single_model import SingleModel
from dynanoise.probing.paths import input_space

UNKNOWN = {"name": "unknown"}
"""The defense in results of a server without a configuration."""

Bars = Callable[[str, int], AbstractContextManager[Callable[[str], None]]]


@dataclass(frozen=True)
class EndpointPlan:
    """Options of an audit of a server.

    Attributes:
        members: table of records that the model was trained on.
        nonmembers: table of other records.
        queries: queries of each record; None for as many as the budget allows, at most 16.
        configured: a defense.yaml that the server should follow, or None.
        model: a file of the same model, evaluated undefended and as configured for comparison; or
            None.
        factory: builds the model, see `model_file.query_model`.
        fail_if: conditions of failure.
        seed: seed of all draws.
        attacks: specifications of the attacks to run; all that one model allows if empty.
        label: name of the tables' column of labels, see `data.tables.read_table`.
        chosen: query budget of an attacker who also chooses inputs, 1 to 256 a record; None to
            leave it out.
        classifier: unfitted classifier of scikit-learn whose clones are that attacker's shadow
            models; None for `own_shadows.default_classifier`.
        named: columns of groups and persons in both tables, which are not sent to the server.
        placement: ``output`` and ``input`` of the model's file, where they are not those of the
            configuration.

    Raises:
        InputError: for a query budget below 1, a model without a configuration, or a specification
            that cannot be read.
        UnknownNameError: for an unknown attack.
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
    label: str | None = None
    placement: Mapping[str, Any] = field(default_factory=dict)
    chosen: int | None = None
    classifier: Any = None
    named: ColumnNames = UNNAMED

    def __post_init__(self) -> None:
        if self.chosen is not None:
            chosen(self.chosen)
        for attack in self.attacks:
            ATTACKS.build(attack)
        if self.queries is not None and self.queries < 1:
            raise InputError(f"A query budget is {self.queries}.", "Use at least 1.")
        if self.model is not None and self.configured is None:
            raise InputError(
                "A model beside a server is compared with it as configured.",
                "Pass --defense with the server's defense.yaml, or leave --model out.",
            )


def audit_endpoint(
    endpoint: Endpoint,
    plan: EndpointPlan,
    command: str,
    bars: Bars,
) -> AuditReport:
    """Query a server about records and run every attack that one model is enough for.

    The attacker sees what any client sees. With a configuration it knows the defense and its
    parameters and undoes what can be undone; without one it uses the predictions as they are. It
    averages predictions of repeated queries where they differ.

    Args:
        endpoint: server of the model.
        plan: options.
        command: for results.
        bars: shows progress, for a title and a number of steps.

    Returns:
        Results with their evidence, outcomes of the conditions, and deviations from the
        configuration.

    Raises:
        DynaNoiseError: if tables or files cannot be used, or the server does not respond.
        TooFewRecordsError: if the budget is enough for too few records.
    """
    try:
        return _audit(endpoint, plan, command, bars)
    finally:
        endpoint.close()


def _audit(endpoint: Endpoint, plan: EndpointPlan, command: str, bars: Bars) -> AuditReport:
    configured = None if plan.configured is None else Configuration.read(plan.configured)
    records = read_records(plan.members, plan.nonmembers, plan.label, plan.named)
    member = records.member
    queries = _plan(len(member), endpoint.budget, plan)
    rows = _choose_rows(member, queries, endpoint.budget, plan.seed)
    columns = replace(records.columns, inputs=records.inputs).select(rows)
    overlap = overlap_warnings(columns, records.labels[rows], member[rows][None].astype(np.int8))
    # Before any query: conditions, and attacks that the records allow.
    check_conditions(plan.fail_if, overlap)
    options = AuditPlan(fail_if=plan.fail_if, attacks=plan.attacks, chosen=plan.chosen)
    _check_attacks(options, member[rows], columns)
    local = _outputs_of_file(plan, configured, rows)
    outside = int((~member[rows]).sum())
    warn_unresolved(plan.fail_if, outside - outside // 2)
    with bars(f"questions to {endpoint.name}", queries.requests(BATCH)) as progress:
        served = _Served(endpoint, records, rows, configured)
        _check_near(served, min(2, queries.queries))
        server = _query(served, queries, plan.seed, progress)
    labels = class_numbers(
        records.labels, records.label_name, classes=server.repeated.passes.shape[-1]
    )[0]
    outputs = check_inputs(
        endpoint.name,
        labels=labels[rows] if local is None else local.labels,
        member=member[rows],
        **{"probs" if server.probabilities else "logits": server.repeated.passes[0]},
    )
    provenance = Provenance(outputs.name, "as served", command)
    pool, gatherer = with_inputs(outputs.pool(plan.seed), options, columns), Gatherer()
    warnings = (*membership_warnings(pool.records), *overlap)
    check_conditions(plan.fail_if, warnings)
    possible = find_attacks(pool, options)
    budgets = tuple(sorted({1, queries.queries}))
    beside = AuditPlan(str(plan.configured), budgets, attacks=plan.attacks) if local else None
    total = len(budgets) * (len(possible.attacks) + 1)
    total += 0 if local is None or beside is None else count_steps(local.pool(plan.seed), beside)
    results: list[Result] = []
    persons = columns.person_numbers(pool.records.ids)
    measures = Measures(columns, options.fprs, pool, overlap=bool(overlap))
    with bars(f"audit of {endpoint.name}", total) as progress:
        if local is not None and beside is not None:
            audit = audit_pool(
                local.pool(plan.seed),
                beside,
                provenance,
                progress,
                gatherer,
                columns=columns,
            )
            results += audit.results
        first = len(results)
        observed = _observation(pool.records, server, queries.queries, configured)
        design = SingleModel(pool, observed, persons)
        method = _method(configured)
        for budget in budgets:
            for result in evaluate(
                {"plain": design},
                [method],
                single_model(budget, possible.attacks, knows_defense=configured is not None),
                {"plain": replace(provenance, counts=count_persons(design, persons))},
                fprs=measures.fprs,
                gatherer=gatherer,
                measures=measures,
                progress=progress,
            ):
                results.append(result if configured else replace(result, defense=UNKNOWN))
        if plan.chosen is not None:
            for result in evaluate_chosen(
                _one_target(served, server, pool.records, plan, bars, persons),
                method,
                plan.chosen,
                plan.attacks,
                provenance,
                measures,
                gatherer,
                knows_defense=configured is not None,
            ):
                results.append(result if configured else replace(result, defense=UNKNOWN))
        results[first:] = measures.complete(results[first:])
    outcomes = tuple(check_condition(condition, results[first:]) for condition in plan.fail_if)
    logits = None if local is None else local.logits[0]
    deviations = tuple(
        f"Not as configured: {difference}."
        for difference in (
            find_differences(server, configured, logits, plan.seed) if configured else ()
        )
    )
    notes = (
        *headline(pool.records),
        *warnings,
        *_sentences(pool.records, server, endpoint, len(labels), configured, deviations),
    )
    notes += () if persons is None else (BY_PERSON.format(persons=persons.max() + 1),)
    notes += (*(() if local is None else local.notes), *_needs(possible.needs, results))
    notes += tuple(each.sentence for each in outcomes)
    return AuditReport(gatherer.evidence(results, notes), outcomes, deviations)


def _check_attacks(options: AuditPlan, member: Bools, columns: Columns) -> None:
    """Refuse attacks that no output of one model is enough for."""
    labels, probs = np.arange(len(member)) % 2, np.full((len(member), 2), 0.5)
    unqueried = check_inputs("", labels=labels, member=member, probs=probs).pool()
    find_attacks(with_inputs(unqueried, options, columns), options)


def _needs(needs: Mapping[str, str], results: Sequence[Result]) -> list[str]:
    """Needs of the attacks that were not run."""
    run = {result.attack for result in results}
    return [need for name, need in needs.items() if name not in run]


def _sentences(
    queried: Outputs,
    server: ServerOutputs,
    endpoint: Endpoint,
    records: int,
    configured: Configuration | None,
    deviations: Sequence[str],
) -> tuple[str, ...]:
    """Sentences on what was queried and seen."""
    spent = (
        f"Of {records:,} records {len(queried.labels):,} were queried, with {endpoint.spent:,} of "
        f"{endpoint.budget:,} queries."
    )
    agrees = (
        ["Nothing was seen that is not as configured."] if configured and not deviations else []
    )
    return (
        spent,
        *describe_outputs(server),
        *deviations,
        *agrees,
    )


def _method(configured: Configuration | None) -> Method:
    """The server's defense as the attacker knows it."""
    if configured is None:
        return Method(SERVED, undefended())
    return Method(SERVED, configured.defense, cell_width=configured.cell_width)


def _plan(records: int, budget: int, plan: EndpointPlan) -> query_plan.Plan:
    """Plan direct queries, which leave enough for those with chosen inputs."""
    if plan.chosen is None:
        return query_plan.plan_queries(records, budget, plan.queries)
    # Twice directly, to see whether outputs repeat; or as often as an attacker averages them.
    averaged = max(2, direct_queries(plan.chosen, constant=False), plan.queries or 1)
    most = max(averaged + plan.chosen // 2, plan.chosen + 1)
    affordable = query_plan.plan_queries(records, budget, most)
    return replace(affordable, queries=averaged)


def _choose_rows(member: Bools, queries: query_plan.Plan, budget: int, seed: int) -> Int64:
    """Choose the records that a budget of queries is enough for.

    Raises:
        TooFewRecordsError: if these are too few of either kind.
    """
    rows = query_plan.choose_records(member, queries.records, seed)
    inside, outside = int(member[rows].sum()), int((~member[rows]).sum())
    if min(inside, outside) < LEAST:
        raise TooFewRecordsError(
            f"{budget:,} queries are enough for {inside} members and {outside} others, "
            f"{queries.queries} each.",
            f"Give at least {LEAST} of both, and a larger --budget or fewer --queries.",
        )
    return rows


def _one_target(
    served: _Served,
    server: ServerOutputs,
    records: Outputs,
    plan: EndpointPlan,
    bars: Bars,
    persons: Int64 | None,
) -> OneTarget:
    """The server as the target of an attacker with shadow models and inputs of its choice."""
    assert plan.chosen is not None
    configured, inputs = served.configured, check_numbers(served.inputs)
    classifier = default_classifier() if plan.classifier is None else plan.classifier
    with bars("shadow models", MODELS) as progress:
        shadows = train_shadows(
            classifier, inputs, records.labels, records.classes, plan.seed, progress, persons
        )
    space = input_space(inputs)
    prepared = prepare_paths(shadows.models, shadows.pool.records, inputs, space, plan.seed)
    method = _method(configured)
    width = method.cell_width if gives_cells_away(method) else None
    return OneTarget(
        shadows.pool,
        records.use[0],
        _observation(
            records, server, direct_queries(plan.chosen, server.repeated.constant), configured
        ),
        ServedTarget(served, server.probabilities, method.defense, width),
        prepared,
        method.defense,
        persons,
    )


def _outputs_of_file(
    plan: EndpointPlan, configured: Configuration | None, rows: Int64
) -> AuditInputs | None:
    """Outputs of the model's file about some records; None without a file."""
    if plan.model is None:
        return None
    assert configured is not None
    tables = plan.members, plan.nonmembers, plan.label
    where = {} if plan.factory else {**configured.placement, **plan.placement}
    inputs = query_model(plan.model, plan.factory, *tables, **where, named=plan.named)
    return replace(
        inputs,
        logits=inputs.logits[:, rows],
        labels=inputs.labels[rows],
        member=inputs.member[:, rows],
        columns=inputs.columns.select(rows),
    )


class _Served:
    """A server as a function from inputs to outputs, and some of the records as its inputs."""

    def __init__(
        self,
        endpoint: Endpoint,
        records: Records,
        rows: Int64,
        configured: Configuration | None,
    ) -> None:
        self._endpoint, self.configured = endpoint, configured
        self.metadata = endpoint.metadata()
        self._output = _output(self.metadata, configured)
        self._axis = -1 if configured is None else configured.class_axis
        self.progress: Callable[[str], None] = lambda step: None

        def place(index: tuple[int, ...]) -> str:
            return records.place((int(rows[index[0]]), *index[1:]))

        self.inputs = endpoint.convert(self.metadata, records.inputs[rows], place)

    def __call__(self, part: Any) -> Any:
        values = self._endpoint.query(self.metadata, part, self._output, self.progress)
        if values.ndim != 2 or not -2 <= self._axis < 2:
            raise InputError(
                f"An output has the shape {list(values.shape)}.",
                "An audit needs one row of classes for each record.",
            )
        return values if self._axis in (-1, 1) else values.T


def _check_near(served: _Served, queries: int) -> None:
    """Refuse queries that the configured limit on close ones does not allow, before any is spent.

    Args:
        served: the server, and records as its inputs.
        queries: least number of queries of each record.

    Raises:
        InputError: if records in one cell of the inputs need more than its limit.
    """
    near = None if served.configured is None else served.configured.near
    if served.configured is None or near is None:
        return
    try:
        cells = served.configured.input_cells()
        assert cells is not None
        most = max(Counter(cells.digests(served.inputs)).values())
    except SecretError:  # an auditor without the key learns it from the server's refusal
        return
    if most * queries > near.budget:
        raise InputError(
            f"{most} of the records are in one cell of the inputs and need {queries} queries each, "
            f"and the configuration's `neighbourhood` allows a client {near.budget} a day in a "
            "cell.",
            UNLIMITED,
        )


def _query(
    served: _Served, plan: query_plan.Plan, seed: int, progress: Callable[[str], None]
) -> ServerOutputs:
    """Query the server about some of the records as planned."""
    served.progress = progress
    repeated = query_plan.run_plan(served, served.inputs, plan, seed)
    served.progress = lambda step: None
    passes = repeated.passes
    sums_to_one = is_distribution(passes.reshape(-1, passes.shape[-1]))
    logarithm = numerics.log_probabilities if sums_to_one else numerics.log_softmax
    log_probs = logarithm(passes.astype(np.float64))
    return ServerOutputs(served.metadata, repeated, log_probs, sums_to_one)


def _output(metadata: Metadata, configured: Configuration | None) -> str | None:
    """Name of the output to request; None where the server has but one, or does not say."""
    name = None if configured is None else configured.output
    if name is None and len(metadata.outputs) == 1:
        return metadata.outputs[0]  # some servers send another one unless it is named
    if name is None or not metadata.outputs or name in metadata.outputs:
        return name
    raise InputError(
        f"The server offers {', '.join(map(printable, metadata.outputs))}, and not {name}.",
        "Pass the defense.yaml that it was started with.",
    )


def _observation(
    records: Outputs, server: ServerOutputs, repeats: int, configured: Configuration | None
) -> Observation:
    """Predictions of the server as an attacker observes them."""
    passes = server.log_probs[:, :, None]

    def query(count: int) -> Iterator[Float64]:
        yield passes[1 : 1 + count]

    return Observation(
        records.labels,
        records.ids,
        passes[0],
        repeats,
        query,
        numerics.centred if configured is None else configured.defense.undo,
        constant=server.repeated.constant,
    )
