"""One method on a pool of models under one protocol: everything but the comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dynanoise.core.defense import Defense, Method
from dynanoise.core.errors import DynaNoiseError, InputError
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import Pool
from dynanoise.core.result import AttackProtocol, Metric
from dynanoise.core.seeding import derive
from dynanoise.data.canaries import Canaries
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.evaluation.canaries import canary_metrics
from dynanoise.evaluation.leave_one_out import (
    Answered,
    Attacked,
    NoiseOf,
    answered,
    attack_pool,
    fitted_defenses,
)
from dynanoise.evaluation.noise_streams import noise_of, with_noise
from dynanoise.evaluation.paper_split import Finding, describe
from dynanoise.evaluation.protocols import attacks_on
from dynanoise.evaluation.responses import NoiseSource
from dynanoise.metrics.bootstrap import Bootstrap, bootstrap
from dynanoise.metrics.utility import utility_metrics

CELL_AND_LABEL = DynaNoise(0.0, 0.0, 1.0, keep_label=True)
"""All that who has the key of keyed noise sees: which cell an answer is from, and its label."""

Progress = Callable[[str], None]
"""Called with a method's and an attack's name when that is done."""


class Asked(NamedTuple):
    """The models that are attacked, and those that the attacker has."""

    pool: Pool
    attacker: Pool

    @classmethod
    def of(cls, pool: Pool, attacker: Pool, protocol: AttackProtocol) -> Asked:
        """With as many models of either, and with near-duplicates if the protocol asks for them.

        Raises:
            InputError: if it asks for them and there are none.
        """
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
        """How many are attacked, each with the others as shadows."""
        return self.pool.models

    def first(self, models: int) -> Asked:
        """The same with the first models only."""
        pool = self.pool.first(models)
        return Asked(pool, pool if self.attacker is self.pool else self.attacker.first(models))


class Task(NamedTuple):
    """What is to be measured; it can be handed to another process.

    Attributes:
        method: whose answers.
        asked: the models.
        protocol: whose attacker.
        fprs: false positive rates at which the TPR is wanted.
        canaries: of the pool.
        lenient: True goes on where models are too few for an attack, and says so.
        answers: True hands the answers about test data back.
        silent: True tells nobody of its progress.
    """

    method: Method
    asked: Asked
    protocol: AttackProtocol
    fprs: tuple[float, ...]
    canaries: Canaries | None = None
    lenient: bool = False
    answers: bool = False
    silent: bool = False

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What a method with repeatable answers depends on: all but the query budget."""
        threat = replace(self.protocol.threat, name="", repeats=1)
        return self.method.name, self.asked.models, threat, self.protocol.attacks, self.fprs


@dataclass(frozen=True, eq=False)
class Level:
    """Attack success by attack, and accuracy by model [M], of one method."""

    success: Mapping[str, Bootstrap]
    accuracy: Float64


@dataclass(frozen=True, eq=False)
class Measured:
    """What came of a task.

    Attributes:
        attacks: findings, one for each attack and one for "strongest", each with its scores.
        utility: the finding, without a trade-off; None without test data.
        values: of the utility, by name, one for each model.
        level: to compare by; None without test data.
        refused: attacks for which the models were too few, and why.
        answers: about test data [N, K], for each model, where they were asked for.
        repeatable: True if another query budget would find the same.
    """

    attacks: tuple[tuple[Finding, Attacked], ...]
    utility: Finding | None
    values: Mapping[str, Sequence[float]]
    level: Level | None
    refused: tuple[tuple[str, DynaNoiseError], ...]
    answers: tuple[Floats, ...]
    repeatable: bool


def measure(task: Task, progress: Progress = lambda step: None) -> Measured:
    """Asks, attacks and counts.

    Noise depends on the pool's seed and split, the method, the model and the purpose alone, so
    that where and when this runs makes no difference.
    """
    method, asked, protocol = task.method, task.asked, task.protocol
    pool = asked.pool
    started = time.perf_counter()
    defenses = fitted_defenses(method, pool)
    said = with_noise(describe(method.defense), method)

    def noise(model: int, role: str) -> NoiseSource:
        return noise_of(method, pool.seed, pool.split, method.name, role, model)

    def known(model: int, role: str) -> NoiseSource:
        return noise_of(method, pool.seed, pool.split, method.name, "known")

    refused: list[tuple[str, DynaNoiseError]] = []
    seed = derive(pool.seed, "bootstrap")
    success: dict[str, Bootstrap] = {}
    found = []
    if protocol.threat.key_known and method.cell_width is not None:
        shown = [CELL_AND_LABEL] * pool.models
        answers = answered(pool, shown, protocol.threat, known)
    else:
        answers = _answers(asked, method, defenses, protocol, noise)
    collect = (lambda name, error: refused.append((name, error))) if task.lenient else None
    for done in attack_pool(answers, attacks_on(method, protocol), refused=collect):
        success[done.name] = bootstrap(done.found, seed, fprs=task.fprs)
        metrics = success[done.name].metrics
        if task.canaries is not None:
            ids = pool.examples.ids
            metrics |= canary_metrics(done.found, ids, task.canaries, seed, fprs=task.fprs)
        metrics["expected"] = Metric(float(done.expected.mean()))
        metrics |= {f"chosen {name}": Metric(count) for name, count in done.chosen.items()}
        seconds, started = time.perf_counter() - started, time.perf_counter()
        found.append((Finding(method, said, done.name, metrics, seconds), done))
        progress(f"{method.name}, {done.name}")
    keyed = method.cell_width is not None
    repeatable = keyed or all(defense.repeatable for defense in defenses)
    if len(pool.test.labels) == 0:
        return Measured(tuple(found), None, {}, None, tuple(refused), (), repeatable)
    values, about_test = _utility(defenses, pool, noise)
    seconds = time.perf_counter() - started
    progress(f"{method.name}, utility")
    return Measured(
        tuple(found),
        Finding(method, said, None, {}, seconds),
        values,
        Level(success, np.array(values["accuracy"])),
        tuple(refused),
        tuple(about_test) if task.answers else (),
        repeatable,
    )


def _answers(
    asked: Asked,
    method: Method,
    defenses: Sequence[Defense],
    protocol: AttackProtocol,
    noise: NoiseOf,
) -> Answered:
    attacker = None
    if asked.attacker is not asked.pool:
        attacker = asked.attacker, fitted_defenses(method, asked.attacker)
    return answered(asked.pool, defenses, protocol.threat, noise, attacker)


def _utility(
    defenses: Sequence[Defense], pool: Pool, noise: Callable[[int, str], NoiseSource]
) -> tuple[dict[str, list[float]], list[Floats]]:
    """Of answers about test data, and accuracy on members: values and answers of each model."""
    rows: dict[str, list[float]] = {}
    about_test = []
    for model, defense in enumerate(defenses):
        logits = pool.test.logits[model, :, 0].astype(np.float64)
        answers = defense(logits, noise(model, "target")("test"))
        about_test.append(answers)
        found = utility_metrics(answers, logits, pool.test.labels)
        members = pool.view(model).members
        own = members.logits[0, :, 0].astype(np.float64)
        said = defense(own, noise(model, "target")("members"))
        found["train_accuracy"] = utility_metrics(said, own, members.labels)["accuracy"]
        for name, metric in found.items():
            rows.setdefault(name, []).append(metric.value)
    return rows, about_test
