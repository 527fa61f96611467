"""Records of several seeds, put together: what tables, sentences and pictures draw on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.core.result import Metric, Result
from dynanoise.metrics import intervals

ON_CELLS = "cell_mates"
"""Begins the names of attacks that only keyed noise has answers for."""

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
        alone: with one seed, its own interval if it has one.
    """

    values: tuple[float, ...]
    alone: Metric | None = None

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
        """The mean with Student's 95% interval over seeds, or the only seed's own."""
        if self.alone is not None:
            return self.alone
        return intervals.mean(self.values)


@dataclass(frozen=True)
class Summary:
    """Records of one preset and one protocol.

    Attributes:
        methods: in the order of the results; the first is the baseline.
        attacks: likewise, those that all methods have.
        seeds: in ascending order.
        special: attacks that only methods of their kind have.
    """

    records: tuple[Result, ...]
    methods: tuple[str, ...]
    attacks: tuple[str, ...]
    seeds: tuple[int, ...]
    special: tuple[str, ...] = ()

    def has(self, method: str, attack: str) -> bool:
        """Whether an attack was run on a method."""
        return any((one.method, one.attack) == (method, attack) for one in self.records)

    def spread(self, method: str, attack: str | None, metric: str) -> Spread:
        """A metric of one method under one attack (None: utility), a value for each seed."""
        found = [
            record.metrics[metric]
            for record in self.records
            if record.method == method and record.attack == attack
        ]
        alone = found[0] if len(found) == 1 else None
        return Spread(tuple(metric.value for metric in found), alone)

    def change(self, method: str, attack: str | None, metric: str) -> Spread:
        """The same, minus the baseline's value of the same seed."""
        after = self.spread(method, attack, metric).values
        before = self.spread(self.methods[0], attack, metric).values
        return Spread(tuple(a - b for a, b in zip(after, before, strict=True)))


def summarise(records: Sequence[Result]) -> Summary:
    """Puts results together.

    Raises:
        InputError: if they are none, of several presets or protocols, incomplete, or lack metrics.
    """

    def distinct(of: Callable[[Result], str | None]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name in map(of, records) if name is not None))

    presets = distinct(lambda record: f"{record.preset} ({record.protocol} protocol)")
    if len(presets) != 1:
        raise InputError(
            f"The results are of {', '.join(presets) or 'nothing'}.",
            "Summarise one preset and protocol at a time.",
        )
    methods = distinct(lambda record: record.method)
    every = distinct(lambda record: record.attack)
    keyed = {record.method for record in records if "noise" in record.defense}
    seeds = tuple(sorted({record.seed for record in records}))
    have = {(record.method, record.attack, record.seed) for record in records}
    who = {name: {c for c, a, _ in have if a == name} for name in every}
    on_cells = {
        name for name in every if name.startswith(ON_CELLS) and who[name] == keyed != {*methods}
    }
    attacks = tuple(name for name in every if name not in on_cells)
    want = {(c, a, s) for c in methods for a in (*attacks, None) for s in seeds}
    want |= {(c, a, s) for c in keyed for a in on_cells for s in seeds}
    if have != want or len(records) != len(want):
        missing = sorted(map(str, want - have))
        raise InputError(
            f"Of {len(want)} Records {len(missing)} are missing and "
            f"{len(records) - len(have)} are repeated{': ' if missing else ''}"
            f"{', '.join(missing[:3])}.",
            "Pass all results of one run.",
        )
    for record in records:
        lacking = (ATTACK_METRICS if record.attack else UTILITY_METRICS) - set(record.metrics)
        if lacking:
            raise InputError(
                f"The Result of {record.method}, {record.attack or 'utility'}, seed "
                f"{record.seed} lacks {', '.join(sorted(lacking))}.",
                "Pass results as `dynanoise bench` writes them.",
            )
    ordered = tuple(sorted(records, key=lambda record: record.seed))
    return Summary(ordered, methods, attacks, seeds, tuple(sorted(on_cells)))
