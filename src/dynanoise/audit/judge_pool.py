"""Contenders x attacks on pools of models -> findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dynanoise.audit.evidence import Keep
from dynanoise.audit.judge import Finding, describe
from dynanoise.audit.leave_one_out import (
    Answered,
    Attacked,
    NoiseOf,
    answered,
    attack_pool,
    fitted_defenses,
)
from dynanoise.audit.noise import noise_of, with_noise
from dynanoise.audit.observe import NoiseSource
from dynanoise.errors import DynaNoiseError, InputError
from dynanoise.metrics import intervals
from dynanoise.metrics.pooled import FPRS, Bootstrap, bootstrap, interval, resampled
from dynanoise.metrics.utility import utility_metrics
from dynanoise.numerics import Float64
from dynanoise.pool import Pool
from dynanoise.record import STRONGEST, AttackProtocol, Metric
from dynanoise.seeding import derive
from dynanoise.types import Contender, Defense

Refused = Callable[[str, DynaNoiseError], None]
"""Called with an attack's name and why these models are too few for it."""


def judge_pool(
    pools: Mapping[str, Pool],
    contenders: Sequence[Contender],
    protocol: AttackProtocol,
    progress: Callable[[str], None] = lambda step: None,
    *,
    attackers: Mapping[str, Pool] | None = None,
    keep: Keep | None = None,
    fprs: Sequence[float] = FPRS,
    refused: Refused | None = None,
    memory: Memory | None = None,
) -> Iterator[Finding]:
    """Every contender under every attack of a protocol, each model of its pool the target once.

    Args:
        pools: by recipe, over the same records with the same membership; one may have fewer models
            than another. MIDPUT compares with the baseline on the first so many models.
        contenders: the first is the baseline of MIDPUT; those whose recipe has no pool are left
            out.
        protocol: whose attacker the shadow models belong to.
        progress: called with a contender's and an attack's name when that is done.
        attackers: by the target's recipe, the models that the attacker has instead of the pool's
            own; of both, as many as there are of the fewer are used.
        keep: is shown scores and answers, for a report.
        fprs: false positive rates at which the TPR is wanted.
        refused: see `attack_pool`.
        memory: what was found about these pools under other protocols, to be added to. A contender
            that always gives the same answer need not be asked again with another query budget.

    Yields:
        For each contender one finding for each attack, one for "strongest", and one for utility,
        which a pool without test data does not have.

    Raises:
        InputError: if the protocol asks about near-duplicates and the models were not.
    """
    asked = {
        recipe: _Asked.of(pool, (attackers or {}).get(recipe, pool), protocol)
        for recipe, pool in pools.items()
    }
    how = _How(protocol, tuple(fprs), refused, {} if memory is None else memory)
    before: dict[int, _Level] = {}
    judged = [one for one in contenders if one.recipe in asked]
    whole = asked[contenders[0].recipe]
    for models in sorted({asked[one.recipe].models for one in judged} - {whole.models}):
        for _ in _judge(contenders[0], whole.first(models), how, lambda step: None, before):
            pass  # only for MIDPUT
    for contender in judged:
        yield from _judge(contender, asked[contender.recipe], how, progress, before, keep)


class _Asked(NamedTuple):
    """The models that are attacked, and those that the attacker has."""

    pool: Pool
    attacker: Pool

    @classmethod
    def of(cls, pool: Pool, attacker: Pool, protocol: AttackProtocol) -> _Asked:
        """With as many models of either, and with near-duplicates if the protocol asks for them."""
        if not protocol.threat.augmented:
            originals = pool.originals()
            attacker = originals if attacker is pool else attacker.originals()
            pool = originals
        elif pool.examples.inputs == 1:
            raise InputError(
                f"The protocol {protocol.name!r} asks about near-duplicates, and these models "
                "answered originals only.",
                "Ask them about near-duplicates as well, or use a protocol that does not.",
            )
        return cls(pool, attacker).first(min(pool.models, attacker.models))

    @property
    def models(self) -> int:
        return self.pool.models

    def first(self, models: int) -> _Asked:
        pool = self.pool.first(models)
        return _Asked(pool, pool if self.attacker is self.pool else self.attacker.first(models))

    def answers(
        self, contender: Contender, defenses: Sequence[Defense], how: _How, noise: NoiseOf
    ) -> Answered:
        attacker = None
        if self.attacker is not self.pool:
            attacker = self.attacker, fitted_defenses(contender, self.attacker)
        return answered(self.pool, defenses, how.protocol.threat, noise, attacker)


class _How(NamedTuple):
    """What is the same for every contender."""

    protocol: AttackProtocol
    fprs: tuple[float, ...]
    refused: Refused | None
    memory: Memory

    def key(self, contender: Contender, models: int) -> tuple[Hashable, ...]:
        """What a contender with repeatable answers depends on: all but the query budget."""
        threat = replace(self.protocol.threat, name="", repeats=1)
        return contender.name, models, threat, self.protocol.attacks, self.fprs


@dataclass(frozen=True, eq=False)
class _Level:
    """Attack success by attack, and accuracy by model [M], of one contender."""

    success: Mapping[str, Bootstrap]
    accuracy: Float64


_Step = tuple[Finding, Attacked | None]
"""A finding, and the attack it is about; None for utility."""


class _Known(NamedTuple):
    """What a contender with repeatable answers came to, and the baseline it was compared with."""

    steps: tuple[_Step, ...]
    before: _Level | None


Memory = dict[tuple[Hashable, ...], _Known]
"""By everything that they depend on."""


def _judge(
    contender: Contender,
    asked: _Asked,
    how: _How,
    progress: Callable[[str], None],
    before: dict[int, _Level],
    keep: Keep | None = None,
) -> Iterator[Finding]:
    """One contender, or what is known of it."""
    key, pool = how.key(contender, asked.models), asked.pool
    known = how.memory.get(key)
    if known is not None and known.before is before.get(pool.models, known.before):
        if known.before is not None:
            before[pool.models] = known.before
        steps: Iterable[_Step] = known.steps
    else:
        known, defenses = None, fitted_defenses(contender, pool)
        steps = _measured(contender, defenses, asked, how, before, keep)
    made = []
    for finding, done in steps:
        if done is not None and keep is not None:
            keep.attacked(contender, how.protocol, pool, done)
        made.append((finding, done))
        progress(f"{contender.name}, {finding.attack or 'utility'}")
        yield finding
    keyed = contender.cell_width is not None
    if known is None and (keyed or all(defense.repeatable for defense in defenses)):
        how.memory[key] = _Known(tuple(made), before.get(pool.models))


def _measured(
    contender: Contender,
    defenses: Sequence[Defense],
    asked: _Asked,
    how: _How,
    before: dict[int, _Level],
    keep: Keep | None,
) -> Iterator[_Step]:
    """One contender; the first on a pool of so many models becomes its baseline."""
    pool = asked.pool
    said = with_noise(describe(contender.defense), contender)
    started = time.perf_counter()

    def noise(model: int, role: str) -> NoiseSource:
        return noise_of(contender, pool.seed, pool.split, contender.name, role, model)

    answers = asked.answers(contender, defenses, how, noise)
    success: dict[str, Bootstrap] = {}
    for done in attack_pool(answers, how.protocol.attacks, refused=how.refused):
        seed = derive(pool.seed, "bootstrap")
        success[done.name] = bootstrap(done.found, seed, fprs=how.fprs)
        metrics = success[done.name].metrics
        metrics["expected"] = Metric(float(done.expected.mean()))
        metrics |= {f"chosen {name}": Metric(count) for name, count in done.chosen.items()}
        seconds, started = time.perf_counter() - started, time.perf_counter()
        yield Finding(contender, said, done.name, metrics, seconds), done
    if len(pool.test.labels) == 0:
        return
    utility = _utility(contender, defenses, pool, noise, keep)
    level = _Level(success, np.array(utility["accuracy"]))
    metrics = {name: intervals.mean(values) for name, values in utility.items()}
    metrics |= _trade_off(before.setdefault(pool.models, level), level, pool)
    yield Finding(contender, said, None, metrics, time.perf_counter() - started), None


def _trade_off(before: _Level, after: _Level, pool: Pool) -> dict[str, Metric]:
    """MIDPUT and its stricter forms, with intervals of paired resampling."""
    names = [name for name in after.success if name != STRONGEST and name in before.success]

    def at(rate: Callable[[Bootstrap], Float64], weights: Float64) -> dict[str, Float64]:
        """For success rates [replicates] and weights of the models [replicates, M]."""
        drop = (weights @ (before.accuracy - after.accuracy)) / weights.sum(axis=1)
        old, new = (
            {name: rate(level.success[name]) for name in (*names, STRONGEST)}
            for level in (before, after)
        )
        return {
            "midput": np.mean([old[name] - new[name] for name in names], axis=0) - drop,
            "midput_leakage": np.mean(
                [abs(old[name] - 0.5) - abs(new[name] - 0.5) for name in names], axis=0
            )
            - drop,
            # The attacker's own choice on both sides, not the best of each in hindsight.
            "midput_worst_case": old[STRONGEST] - new[STRONGEST] - drop,
            "midput_oracle": np.max([old[name] for name in names], axis=0)
            - np.max([new[name] for name in names], axis=0)
            - drop,
        }

    models, records = pool.examples.use.shape
    drawn = np.array([w for w, _ in resampled(models, records, derive(pool.seed, "bootstrap"))])
    point = at(lambda found: np.array([found.point["asr"]]), np.ones((1, models)))
    spread = at(lambda found: found.drawn["asr"], drawn)
    return {name: interval(float(value[0]), spread[name]) for name, value in point.items()}


def _utility(
    contender: Contender,
    defenses: Sequence[Defense],
    pool: Pool,
    noise: Callable[[int, str], NoiseSource],
    keep: Keep | None,
) -> dict[str, list[float]]:
    """Of answers about test data, and accuracy on members: a value for each model."""
    rows: dict[str, list[float]] = {}
    for model, defense in enumerate(defenses):
        logits = pool.test.logits[model, :, 0].astype(np.float64)
        answers = defense(logits, noise(model, "target")("test"))
        if keep is not None:
            keep.answered(contender, model, answers, pool.test.labels)
        found = utility_metrics(answers, logits, pool.test.labels)
        members = pool.view(model).members
        own = members.logits[0, :, 0].astype(np.float64)
        said = defense(own, noise(model, "target")("members"))
        found["train_accuracy"] = utility_metrics(said, own, members.labels)["accuracy"]
        for name, metric in found.items():
            rows.setdefault(name, []).append(metric.value)
    return rows
