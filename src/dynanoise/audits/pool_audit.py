"""Audits of outputs: one model, or several models over the same records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.attacks.base import title_of
from dynanoise.audits.audit_report import AuditReport
from dynanoise.audits.chosen.one_target import MODELS, OneTarget, evaluate_chosen
from dynanoise.audits.columns import Columns, overlap_warnings
from dynanoise.audits.conditions import Condition, check_condition, warn_unresolved
from dynanoise.audits.inputs import check_conditions, headline, membership_warnings
from dynanoise.audits.measures import Measures, count_persons
from dynanoise.config.configuration import Configuration
from dynanoise.core.defense import Defense, Method
from dynanoise.core.errors import DynaNoiseError, InputError, TooFewRecordsError
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import AttackProtocol, Metric, Result
from dynanoise.core.seeding import derive
from dynanoise.data.features import number_features
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.chosen_inputs import ModelFunctions
from dynanoise.evaluation.engine import (
    MeasurementCache,
    Task,
    evaluate,
    list_tasks,
    open_measurement_cache,
)
from dynanoise.evaluation.evidence import Gatherer
from dynanoise.evaluation.feasibility import Feasible, find_feasible
from dynanoise.evaluation.methods import defended, is_file
from dynanoise.evaluation.protocols import (
    BOUNDARY,
    BOUNDARY_OF_CELLS,
    adaptive,
    chosen,
    select_attacks,
    single_model,
)
from dynanoise.evaluation.provenance import Provenance
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.evaluation.single_model import SingleModel
from dynanoise.evaluation.trial import AttackScores
from dynanoise.metrics.bootstrap import FPRS
from dynanoise.noise.cells import GAPS, starting_width

QUERIES = (1, 16)
"""Query budgets against a defense, unless others are given."""

Progress = Callable[[str], None]
"""Called with a few words after each step."""

PROBED = 1_000
"""Records that are queried with chosen inputs, at most; drawn at random."""


@dataclass(frozen=True)
class AuditPlan:
    """Options of an audit.

    Args:
        defense: evaluated beside the undefended outputs: a name with parameters, ``cell_width``
            among them for keyed noise; an object; or a `Configuration` or the path of its file,
            which ends in ".yaml" or ".yml"; None for the outputs alone. From a configuration the
            defense and the cell width of keyed noise are used: it is fitted again to each model,
            target and shadow, with a new key for each model. The secret is not read.
        queries: query budgets, each >= 1, of an attacker who repeats a query. Undefended outputs
            do not change, so they are attacked with one query only.
        fail_if: conditions of failure.
        attacks: specifications of the attacks to run; all that the models allow if empty.
        chosen: query budget of an attacker who also chooses inputs, 1 to 256 a record; None to
            leave it out.

    Raises:
        InputError: for an impossible budget, or a specification that cannot be read.
        UnknownNameError: for an unknown defense or attack.

    >>> AuditPlan("temperature(temperature=4)").methods[1].defense
    Temperature(temperature=4.0)
    """

    defense: str | Defense | Configuration | None = None
    queries: tuple[int, ...] = QUERIES
    fail_if: tuple[Condition, ...] = ()
    attacks: tuple[str, ...] = ()
    chosen: int | None = None

    def __post_init__(self) -> None:
        # Of Python callers: one value stands for several.
        object.__setattr__(self, "queries", as_tuple("queries", self.queries, int))
        object.__setattr__(self, "attacks", as_tuple("attacks", self.attacks, str))
        if self.chosen is not None:
            chosen(self.chosen)
        for attack in self.attacks:
            ATTACKS.build(attack)
        for count in self.queries:
            if isinstance(count, bool) or count < 1:
                raise InputError(f"A query budget is {count!r}.", "Use integers of at least 1.")
        if not self.queries:
            raise InputError("There is no query budget.", "Use at least one, such as 1.")
        assert self.methods

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """Undefended outputs, then the defense if there is one."""
        plain = Method("none", undefended())
        return (plain,) if self.defense is None else (plain, defended(self.defense))

    @property
    def defense_text(self) -> str:
        """Text of the defense in commands; of a file only its name."""
        if isinstance(self.defense, str) and is_file(self.defense):
            return Path(self.defense).name
        return str(self.defense)

    @property
    def budgets(self) -> tuple[int, ...]:
        """Query budgets in ascending order; only 1 if repeated queries gain nothing."""
        return tuple(sorted(set(self.queries))) if self.defense is not None else (1,)

    @property
    def fprs(self) -> tuple[float, ...]:
        """False positive rates at which the TPR is reported."""
        named = {condition.fpr for condition in self.fail_if if condition.fpr is not None}
        return tuple(sorted({*FPRS, *named}))


def as_tuple(name: str, values: Any, kind: type) -> tuple[Any, ...]:
    """Make a tuple of one value or of several.

    Args:
        name: name of the parameter in messages.
        values: one value, or any iterable of them.
        kind: int or str.

    Raises:
        InputError: for anything else.

    >>> as_tuple("queries", 16, int), as_tuple("attacks", ["gap", "loss"], str)
    ((16,), ('gap', 'loss'))
    """
    example = '"gap" or ("gap", "loss")' if kind is str else "16 or (1, 16)"
    single = isinstance(values, kind | np.integer | str)
    try:
        items = (values,) if single else tuple(values)
    except TypeError:
        items = (None,)
    items = tuple(int(item) if isinstance(item, np.integer) else item for item in items)
    if not all(isinstance(item, kind) for item in items):
        raise InputError(f"{name} is {values!r}.", f"Pass one or several: {example}.")
    return items


def count_steps(pool: Pool, plan: AuditPlan) -> int:
    """Compute the largest number of times that `audit_pool` calls its progress.

    Args:
        pool: outputs with membership.
        plan: options.

    Returns:
        A number of steps for a progress bar.
    """
    rows = len(find_feasible(pool, plan.attacks).attacks) + 1 + (len(pool.test.labels) > 0)
    steps = len(plan.budgets) * len(plan.methods) * rows
    if plan.chosen is None:
        return steps
    protocol = chosen(plan.chosen)
    more = (select_attacks(method, replace(protocol, attacks=BOUNDARY)) for method in plan.methods)
    steps += sum(rows + len(names) for names in more)
    if pool.models == 1:  # its shadow models are trained for this attacker
        steps += MODELS + len(plan.methods) * len(protocol.attacks)
    return steps


def with_inputs(pool: Pool, plan: AuditPlan, columns: Columns) -> Pool:
    """Give a pool the inputs of its records, where an attack of the plan reads them.

    Args:
        pool: outputs with membership.
        plan: options; without attacks that read inputs nothing is done.
        columns: values of the records, by their ids.

    Returns:
        The pool with inputs, as at most 100 numbers a record; without where they are not numbers.
    """
    reading = any(ATTACKS.build(name).needs_inputs for name in plan.attacks)
    if not reading or columns.inputs is None or pool.inputs is not None:
        return pool
    try:
        return replace(pool, inputs=number_features(columns.inputs, pool.seed))
    except (TypeError, ValueError, RuntimeError):  # also of torch's tensors
        return pool


def find_attacks(pool: Pool, plan: AuditPlan) -> Feasible:
    """Find the attacks of a plan that these models are enough for, and the needs of the others.

    Args:
        pool: outputs with membership.
        plan: options; with chosen inputs there are further attacks.

    Raises:
        InputError: with the needs of the attacks, if none can be run.
    """
    possible = find_feasible(pool, plan.attacks)
    if not possible.attacks and plan.chosen is None:
        needs = " ".join(_join_needs(possible.needs.values()))
        raise InputError(needs, "Name other attacks, or none.")
    return possible


def audit_pool(
    pool: Pool,
    plan: AuditPlan,
    provenance: Provenance,
    progress: Progress = lambda step: None,
    gatherer: Gatherer | None = None,
    notes: tuple[str, ...] = (),
    workers: int = 1,
    columns: Columns | None = None,
    functions: ModelFunctions | None = None,
    target: Callable[[SingleModel, Progress], Callable[[Method], OneTarget]] | None = None,
) -> AuditReport:
    """Run every attack for which there are enough models.

    Several models are each the target once, the others its shadow models (`ShadowPool`); one model
    has an attacker who knows half of the records (`SingleModel`).

    Args:
        pool: outputs with membership.
        plan: options.
        provenance: fields of the results that are not measured.
        progress: called after each step, `count_steps` times at most.
        gatherer: collects the evidence, also of another evaluation of the same records; None
            uses a new one.
        notes: sentences for the report on how the outputs were made.
        workers: processes that measure; 1 measures in this one. Undefended outputs, and the defense
            at each query budget, are measured by one process each; the numbers are the same.
        columns: values of the records beside their outputs, by their ids.
        functions: several models as functions of inputs, for ``plan.chosen``.
        target: makes one model behind a method's defense the target of chosen inputs, for
            ``plan.chosen``; from its design and a progress, see `chosen.own_model`.

    Returns:
        Results with their evidence, outcomes of the conditions, and notes on what could not be
        measured.

    Raises:
        InputError: if no named attack can be run, or there are conditions and a warning.
        TooFewRecordsError: if there are too few models or records for any attack.
        NotFittedError: if the defense must learn from data that are missing.
        WorkerError: if a worker process died.
    """
    columns = columns or Columns()
    pool = with_inputs(pool, plan, columns)
    possible = find_attacks(pool, plan)
    needs = dict(possible.needs)

    def note_refusal(name: str, error: DynaNoiseError) -> None:
        needs[name] = f"{title_of(name)}: {error}"

    alone = pool.models == 1
    near = not alone and pool.records.inputs > 1
    overlap = _overlap(columns, pool.records)
    warnings = (*membership_warnings(pool.records), *overlap)
    persons = columns.person_numbers(pool.records.ids)
    design: SingleModel | ShadowPool = ShadowPool(pool, persons=persons)
    if alone:
        design = SingleModel(pool.originals(), persons=persons)
    provenance = replace(provenance, counts=count_persons(design, persons))
    if persons is not None:
        _check_persons(provenance.counts, pool.models)
    check_conditions(plan.fail_if, warnings)
    warn_unresolved(plan.fail_if, provenance.counts["scored_non_members"])
    gatherer = gatherer or Gatherer()
    fprs, skips = plan.fprs, not alone
    protocols = list(_protocols(plan, possible.attacks, alone, near))
    if plan.chosen is not None:
        if (target if alone else functions) is None:
            raise InputError(
                "There are outputs of these models only, which answer no further inputs.",
                "Leave chosen inputs out, or audit a model, an estimator or a way of training.",
            )
        needs = {
            name: need
            for name, need in needs.items()
            if name not in (*BOUNDARY, *BOUNDARY_OF_CELLS)
        }
    measures = Measures(columns, fprs, pool, overlap=bool(overlap))
    results: list[Result] = []
    with open_measurement_cache(workers) as measurements:
        probed = None if functions is None else _probed(design, functions, measurements)
        for protocol in protocols:  # all at once, so that no worker waits
            measurements.begin(
                list_tasks(
                    {"plain": _arrange(protocol, design, probed)},
                    plan.methods,
                    protocol,
                    fprs=fprs,
                    skip_refused=skips,
                    predictions=True,
                )
            )
        for protocol in protocols:
            arranged = _arrange(protocol, design, probed)
            threat = protocol.threat
            repeated = threat.repeats > plan.budgets[0] and not threat.chosen
            # Of repeated queries the undefended outputs are the baseline of MIDPUT alone.
            reported = {method.name for method in plan.methods[repeated:]}
            evaluated = evaluate(
                {"plain": arranged},
                plan.methods,
                protocol,
                {"plain": replace(provenance, counts=count_persons(arranged, arranged.persons))},
                fprs=fprs,
                gatherer=gatherer,
                on_refusal=None if alone else note_refusal,
                measurements=measurements,
                measures=partial(_measure_reported, reported, measures),
                progress=progress,
            )
            results += [result for result in evaluated if result.method in reported]
    if plan.chosen is not None and target is not None and isinstance(design, SingleModel):
        attacks = tuple(name for name in plan.attacks if name not in BOUNDARY)
        make_target = target(design, progress)
        for method in plan.methods:
            further = plan.chosen, attacks, provenance, measures, gatherer, progress
            results += evaluate_chosen(make_target(method), method, *further)
        run = {result.attack for result in results}
        needs = {name: need for name, need in needs.items() if name not in run}
    results = measures.complete(results)
    outcomes = tuple(check_condition(condition, results) for condition in plan.fail_if)
    if plan.defense is not None and not len(pool.test.labels):  # else utility states it
        needs["labels"] = _changed_labels(design, plan.methods[-1])
    sentences = (
        *headline(pool.records),
        *notes,
        *warnings,
        *(() if persons is None else (BY_PERSON.format(persons=persons.max() + 1),)),
        *_join_needs(needs.values()),
        *_notes(pool),
        *_noise_note(pool, plan.methods[-1]),
        *(each.sentence for each in outcomes),
    )
    return AuditReport(gatherer.evidence(results, sentences), outcomes)


LEAST_PERSONS = 10
"""Persons who are members, and who are not, that are scored for each model at least."""

BY_PERSON = (
    "The records belong to {persons:,} persons. Attacks are on persons: a person's score is the "
    "mean of the scores of the records, thresholds and the attacker's choice are for these means, "
    "and auc_largest is the AUC of the largest score. Accuracy is by record. A person whose "
    "records differ in class or group is in the group 'several'."
)


def _check_persons(counts: Mapping[str, int], models: int) -> None:
    """Check that enough persons are scored.

    Raises:
        TooFewRecordsError: with their numbers.
    """
    inside, outside = counts["scored_members"], counts["scored_non_members"]
    if min(inside, outside) < LEAST_PERSONS * models:
        raise TooFewRecordsError(
            f"{inside} persons would be scored as members and {outside} as non-members, over "
            f"{models} model{'' if models == 1 else 's'}.",
            f"Give at least {LEAST_PERSONS} of both for each model, or audit records, without "
            "groups.",
        )


def _overlap(columns: Columns, records: Outputs) -> tuple[str, ...]:
    """Warn of records and persons that are members and non-members at once."""
    if records.models > 1:
        columns = replace(columns, inputs=None)  # not compared, so not copied
    of_records = columns.select(records.ids.copy())  # torch takes no read-only positions
    return overlap_warnings(of_records, records.labels, records.use)


def _protocols(
    plan: AuditPlan, attacks: tuple[str, ...], alone: bool, near: bool
) -> Iterator[AttackProtocol]:
    """A protocol for each query budget; ``near`` where several inputs of a record were queried."""
    for queries in plan.budgets:
        if alone:
            yield single_model(queries, attacks)
        else:
            yield replace(adaptive(queries, near=near), attacks=attacks)
    if plan.chosen is not None and not alone:
        yield replace(chosen(plan.chosen), attacks=(*attacks, *BOUNDARY))


def _probed(
    design: SingleModel | ShadowPool, functions: ModelFunctions, measurements: MeasurementCache
) -> ShadowPool:
    """Some of the records, and the models as functions of their inputs."""
    assert isinstance(design, ShadowPool)
    pool = design.pool.originals()
    count = len(pool.records.ids)
    generator = np.random.default_rng(derive(pool.seed, "probed records"))
    rows = np.sort(generator.permutation(count)[:PROBED])
    records = pool.records.select(records=rows)
    persons = Columns(persons=design.persons).person_numbers(rows)
    prepared = functions.prepare(records, run=measurements.map)
    return ShadowPool(replace(pool, records=records), chosen=prepared, persons=persons)


def _measure_reported(
    methods: Collection[str], measures: Measures, task: Task, attack: AttackScores
) -> Mapping[str, Metric]:
    """Further metrics of an attack on one of the reported methods; none for another."""
    return measures(task, attack) if task.method.name in methods else {}


def _arrange(
    protocol: AttackProtocol, design: SingleModel | ShadowPool, probed: ShadowPool | None
) -> SingleModel | ShadowPool:
    """The models and records of a protocol."""
    if not protocol.threat.chosen:
        return design
    assert probed is not None
    return probed


def _changed_labels(design: SingleModel | ShadowPool, method: Method) -> str:
    """State the share of audited records whose label a defense changes."""
    records, noise = design.records, design.noise(method)
    changed = []
    for model, view in enumerate(design.views(adaptive(1).threat)):
        logits = records.logits[model, :, 0]
        probs = method.defense.fit(view)(logits, noise(model, "labels")(""))
        changed.append(float((probs.argmax(axis=-1) != logits.argmax(axis=-1)).mean()))
    return f"{np.mean(changed):.1%} of the labels behind {method.name} are not the model's own."


def _join_needs(needs: Iterable[str]) -> list[str]:
    """Write attacks of one need in one sentence.

    >>> _join_needs(["LiRA needs shadow models.", "RMIA needs shadow models.", "4 labels."])
    ['LiRA, RMIA need shadow models.', '4 labels.']
    """
    names: dict[str, list[str]] = {}
    for need in needs:
        name, _, rest = need.partition(" needs ")
        names.setdefault(rest, []).append(name)
    return [
        need
        for rest, of_attacks in names.items()
        for need in (
            [f"{', '.join(of_attacks)} need{'s' * (len(of_attacks) == 1)} {rest}"]
            if rest
            else of_attacks
        )
    ]


def _noise_note(pool: Pool, method: Method) -> list[str]:
    """Name the way from fresh to keyed noise, with a cell width."""
    if method.cell_width is not None or method.defense.repeatable:
        return []
    width = starting_width(pool.records.logits[:, :, 0])
    return [
        f"The noise of {method.name} is fresh: repeated queries average it away. Keyed noise is "
        f"the same at every query; add cell_width={width:g} to the defense's parameters "
        f"({GAPS:g} times the median gap between the two largest logits) to audit it."
    ]


def _notes(pool: Pool) -> list[str]:
    notes = []
    if len(pool.test.labels) == 0:
        notes.append(
            "Accuracy was not measured: give test_logits or test_probs, with test_labels, of "
            "records that no model was trained on."
        )
    unknown = int((pool.records.use < 0).sum())
    if unknown:
        notes.append(
            f"{unknown:,} pairs of model and record of unknown membership were neither scored "
            "nor used."
        )
    return notes
