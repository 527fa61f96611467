"""Contenders x attacks on pools of models -> findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from dynanoise.audit.judge import Finding, describe
from dynanoise.audit.leave_one_out import answered, attack_pool, fitted_defenses
from dynanoise.audit.observe import NoiseSource
from dynanoise.metrics import intervals
from dynanoise.metrics.midput import midput
from dynanoise.metrics.pooled import pooled_metrics
from dynanoise.metrics.utility import utility_metrics
from dynanoise.noise.fresh import Fresh
from dynanoise.pool import Pool
from dynanoise.record import AttackProtocol, Metric
from dynanoise.seeding import derive
from dynanoise.types import Contender, Defense, Noise

STRONGEST = "strongest"
"""Stands for an attack in findings: the attacker's own choice among all of the protocol."""


def judge_pool(
    pools: Mapping[str, Pool],
    contenders: Sequence[Contender],
    protocol: AttackProtocol,
    progress: Callable[[str], None] = lambda step: None,
) -> Iterator[Finding]:
    """Every contender under every attack of a protocol, each model of its pool the target once.

    Args:
        pools: by recipe, over the same records with the same membership; one may have fewer models
            than another. MIDPUT compares with the baseline on the first so many models.
        contenders: the first is the baseline of MIDPUT; those whose recipe has no pool are left
            out.
        protocol: whose attacker the shadow models belong to.
        progress: called with a contender's and an attack's name when that is done.

    Yields:
        For each contender one finding for each attack, one for "strongest", and one for utility.
    """
    before: dict[int, tuple[dict[str, float], float]] = {}
    sizes = {pools[one.recipe].models for one in contenders if one.recipe in pools}
    baseline = contenders[0]
    for models in sorted(sizes):
        part = pools[baseline.recipe].first(models)
        if models == pools[baseline.recipe].models:
            continue  # judged below, as a contender
        *_, utility = _judge(baseline, part, protocol, lambda step: None, before)
        assert utility.attack is None
    ordered = [one for one in contenders if one.recipe in pools]
    for contender in ordered:
        yield from _judge(contender, pools[contender.recipe], protocol, progress, before)


def _judge(
    contender: Contender,
    pool: Pool,
    protocol: AttackProtocol,
    progress: Callable[[str], None],
    before: dict[int, tuple[dict[str, float], float]],
) -> Iterator[Finding]:
    """One contender; the first on a pool of so many models becomes its baseline."""
    defenses = fitted_defenses(contender, pool)
    said = describe(contender.defense)
    started = time.perf_counter()

    def noise(model: int, role: str) -> NoiseSource:
        def source(purpose: str) -> Noise:
            path = ("noise", pool.split, contender.name, role, model, purpose)
            return Fresh(derive(pool.seed, *path))

        return source

    answers = answered(pool, defenses, protocol.threat, noise)
    success: dict[str, float] = {}
    for done in attack_pool(answers, protocol.attacks):
        metrics = pooled_metrics(done.found, derive(pool.seed, "bootstrap"))
        metrics["expected"] = Metric(float(done.expected.mean()))
        metrics |= {f"chosen {name}": Metric(count) for name, count in done.chosen.items()}
        success[done.name] = metrics["asr"].value
        seconds, started = time.perf_counter() - started, time.perf_counter()
        progress(f"{contender.name}, {done.name}")
        yield Finding(contender, said, done.name, metrics, seconds)
    metrics = _utility(defenses, pool, noise)
    accuracy = metrics["accuracy"].value
    earlier, earlier_accuracy = before.setdefault(pool.models, (success, accuracy))
    single = {name: rate for name, rate in success.items() if name != STRONGEST}
    trade = midput({name: earlier[name] for name in single}, single, earlier_accuracy, accuracy)
    metrics["midput"] = Metric(trade.mean)
    metrics["midput_leakage"] = Metric(trade.leakage)
    drop = earlier_accuracy - accuracy
    # The attacker's own choice on both sides, not the best of each in hindsight.
    metrics["midput_worst_case"] = Metric(earlier[STRONGEST] - success[STRONGEST] - drop)
    metrics["midput_oracle"] = Metric(trade.worst_case)
    progress(f"{contender.name}, utility")
    yield Finding(contender, said, None, metrics, time.perf_counter() - started)


def _utility(
    defenses: Sequence[Defense], pool: Pool, noise: Callable[[int, str], NoiseSource]
) -> dict[str, Metric]:
    """Of answers about test data, and accuracy on members: means over models, with intervals."""
    rows: dict[str, list[float]] = {}
    for model, defense in enumerate(defenses):
        logits = pool.test.logits[model, :, 0].astype(np.float64)
        answers = defense(logits, noise(model, "target")("test"))
        found = utility_metrics(answers, logits, pool.test.labels)
        members = pool.view(model).members
        own = members.logits[0, :, 0].astype(np.float64)
        said = defense(own, noise(model, "target")("members"))
        found["train_accuracy"] = utility_metrics(said, own, members.labels)["accuracy"]
        for name, metric in found.items():
            rows.setdefault(name, []).append(metric.value)
    return {name: intervals.mean(values) for name, values in rows.items()}
