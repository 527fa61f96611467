"""Tuning of DynaNoise for trained models: a search, then a full evaluation of the best settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dynanoise.core.defense import Method
from dynanoise.core.errors import DynaNoiseError, InputError, TooFewRecordsError
from dynanoise.core.outputs import Pool
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import AttackProtocol, Metric, Result
from dynanoise.defenses.calibrated_label import CalibratedLabel
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.chosen_inputs import ModelFunctions
from dynanoise.evaluation.engine import evaluate, open_measurement_cache
from dynanoise.evaluation.feasibility import find_feasible
from dynanoise.evaluation.protocols import BOUNDARY, adaptive, chosen, select_attacks
from dynanoise.evaluation.provenance import Provenance, versions
from dynanoise.evaluation.shadow_pool import shadow_pools
from dynanoise.tuning.objective import Objective, Setting, Utility
from dynanoise.tuning.options import TuneOptions
from dynanoise.tuning.search import Limits, find_front, list_quantisations, open_evaluation, search

SHARES = (1.0, 0.95, 0.9, 0.75, 0.5)
"""Shares of the best gain: the cheapest setting of each is evaluated on other records.

There a setting at a limit may exceed it, and the next one is then recommended.
"""

NEAR_RECORDS = 2_500
"""Records that are queried with their near-duplicates, at most."""

PROBED_RECORDS = 1_000
"""Records that are queried with chosen inputs, at most."""

NONE, LABEL, SCALED, CELLS = "none", "calibrated_label", "temperature", "cells"
"""References: no defense, the label with its accuracy, temperature scaling, cells without noise."""


@dataclass(frozen=True)
class TunePlan(TuneOptions):
    """The search for a setting, checked before any work; fields as of `TuneOptions`.

    Raises:
        InputError: for numbers outside their ranges, or a specification that cannot be read.
        UnknownNameError: for an unknown attack.
    """

    workers: int | None = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for attack in self.attacks:
            ATTACKS.build(attack)
        assert Limits(self.max_accuracy_drop, self.max_nll, self.max_ece)

    def limits(self, plain: float, scaled: float, label: float) -> Limits:
        """Limits with the default of ``max_nll`` filled in.

        It is halfway from the undefended model's to that of the label. An overconfident model is
        above the label already; there temperature scaling stands for it, so that the limit is below
        the label's. Where the scaled model is above it, too, the limit is the label's itself: a
        lower one would refuse every model that is not better than its own labels.

        Args:
            plain: negative log-likelihood of the undefended model.
            scaled: likewise after temperature scaling.
            label: likewise of the label with its accuracy.

        Returns:
            Limits of accuracy, likelihood and calibration.

        >>> TunePlan().limits(1.0, 0.9, 1.5).nll, TunePlan().limits(3.0, 1.0, 1.5).nll
        (1.25, 1.25)
        >>> TunePlan().limits(18.9, 1.061, 0.806).nll
        0.806
        """
        best = plain if plain < label else min(scaled, label)
        nll = (best + label) / 2 if self.max_nll is None else self.max_nll
        return Limits(self.max_accuracy_drop, nll, self.max_ece)

    def protocols(self, pool: Pool) -> tuple[AttackProtocol, ...]:
        """Protocols of the evaluation of the best settings.

        Args:
            pool: the models, with near-duplicates or without.

        Returns:
            One for each query budget, and one over near-duplicates where there are any.
        """
        budgets = dict.fromkeys((1, self.queries))
        near = self.near and pool.records.inputs > 1
        protocols = [*map(adaptive, budgets), *([adaptive(near=True)] if near else [])]
        attacks = find_feasible(pool.originals(), self.attacks).attacks
        usual = [replace(protocol, attacks=attacks) for protocol in protocols]
        boundary = (*attacks, *BOUNDARY)
        probed = [replace(chosen(self.queries), attacks=boundary)] if self.chosen else []
        return (*usual, *probed)


@dataclass(frozen=True, eq=False)
class Tuned:
    """Result of tuning.

    Attributes:
        plan: options of the search.
        limits: with the default filled in.
        plain: utility of the undefended model.
        floor: `CalibratedLabel`, evaluated like the settings.
        scaled: temperature scaling, likewise.
        tried: settings in the order of their proposal.
        cells: cells without noise, evaluated like the settings.
        finalists: by name, the best settings; their results are of other records and test data than
            the search's, and the recommended one is chosen by them.
        results: results of the finalists and the references.
        beaten: by finalist, the references that are at least as good in every column, and better
            in one.
        chosen: the finalist that is recommended; None if none keeps to the limits, gains, and is
            better than every reference in some column.
        seconds: duration of the search, cells included.
        searched: number of records that the search attacked.
    """

    plan: TunePlan
    limits: Limits
    plain: Utility
    floor: Setting
    scaled: Setting
    tried: tuple[Setting, ...]
    cells: tuple[Setting, ...]
    finalists: dict[str, Method]
    results: tuple[Result, ...]
    beaten: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    chosen: str | None = None
    seconds: float = 0.0
    searched: int = 0

    def worst(self, name: str) -> Metric:
        """Worst-case MIDPUT of a finalist under the protocol that leaves least of it.

        Args:
            name: name of the finalist.

        Returns:
            The gain with its interval.
        """
        return worst(self.results, name)


def worst(results: Sequence[Result], name: str) -> Metric:
    """The smallest worst-case MIDPUT of a method over protocols, by its lower limit.

    Args:
        results: results of all protocols.
        name: name of the method.

    Returns:
        The gain with its interval.
    """
    metrics = [
        result.metrics["midput_worst_case"]
        for result in results
        if result.method == name and result.attack is None
    ]
    return min(metrics, key=_low)


def _low(metric: Metric) -> float:
    return metric.value if metric.low is None else metric.low


def tune(
    pool: Pool,
    plan: TunePlan,
    provenance: Provenance,
    progress: Callable[[str], None] = lambda step: None,
    functions: ModelFunctions | None = None,
) -> Tuned:
    """Search settings on some records, and evaluate the best on the others by every attack.

    Args:
        pool: several models with test data.
        plan: options of the search.
        provenance: for the results.
        progress: called `count_steps` times.
        functions: the models as functions of inputs, where the plan has chosen inputs.

    Returns:
        Settings, results of the best ones, and the recommendation.

    Raises:
        InputError: for a pool of one model, or for chosen inputs without ``functions``.
        TooFewRecordsError: if there are too few models or records, or no test data.
        MissingExtraError: if Optuna is not installed.
    """
    check_pool(pool)
    if plan.chosen and functions is None:
        raise InputError(
            "These are outputs of models, which answer no chosen inputs.",
            "Give the folder of a preset's models, or leave --chosen out.",
        )
    functions = functions if plan.chosen else None
    objective = Objective(pool, plan.queries, plan.seed, plan.attacks, functions)
    references = objective.plain, objective.scaled.utility, objective.floor.utility
    limits = plan.limits(*(utility.nll for utility in references))
    started = time.perf_counter()
    with open_evaluation(objective, plan.processes) as evaluate_all:
        tried = tuple(search(objective, limits, plan.trials, evaluate_all, progress))
        cells = tuple(evaluate_all(list_quantisations(objective.gap)))
        seconds = time.perf_counter() - started
        progress("cells without noise")
    finalists = _finalists(tried, cells, limits)
    results = tuple(
        _evaluate_finalists(pool, objective, plan, finalists, provenance, progress, functions)
    )
    beaten = {name: _beaten_by(results, name) for name in finalists}
    return Tuned(
        plan,
        limits,
        objective.plain,
        objective.floor,
        objective.scaled,
        tried,
        cells,
        finalists,
        results,
        beaten,
        _chosen(results, [name for name in finalists if not beaten[name]], plan),
        seconds,
        len(objective.pool.records.labels),
    )


def check_pool(pool: Pool) -> None:
    """Refuse, before any work, models that the search has no attacker or no test data for.

    Args:
        pool: the models.

    Raises:
        InputError: for a pool of one model.
        TooFewRecordsError: if there are fewer than two records of test data.
    """
    if pool.models < 2:
        raise InputError(
            "There is one model, and its attacker needs others to learn from.",
            "Give outputs of several models, each trained on its own random half of the records.",
        )
    if len(pool.test.labels) < 2 or not len(pool.reference.labels):
        raise TooFewRecordsError(
            f"There are outputs about {len(pool.test.labels)} records of test data, too few to "
            "measure accuracy and likelihood on some in the search and on others after it.",
            "Give test_logits or test_probs with test_labels, of records that no model was "
            "trained on.",
        )


def count_steps(pool: Pool, plan: TunePlan) -> int:
    """Number of calls of `tune` to its progress, at most.

    Args:
        pool: the models.
        plan: options of the search.

    Returns:
        A number of steps for a progress bar.
    """
    methods = [Method("", undefended()), Method("", undefended(), cell_width=1.0)]
    plain, keyed = (
        sum(len(select_attacks(method, protocol)) + 2 for protocol in plan.protocols(pool))
        for method in methods
    )
    return plan.trials + 1 + 3 * plain + (len(SHARES) + 2) * keyed


def _finalists(
    tried: Sequence[Setting], cells: Sequence[Setting], limits: Limits
) -> dict[str, Method]:
    """The cheapest settings of some shares of the best gain, and the best cells without noise."""

    def cheapest(settings: Sequence[Setting], shares: Sequence[float]) -> list[Setting]:
        allowed = [
            setting for setting in settings if limits.satisfied(setting) and setting.gain > 0
        ]
        best = find_front(allowed)
        gains = [share * best[-1].gain for share in shares] if best else []
        kept = [next(setting for setting in best if setting.gain >= gain) for gain in gains]
        return list(dict.fromkeys(kept))

    named = {f"setting_{i}": setting for i, setting in enumerate(cheapest(tried, SHARES), 1)}
    named |= {f"{CELLS}_{i}": s for i, s in enumerate(cheapest(cells, SHARES[:2]), 1)}
    return {name: replace(setting.method, name=name) for name, setting in named.items()}


def _evaluate_finalists(
    pool: Pool,
    objective: Objective,
    plan: TunePlan,
    finalists: dict[str, Method],
    provenance: Provenance,
    progress: Callable[[str], None],
    functions: ModelFunctions | None,
) -> Iterator[Result]:
    """Results of the finalists and the references on records and test data of their own."""
    methods = [
        Method(NONE, undefended()),
        Method(LABEL, CalibratedLabel()),
        replace(objective.scaled.method, name=SCALED),
        *finalists.values(),
    ]
    provenance = replace(provenance, versions=versions(["optuna"]))

    def note_refusal(name: str, error: DynaNoiseError) -> None:
        progress(f"{name}: {error}")

    with open_measurement_cache(plan.processes) as measurements:
        for protocol in plan.protocols(pool):
            near = protocol.threat.augmented
            rows = objective.rest[:NEAR_RECORDS] if near else objective.rest
            if protocol.threat.chosen:
                rows = objective.rest[:PROBED_RECORDS]
            rest = replace(
                pool,
                records=pool.records.select(records=rows),
                test=pool.test.select(records=objective.rest_of_test),
            )
            prepared = {}
            if functions is not None and protocol.threat.chosen:
                prepared["plain"] = functions.prepare(
                    rest.originals().records, run=measurements.map
                )
            designs = shadow_pools({"plain": rest}, protocol, chosen=prepared)
            counted = replace(provenance, counts=designs["plain"].counts)
            yield from evaluate(
                designs,
                methods,
                protocol,
                {"plain": counted},
                on_refusal=note_refusal,
                measurements=measurements,
                progress=progress,
            )


def compare(results: Sequence[Result], name: str, reference: str) -> dict[str, float]:
    """Compare two methods column by column.

    Args:
        results: results of all protocols.
        name: name of a method.
        reference: name of the method that it is compared with.

    Returns:
        By column, by how much the method is better: worst-case MIDPUT under each protocol,
        accuracy, likelihood in nats, calibration error.
    """
    gains = {
        f"MIDPUT ({after.protocol})": after.metrics["midput_worst_case"].value
        - before.metrics["midput_worst_case"].value
        for before, after in zip(
            *(
                [row for row in results if row.method == method and row.attack is None]
                for method in (reference, name)
            ),
            strict=True,
        )
    }
    after, before = _utility(results, name), _utility(results, reference)
    return {
        **gains,
        "accuracy": after["accuracy"] - before["accuracy"],
        "NLL": before["nll"] - after["nll"],
        "ECE": before["ece"] - after["ece"],
    }


def _beaten_by(results: Sequence[Result], name: str) -> tuple[str, ...]:
    """The references that are at least as good as a method in every column, and better in one."""
    return tuple(
        reference
        for reference in (LABEL, SCALED)
        if max(better := compare(results, name, reference).values()) <= 0 and min(better) < 0
    )


def _chosen(results: Sequence[Result], finalists: Sequence[str], plan: TunePlan) -> str | None:
    """The finalist with the largest lower limit among those that keep to the limits here, too."""
    best, chosen = 0.0, None
    plain = _utility(results, NONE)
    limits = plan.limits(*(_utility(results, name)["nll"] for name in (NONE, SCALED, LABEL)))
    for name in finalists:
        values = _utility(results, name)
        drop = plain["accuracy"] - values["accuracy"]
        excess = limits.excess(drop, values["nll"], values["ece"])
        low = _low(worst(results, name))
        if all(over <= 0 for over in excess.values()) and low > best:
            best, chosen = low, name
    return chosen


def _utility(results: Sequence[Result], name: str) -> dict[str, float]:
    """Utility under the first protocol; it is the same under the others."""
    first = next(result for result in results if result.method == name and result.attack is None)
    return {name: metric.value for name, metric in first.metrics.items()}
