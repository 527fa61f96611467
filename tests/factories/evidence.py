"""Made-up evidence for tests of reports: every number is easy to follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dynanoise.core.evidence import AttackSample, Evidence, Reliability, Risk, Rows
from dynanoise.core.result import AUDIT, SERVED, AttackProtocol, Metric, Result
from dynanoise.evaluation.protocols import PAPER, adaptive, single_model
from tests.factories.results import record

ATTACKS = ("lira", "gap")
COUNTS = {"pool": 600, "models": 16, "reference": 300, "test": 897}


def around(value: float, half: float = 0.01) -> Metric:
    """With an interval of so much on either side."""
    return Metric(value, value - half, value + half)


def pool_records(
    queries: int, methods: Sequence[str] = ("none", "noise"), gain: float = 0.05
) -> list[Result]:
    """Results of one protocol: the strongest attack has 0.62 undefended, less behind defenses."""
    protocol = adaptive(queries)
    rows = []
    for index, name in enumerate(methods):
        better = gain * (index > 0)
        for attack in (*ATTACKS, "strongest"):
            metrics = {"asr": around(0.62 - better), "auc": around(0.68 - better)}
            metrics["tpr@0.01"] = around(0.1 - better / 2)
            if attack == "strongest":
                metrics["chosen lira"] = Metric(16)
            rows.append(_of_pool(protocol, name, attack, metrics))
        cost = 0.01 * (index > 0)
        metrics = {
            "accuracy": around(0.9 - cost, 0.005),
            "train_accuracy": around(1.0, 0.0),
            "ece": around(0.02 + 10 * cost, 0.002),
            "nll": around(0.2 + cost, 0.02),
            "label_flips": around(cost, 0.001),
            "midput": around(better - cost),
            "midput_leakage": around(better - cost),
            "midput_worst_case": around(better - cost),
        }
        rows.append(_of_pool(protocol, name, None, metrics))
    return rows


def _of_pool(
    protocol: AttackProtocol, method: str, attack: str | None, metrics: dict[str, Metric]
) -> Result:
    return replace(
        record(method, attack, 0),
        protocol=protocol.name,
        threat=protocol.threat,
        counts=COUNTS,
        metrics=metrics,
        training={"seconds": 10.0, "retries": 0},
    )


def paper_records(methods: Sequence[str] = ("none", "noise"), seeds: int = 3) -> list[Result]:
    """Results of the paper's protocol: 0.60 undefended, 0.50 behind each defense."""
    rows = []
    for seed in range(seeds):
        for index, name in enumerate(methods):
            asr = 0.6 + 0.01 * seed if index == 0 else 0.5
            rows.append(record(name, "confidence", seed, asr=asr, auc=asr))
            gain = 0.09 + 0.01 * seed if index else 0.0
            trade = dict.fromkeys(("midput", "midput_leakage", "midput_worst_case"), gain)
            costs = {"accuracy": 0.9 - 0.01 * (index > 0), "train_accuracy": 1.0}
            rows.append(record(name, None, seed, label_flips=0.0, **costs, **trade))
    return [replace(row, protocol=PAPER.name, threat=PAPER.threat) for row in rows]


def evidence(
    queries: Sequence[int] = (1, 16),
    methods: Sequence[str] = ("none", "noise"),
    *,
    paper: bool = True,
    gain: float = 0.05,
) -> Evidence:
    """Evidence of both protocols, with 40 sampled rows."""
    records = paper_records(methods) if paper else []
    attacks, risks = [], []
    for budget in queries:
        records += pool_records(budget, methods, gain)
        for index, name in enumerate(methods):
            attacks += [
                sample(adaptive(budget).name, name, attack, lift=max(0.0, 2.0 - index))
                for attack in (*ATTACKS, "strongest")
            ]
            risks.append(risk(adaptive(budget).name, name))
    generator = np.random.default_rng(0)
    rows = Rows(
        generator.integers(0, 16, 40),
        np.arange(40),
        generator.integers(0, 3, 40),
        np.arange(40) < 20,
        {"plain": generator.normal(size=(40, 3)).astype(np.float32)},
    )
    reliable = tuple(calibration(name) for name in methods)
    return Evidence(tuple(records), tuple(attacks), reliable, tuple(risks), rows)


def served_evidence(*, configured: bool) -> Evidence:
    """Evidence of an audit of a server, with its configuration or without."""
    made = evidence(queries=(1,), methods=(SERVED,), paper=False)
    protocol = single_model(1, ATTACKS, knows_defense=configured)
    counts = {"models": 1, "pool": 600}
    return replace(
        made,
        results=tuple(
            replace(
                result, protocol=protocol.name, threat=protocol.threat, preset=AUDIT, counts=counts
            )
            for result in made.results
            if result.attack is not None
        ),
        attacks=tuple(replace(kept, protocol=protocol.name) for kept in made.attacks),
        reliability=(),
        risks=(),
    )


def sample(protocol: str, method: str, attack: str, lift: float = 1.0) -> AttackSample:
    """A ROC of TPR = FPR^(1 / (1 + lift)), and two humps."""
    fpr = np.geomspace(1 / 4000, 1, 60)
    edges = np.linspace(-3, 3, 41)
    middle = (edges[1:] + edges[:-1]) / 2
    return AttackSample(
        protocol,
        method,
        attack,
        fpr,
        fpr ** (1 / (1 + lift)),
        4000,
        edges,
        np.round(400 * np.exp(-((middle - 0.3 * lift) ** 2))).astype(np.int64),
        np.round(400 * np.exp(-((middle + 0.3 * lift) ** 2))).astype(np.int64),
        np.linspace(-1, 1, 40, dtype=np.float32),
    )


def calibration(method: str) -> Reliability:
    """Four answers of confidence 0.5 and six of 0.9; three of four are right."""
    count = np.zeros(15, dtype=np.int64)
    count[[7, 13]] = 4, 6
    confidence = np.linspace(0.033, 0.967, 15)
    return Reliability(method, count, count * confidence, count * np.float64(0.75))


def risk(protocol: str, method: str) -> Risk:
    """Six hundred records, two of which are always found."""
    counts = np.zeros(20, dtype=np.int64)
    counts[[9, 10, 12, 19]] = 200, 250, 148, 2
    return Risk(
        protocol,
        method,
        16,
        counts,
        counts.mean() * np.ones(20),
        np.array([17, 4711]),
        np.array([3, 1]),
        np.array([1.0, 0.96]),
    )
