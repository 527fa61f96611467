"""Finds a good setting of DynaNoise for models that are there already: search, then judge anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from dynanoise.core.defense import Method
from dynanoise.core.errors import DynaNoiseError, InputError
from dynanoise.core.outputs import Pool
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import AttackProtocol, Metric, Result
from dynanoise.defenses.calibrated_label import CalibratedLabel
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation import provenance
from dynanoise.evaluation.executors import several
from dynanoise.evaluation.feasibility import feasible
from dynanoise.evaluation.protocols import adaptive, attacks_on
from dynanoise.evaluation.shadow_pool import Memory, judge_pool
from dynanoise.evaluation.subject import Subject, counts_of
from dynanoise.tuning.objective import Judged, Objective, Utility
from dynanoise.tuning.options import TuneOptions
from dynanoise.tuning.search import Limits, front, judges, reference_cells, search

SHARES = (1.0, 0.95, 0.9, 0.75, 0.5)
"""Of the best gain: the cheapest setting of each is judged anew.

On other records one at a limit may be beyond it, and the next is then the answer.
"""

NEAR_RECORDS = 2_500
"""Records that are asked about with their near-duplicates, at most."""

NONE, LABEL, CELLS = "none", "calibrated_label", "cells"
"""What settings are compared with: no defense, the label with its accuracy, cells without noise."""


@dataclass(frozen=True)
class TunePlan(TuneOptions):
    """The search for a setting, checked before any work; fields as of `TuneOptions`.

    Raises:
        InputError: for numbers outside their ranges, or a specification that cannot be read.
        UnknownNameError: if there is no such attack.
    """

    workers: int | None = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for attack in self.attacks:
            ATTACKS.build(attack)
        assert Limits(self.max_accuracy_drop, self.max_nll, self.max_ece)

    def limits(self, plain: float, label: float) -> Limits:
        """With the default filled in.

        Args:
            plain: negative log-likelihood of the undefended model.
            label: of the label with its accuracy.

        >>> TunePlan().limits(1.0, 1.5).nll
        1.25
        """
        nll = (plain + label) / 2 if self.max_nll is None else self.max_nll
        return Limits(self.max_accuracy_drop, nll, self.max_ece)

    def protocols(self, pool: Pool) -> tuple[AttackProtocol, ...]:
        """How the best settings are judged anew."""
        budgets = dict.fromkeys((1, self.queries))
        near = self.near and pool.examples.inputs > 1
        found = [*map(adaptive, budgets), *([adaptive(near=True)] if near else [])]
        can = feasible(pool.originals(), self.attacks).attacks
        return tuple(replace(one, attacks=can) for one in found)


@dataclass(frozen=True, eq=False)
class Tuned:
    """What came of it.

    Attributes:
        plan: how it was tuned.
        limits: with the default filled in.
        plain: utility of the undefended model.
        floor: `CalibratedLabel`, as the search saw it.
        tried: settings in their order.
        cells: cells without noise, likewise judged.
        finalists: by name, the best settings; their results are of other records than the search's.
        records: of these and what they are compared with.
        chosen: the finalist that is recommended; None if none keeps to the limits and gains.
        seconds: that the search took, cells included.
        searched: records that it attacked.
    """

    plan: TunePlan
    limits: Limits
    plain: Utility
    floor: Judged
    tried: tuple[Judged, ...]
    cells: tuple[Judged, ...]
    finalists: dict[str, Method]
    records: tuple[Result, ...]
    chosen: str | None = field(default=None)
    seconds: float = 0.0
    searched: int = 0

    def worst(self, name: str) -> Metric:
        """Worst-case MIDPUT of a finalist against the attacker who takes most of it."""
        return worst(self.records, name)


def worst(records: Sequence[Result], name: str) -> Metric:
    """The smallest worst-case MIDPUT of a method over protocols, by its lower limit."""
    found = [
        one.metrics["midput_worst_case"]
        for one in records
        if one.method == name and one.attack is None
    ]
    return min(found, key=lambda metric: metric.value if metric.low is None else metric.low)


def tune(
    pool: Pool,
    plan: TunePlan,
    subject: Subject,
    progress: Callable[[str], None] = lambda step: None,
) -> Tuned:
    """Searches settings on some records, and judges the best on the others by every attack.

    Args:
        pool: at least several models with test data.
        plan: how.
        subject: for the results.
        progress: called `steps` times.

    Raises:
        TooFewRecordsError: if there are too few models or records, or no test data.
        MissingExtraError: if Optuna is not installed.
    """
    if pool.models < 2:
        raise InputError(
            "There is one model, and its attacker needs others to learn from.",
            "Give answers of several models, each trained on its own random half of the records.",
        )
    objective = Objective(pool, plan.queries, plan.seed, plan.attacks)
    limits = plan.limits(objective.plain.nll, objective.floor.utility.nll)
    started = time.perf_counter()
    with judges(objective, plan.processes) as judge:
        tried = tuple(search(objective, limits, plan.trials, judge, progress))
        cells = tuple(judge(reference_cells(objective.gap)))
        seconds = time.perf_counter() - started
        progress("cells without noise")
    finalists = _finalists(tried, cells, limits)
    records = tuple(_judged_anew(pool, objective, plan, finalists, subject, progress))
    return Tuned(
        plan,
        limits,
        objective.plain,
        objective.floor,
        tried,
        cells,
        finalists,
        records,
        _chosen(records, finalists, plan),
        seconds,
        len(objective.pool.examples.labels),
    )


def steps(pool: Pool, plan: TunePlan) -> int:
    """How often `tune` calls its progress, at most."""
    rows = [Method("", undefended()), Method("", undefended(), cell_width=1.0)]
    plain, keyed = (
        sum(len(attacks_on(one, protocol)) + 2 for protocol in plan.protocols(pool)) for one in rows
    )
    return plan.trials + 1 + 2 * plain + (len(SHARES) + 2) * keyed


def _finalists(
    tried: Sequence[Judged], cells: Sequence[Judged], limits: Limits
) -> dict[str, Method]:
    """The cheapest settings of some shares of the best gain, and the best cells without noise."""

    def cheapest(judged: Sequence[Judged], shares: Sequence[float]) -> list[Judged]:
        best = front([one for one in judged if limits.kept(one) and one.gain > 0])
        wanted = [share * best[-1].gain for share in shares] if best else []
        found = [next(one for one in best if one.gain >= least) for least in wanted]
        return list(dict.fromkeys(found))

    named = {f"setting_{i}": one for i, one in enumerate(cheapest(tried, SHARES), 1)}
    named |= {f"{CELLS}_{i}": one for i, one in enumerate(cheapest(cells, SHARES[:2]), 1)}
    return {name: replace(one.method, name=name) for name, one in named.items()}


def _judged_anew(
    pool: Pool,
    objective: Objective,
    plan: TunePlan,
    finalists: dict[str, Method],
    subject: Subject,
    progress: Callable[[str], None],
) -> Iterator[Result]:
    methods = [
        Method(NONE, undefended()),
        Method(LABEL, CalibratedLabel()),
        *finalists.values(),
    ]
    versions, hardware = provenance.versions(["optuna"]), provenance.hardware()
    memory: Memory = {}

    def refused(name: str, error: DynaNoiseError) -> None:
        progress(f"{name}: {error}")

    with several(plan.processes) as team:
        for protocol in plan.protocols(pool):
            near = protocol.threat.augmented
            rows = objective.rest[:NEAR_RECORDS] if near else objective.rest
            rest = replace(pool, examples=pool.examples.select(examples=rows))
            rest = rest if near else rest.originals()
            counts = counts_of(rest)
            findings = judge_pool(
                {"plain": rest},
                methods,
                protocol,
                progress,
                refused=refused,
                memory=memory,
                judges=team,
            )
            for finding in findings:
                yield subject.record(finding, protocol, rest, counts, versions, hardware)


def _chosen(records: Sequence[Result], finalists: dict[str, Method], plan: TunePlan) -> str | None:
    """The finalist with the largest lower limit among those that keep to the limits here, too."""
    best, chosen = 0.0, None
    plain = _utility(records, NONE)
    limits = plan.limits(plain["nll"], _utility(records, LABEL)["nll"])
    for name in finalists:
        own = _utility(records, name)
        excess = limits.excess(plain["accuracy"] - own["accuracy"], own["nll"], own["ece"])
        found = worst(records, name)
        low = found.value if found.low is None else found.low
        if all(over <= 0 for over in excess.values()) and low > best:
            best, chosen = low, name
    return chosen


def _utility(records: Sequence[Result], name: str) -> dict[str, float]:
    """At the budget that was judged first; the noise of a label's change is the same at others."""
    one = next(one for one in records if one.method == name and one.attack is None)
    return {metric: found.value for metric, found in one.metrics.items()}
