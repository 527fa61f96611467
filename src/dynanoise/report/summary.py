"""Results of several seeds put together: the source of tables, sentences and charts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dynanoise.attacks.base import title_of
from dynanoise.core.errors import InputError
from dynanoise.core.result import STRONGEST, Metric, Result, ThreatModel
from dynanoise.metrics import intervals
from dynanoise.report import numbers

CELL_ATTACKS = "cell_mates"
"""Prefix of the names of attacks that only keyed noise allows."""

DECODED = "boundary_probing"
"""Name of the attack that only keyed noise allows whose cells can be decoded."""

ATTACK_METRICS = {"asr", "auc"}
UTILITY_METRICS = {
    "accuracy",
    "train_accuracy",
    "midput",
    "midput_leakage",
    "midput_worst_case",
}


@dataclass(frozen=True)
class Spread:
    """One metric over seeds.

    Attributes:
        values: one for each seed.
        single: the metric with its own interval, where there is one seed.
    """

    values: tuple[float, ...]
    single: Metric | None = None

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return float(np.mean(self.values))

    @property
    def sd(self) -> float | None:
        """The sample standard deviation over seeds; None for one seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    @property
    def interval(self) -> Metric:
        """The mean with Student's 95% interval over seeds, or the only seed's own metric."""
        if self.single is not None:
            return self.single
        return intervals.mean(self.values)


@dataclass(frozen=True)
class Summary:
    """The results of one preset under one protocol.

    Attributes:
        results: in the order of the seeds.
        methods: names in the order of the results; the first is the baseline.
        attacks: names likewise, of the attacks that were run on all methods.
        seeds: in ascending order.
        special: attacks that were run on some methods only.
    """

    results: tuple[Result, ...]
    methods: tuple[str, ...]
    attacks: tuple[str, ...]
    seeds: tuple[int, ...]
    special: tuple[str, ...] = ()

    @property
    def threat(self) -> ThreatModel:
        """The protocol's threat model."""
        return self.results[0].threat

    def select(self, method: str, attack: str | None) -> list[Result]:
        """Results of one method under one attack (None: utility); empty if it was not run."""
        return [
            result for result in self.results if (result.method, result.attack) == (method, attack)
        ]

    def has(self, method: str, attack: str | None, metric: str | None = None) -> bool:
        """True if an attack was run on a method, and measured in this metric for every seed."""
        results = self.select(method, attack)
        return bool(results) and all(metric in {None, *row.metrics} for row in results)

    def spread(self, method: str, attack: str | None, metric: str) -> Spread:
        """A metric of one method under one attack (None: utility), a value for each seed."""
        metrics = [result.metrics[metric] for result in self.select(method, attack)]
        single = metrics[0] if len(metrics) == 1 else None
        return Spread(tuple(value.value for value in metrics), single)

    def metric(self, method: str, attack: str | None, metric: str) -> Metric | None:
        """The mean over seeds with its interval; None where a seed lacks the metric."""
        if not self.has(method, attack, metric):
            return None
        return self.spread(method, attack, metric).interval

    def change(self, method: str, attack: str | None, metric: str) -> Spread:
        """A metric of one method minus the baseline's of the same seed."""
        after = self.spread(method, attack, metric).values
        before = self.spread(self.methods[0], attack, metric).values
        return Spread(tuple(a - b for a, b in zip(after, before, strict=True)))

    @property
    def deciding(self) -> str:
        """The attack that a protocol's success is that of, in words.

        An attacker with models of its own chooses an attack on them; otherwise it is the best.
        """
        return "attacker's choice" if STRONGEST in self.attacks else "best attack"

    def success(self, method: str) -> tuple[str, Metric]:
        """Title and balanced accuracy of the deciding attack on a method."""
        if STRONGEST not in self.attacks:
            return self._best(method)
        counts = chosen_attacks(self.select(method, STRONGEST)[0])
        most = max(counts, key=lambda name: counts[name])
        return title_of(most), self.spread(method, STRONGEST, "asr").interval

    def better(self, method: str) -> tuple[str, Metric] | None:
        """The best single attack, if it has more success than the attacker's choice; else None.

        The attacker cannot know which attack that is: it is the best on the target itself.
        """
        best = self._best(method)
        higher = numbers.rate(best[1].value) > numbers.rate(self.success(method)[1].value)
        return best if higher else None

    def _best(self, method: str) -> tuple[str, Metric]:
        names = [name for name in (*self.attacks, *self.special) if name != STRONGEST]
        spreads = {
            name: self.spread(method, name, "asr") for name in names if self.has(method, name)
        }
        most = max(spreads, key=lambda name: spreads[name].mean)
        return title_of(most), spreads[most].interval


def chosen_attacks(result: Result) -> dict[str, int]:
    """Count for each attack how many targets it was chosen for, from a `STRONGEST` result."""
    return {
        name.removeprefix("chosen "): int(metric.value)
        for name, metric in result.metrics.items()
        if name.startswith("chosen ")
    }


def attack_title(attack: str) -> str:
    """The heading of an attack in tables.

    >>> attack_title("lira_by_class"), attack_title(STRONGEST)
    ('LiRA by class', "Attacker's choice")
    """
    return "Attacker's choice" if attack == STRONGEST else title_of(attack)


def summarise(results: Sequence[Result]) -> Summary:
    """Put the results of one preset and protocol together.

    Args:
        results: those of every method, attack and seed of a run, in any order.

    Raises:
        InputError: if there are none, if they are of several presets or protocols, if some are
            missing or repeated, or lack metrics.
    """

    def distinct(of: Callable[[Result], str | None]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name in map(of, results) if name is not None))

    presets = distinct(lambda result: f"{result.preset} ({result.protocol} protocol)")
    if len(presets) != 1:
        raise InputError(
            f"The results are of {', '.join(presets) or 'nothing'}.",
            "Summarise one preset and protocol at a time.",
        )
    methods = distinct(lambda result: result.method)
    attacks = distinct(lambda result: result.attack)
    seeds = tuple(sorted({result.seed for result in results}))
    present = {(result.method, result.attack, result.seed) for result in results}
    keyed = {result.method for result in results if "noise" in result.defense}
    attacked = {name: {m for m, attack, _ in present if attack == name} for name in attacks}
    on_cells = {
        name
        for name in attacks
        if name.startswith(CELL_ATTACKS) and attacked[name] == keyed != {*methods}
    }
    # Cells are decoded only where the defense keeps labels.
    decoded = attacked.get(DECODED, set()) & keyed
    if decoded and decoded == attacked[DECODED] != {*methods}:
        on_cells.add(DECODED)
    general = tuple(name for name in attacks if name not in on_cells)
    expected = {(m, a, s) for m in methods for a in (*general, None) for s in seeds}
    expected |= {
        (m, a, s) for a in on_cells for m in (decoded if a == DECODED else keyed) for s in seeds
    }
    if present != expected or len(results) != len(expected):
        missing = sorted(map(str, expected - present))
        raise InputError(
            f"Of {len(expected)} results {len(missing)} are missing and "
            f"{len(results) - len(present)} are repeated{': ' if missing else ''}"
            f"{', '.join(missing[:3])}.",
            "Pass all results of one run.",
        )
    for result in results:
        lacking = (ATTACK_METRICS if result.attack else UTILITY_METRICS) - set(result.metrics)
        if lacking:
            raise InputError(
                f"The result of {result.method}, {result.attack or 'utility'}, seed "
                f"{result.seed} lacks {', '.join(sorted(lacking))}.",
                "Pass results as `dynanoise bench` writes them.",
            )
    ordered = tuple(sorted(results, key=lambda result: result.seed))
    return Summary(ordered, methods, general, seeds, tuple(sorted(on_cells)))


def method_names(summaries: Iterable[Summary]) -> list[str]:
    """Names of all methods of some protocols, in the order of their first appearance."""
    return list(dict.fromkeys(name for summary in summaries for name in summary.methods))


def by_protocol(results: Sequence[Result]) -> dict[str, Summary]:
    """Summarise each protocol's results, in the order of the results."""
    names = dict.fromkeys(result.protocol for result in results)
    return {
        name: summarise([result for result in results if result.protocol == name]) for name in names
    }


_SIZE = re.compile(r" --size (?!cpu\b)(\w+)")
"""A size that is not the default, in the command that reproduces a run."""


def data_sets(runs: Mapping[str, Sequence[Result]]) -> dict[str, str]:
    """Name the data set of each run: its preset, with model and size unless they are the usual.

    The model of a data set is that of the run which is named like the preset, its size the default.

    Args:
        runs: results by the name of their run, those of the baseline first.

    Returns:
        Names by run, such as "sst2", "sst2_text" for a run with the model "text" if the run "sst2"
        has another, and "cifar10_paper" for a run with ``--size paper``.
    """
    names = {}
    for name, results in runs.items():
        first = results[0]
        parts = [first.preset]
        if first.preset in runs and first.model != runs[first.preset][0].model:
            parts.append(first.model)
        if size := _SIZE.search(first.command):
            parts.append(size[1])
        names[name] = "_".join(parts)
    return names


def largest_runs(runs: Mapping[str, Sequence[Result]]) -> dict[tuple[str, str, str], str]:
    """Choose the run that a method is shown from, where several have measured it.

    Args:
        runs: results by the name of their run.

    Returns:
        The name of the run by data set, protocol and method. The run with most methods under that
        protocol is chosen, the first by name among equals.
    """
    candidates = [
        (-len(summary.methods), name, protocol, summary)
        for name, results in runs.items()
        for protocol, summary in by_protocol(results).items()
    ]
    sets = data_sets(runs)
    chosen: dict[tuple[str, str, str], str] = {}
    for _, name, protocol, summary in sorted(candidates, key=lambda each: each[:3]):
        for method in summary.methods:
            chosen.setdefault((sets[name], protocol, method), name)
    return chosen
