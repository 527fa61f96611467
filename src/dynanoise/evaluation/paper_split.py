"""Methods x attacks on one run -> findings."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from dynanoise.attacks.base import FittedAttack
from dynanoise.core.defense import Defense, Method
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int64
from dynanoise.core.observation import ShadowObservations
from dynanoise.core.outputs import Outputs, Run
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import AttackProtocol, Metric, Result
from dynanoise.core.seeding import derive
from dynanoise.evaluation.noise_streams import noise_of, with_noise
from dynanoise.evaluation.responses import (
    NoiseSource,
    observe,
    observe_shadows,
    recover,
    undefended_shadows,
)
from dynanoise.metrics.midput import midput
from dynanoise.metrics.success import attack_metrics
from dynanoise.metrics.utility import utility_metrics


@dataclass(frozen=True)
class Finding:
    """What was measured of one method: under one attack, or its utility (``attack=None``).

    Attributes:
        defense: class and parameters as it answered.
        metrics: see `attack_metrics`; or `utility_metrics`, with ``train_accuracy``, ``midput``,
            ``midput_leakage`` and ``midput_worst_case``.
        seconds: wall time of answering, scoring and deciding.
    """

    method: Method
    defense: Mapping[str, Any]
    attack: str | None
    metrics: Mapping[str, Metric]
    seconds: float

    def record(self, protocol: AttackProtocol, **circumstances: Any) -> Result:
        """The Result of it; ``circumstances`` are the fields that are not the finding's."""
        return Result(
            method=self.method.name,
            defense=self.defense,
            attack=self.attack,
            protocol=protocol.name,
            threat=protocol.threat,
            metrics=self.metrics,
            seconds=self.seconds,
            **circumstances,
        )


def equal_numbers(outputs: Outputs, seed: int) -> Int64:
    """Positions of as many members as non-members of model 0, the larger side subsampled, sorted.

    >>> use = np.array([[1, 1, 1, 0, 0, -1]])
    >>> rows = Outputs(np.zeros((1, 6, 1, 2)), np.zeros(6, int), np.arange(6), use)
    >>> len(equal_numbers(rows, seed=0))
    4
    """
    sides = [np.flatnonzero(outputs.use[0] == value) for value in (1, 0)]
    size = min(len(side) for side in sides)
    generator = np.random.default_rng(derive(seed, "equal numbers"))
    kept = [generator.permutation(side)[:size] for side in sides]
    return np.sort(np.concatenate(kept))


def describe(defense: Defense) -> dict[str, Any]:
    """A defense's class and parameters; of fitted arrays their shape and SHA-256.

    >>> from dynanoise.defenses.temperature import Temperature
    >>> describe(Temperature(4))
    {'name': 'Temperature', 'temperature': 4.0}
    """
    parameters: dict[str, Any] = asdict(defense)  # type: ignore[call-overload]
    for name, value in parameters.items():
        if isinstance(value, np.ndarray):
            digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
            parameters[name] = {"shape": list(value.shape), "sha256": digest}
    return {"name": type(defense).__name__, **parameters}


def _noise(run: Run, method: Method, holder: str = "") -> NoiseSource:
    return noise_of(method, run.seed, run.split, method.name, holder=holder)


def _behind(run: Run, method: Method, repeats: int) -> ShadowObservations:
    """The attacker's shadow models, behind defenses and noise of its own."""
    defenses = [method.defense.fit(run.view(1 + model)) for model in range(run.shadows.models)]
    shadows = observe_shadows(
        defenses,
        run.shadows,
        lambda model: _noise(run, method, f"shadow {model}"),
        repeats=repeats,
    )
    known = tuple(recover(one, repeats) for one in shadows.observations)
    return replace(shadows, observations=known)


def _fit_attacks(protocol: AttackProtocol, shadows: ShadowObservations) -> dict[str, FittedAttack]:
    return {name: ATTACKS.build(name).fit(shadows) for name in protocol.attacks}


def _utility(defense: Defense, run: Run, noise: NoiseSource) -> dict[str, Metric]:
    """Of answers about test data, and ``train_accuracy`` of answers about the members."""

    def of(outputs: Outputs, purpose: str) -> dict[str, Metric]:
        logits = outputs.logits[0, :, 0]
        return utility_metrics(defense(logits, noise(purpose)), logits, outputs.labels)

    members = of(run.view(0).members, "members")
    return {**of(run.test, "test"), "train_accuracy": members["accuracy"]}


def judge(
    runs: Mapping[str, Run], methods: Sequence[Method], protocol: AttackProtocol
) -> Iterator[Finding]:
    """Every method under every attack of a protocol, on runs in the paper's layout.

    Attacks see answers about equal numbers of members and non-members, never which is which. All
    attacks on a method see the same answers; utility is measured on test data.

    Args:
        runs: by recipe, of one split and seed.
        methods: the first is the baseline of MIDPUT.
        protocol: attackers who know the defense get shadows of the method's recipe behind it,
            and undo and average what they can; others get undefended shadows of the baseline's
            recipe.

    Yields:
        For each method one finding for each attack, then one for utility.
    """
    names = [method.name for method in methods]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"The methods are called {names}.", "Pass at least one, each with a name of its own."
        )
    threat = protocol.threat
    unaware = None
    if not threat.knows_defense:
        unaware = _fit_attacks(protocol, undefended_shadows(runs[methods[0].recipe].shadows))
    baseline: tuple[dict[str, float], float] | None = None

    for method in methods:
        run = runs[method.recipe]
        scored = run.target.select(examples=equal_numbers(run.target, run.seed))
        noise = _noise(run, method)
        defense = method.defense.fit(run.view(0))
        said = with_noise(describe(defense), method)
        attacks = unaware
        if attacks is None:
            attacks = _fit_attacks(protocol, _behind(run, method, threat.repeats))
        started = time.perf_counter()
        seen = observe(defense, scored, noise, repeats=threat.repeats, aware=threat.knows_defense)
        if threat.knows_defense:
            seen = recover(seen, threat.repeats)
        success: dict[str, float] = {}
        for name, attack in attacks.items():
            scores = attack.score(seen)
            metrics = attack_metrics(scores, attack.decide(scores), scored.use[0] == 1)
            success[name] = metrics["asr"].value
            seconds = time.perf_counter() - started
            yield Finding(method, said, name, metrics, seconds)
            started = time.perf_counter()
        metrics = _utility(defense, run, noise)
        accuracy = metrics["accuracy"].value
        baseline = baseline or (success, accuracy)
        trade = midput(baseline[0], success, baseline[1], accuracy)
        metrics["midput"] = Metric(trade.mean)
        metrics["midput_leakage"] = Metric(trade.leakage)
        metrics["midput_worst_case"] = Metric(trade.worst_case)
        seconds = time.perf_counter() - started
        yield Finding(method, said, None, metrics, seconds)
