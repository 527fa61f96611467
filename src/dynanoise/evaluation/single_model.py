"""Attacks on one model without shadow models: the attacker knows half of the records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dynanoise.attacks.base import Attack
from dynanoise.core.defense import Defense, Method, Noise
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs, Pool, View
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import STRONGEST, AttackProtocol, Metric, ThreatModel
from dynanoise.core.seeding import derive
from dynanoise.evaluation.evidence import Keep
from dynanoise.evaluation.leave_one_out import Attacked, own_threshold, ranks
from dynanoise.evaluation.noise_streams import noise_of, with_noise
from dynanoise.evaluation.paper_split import Finding, describe
from dynanoise.evaluation.responses import observe, recover
from dynanoise.metrics.bootstrap import FPRS, PoolScores, bootstrap
from dynanoise.metrics.midput import midput
from dynanoise.metrics.utility import utility_metrics

SINGLE_MODEL = "single_model"


def single_model(
    queries: int, attacks: Sequence[str], knows_defense: bool = True
) -> AttackProtocol:
    """The attacker of one model at a query budget.

    It knows the defense and its parameters, unless told otherwise, and not its random draws; of
    half of the records whether they are members; and has no models of its own.

    >>> single_model(16, ["population"]).name
    'single_model_16'
    """
    name = SINGLE_MODEL if queries == 1 else f"{SINGLE_MODEL}_{queries}"
    threat = ThreatModel(name, knows_defense, repeats=queries)
    return AttackProtocol(name, design="pool", threat=threat, attacks=tuple(attacks))


@dataclass(frozen=True, eq=False)
class Halves:
    """Positions of records, members and non-members in about equal shares.

    Attributes:
        known: two parts of what the attacker knows, int64 [2][n]: thresholds are tuned on the one
            with what was learned from the other.
        scored: int64 [S], about which it wants to know.
    """

    known: tuple[Int64, Int64]
    scored: Int64


def halves(use: np.ndarray[tuple[int], np.dtype[np.int8]], seed: int) -> Halves:
    """Half of the members and of the non-members are known; records of hidden use are neither.

    Args:
        use: int8 [N].
        seed: of the drawing.

    >>> found = halves(np.array([1, 1, 1, 1, 0, 0, 0, 0, -1], dtype=np.int8), seed=0)
    >>> [len(part) for part in (*found.known, found.scored)]
    [2, 2, 4]
    """
    generator = np.random.default_rng(derive(seed, "known half"))
    parts: list[list[Int64]] = [[], [], []]
    for value in (1, 0):
        rows = generator.permutation(np.flatnonzero(use == value))
        half = len(rows) // 2
        for part, chosen in zip(
            parts, (rows[: half // 2], rows[half // 2 : half], rows[half:]), strict=True
        ):
            part.append(chosen)
    first, second, scored = (np.sort(np.concatenate(part)) for part in parts)
    return Halves((first, second), scored)


def judge_single(
    pool: Pool,
    methods: Sequence[Method],
    protocol: AttackProtocol,
    progress: Callable[[str], None] = lambda step: None,
    *,
    keep: Keep | None = None,
    fprs: Sequence[float] = FPRS,
) -> Iterator[Finding]:
    """Every method under every attack on the only model of a pool.

    Known non-members are the population of Attack-P, and the known half is what attacks that need
    a shadow model, but not of the same records, learn from. Every threshold is the one of greatest
    balanced accuracy on known records that nothing was learned from, and so is the strongest
    attack. Intervals are of resampled records; they speak of this one model.

    Args:
        pool: of one model.
        methods: the first is the baseline of MIDPUT.
        protocol: see `single_model`.
        progress: called with a method's and an attack's name when that is done.
        keep: is shown scores and answers, for a report.
        fprs: false positive rates at which the TPR is wanted.

    Yields:
        As `judge_pool`.
    """
    parts = halves(pool.examples.use[0], pool.seed)
    before: tuple[dict[str, float], float] | None = None
    for method in methods:
        noise = noise_of(method, pool.seed, pool.split, method.name, "target", 0)
        defense = method.defense.fit(_view(pool, parts))
        said = with_noise(describe(defense), method)
        started = time.perf_counter()
        repeats = protocol.threat.repeats
        seen = observe(defense, pool.examples, noise, repeats=repeats, aware=True)
        success: dict[str, float] = {}
        options: Any = {"keep": keep, "fprs": fprs, "started": started}
        for finding in judge_seen(pool, method, said, seen, protocol, progress, **options):
            if finding.attack != STRONGEST:
                success[str(finding.attack)] = finding.metrics["asr"].value
            yield finding
            started = time.perf_counter()
        if len(pool.test.labels) == 0:
            continue
        metrics = _utility(method, defense, pool, noise, keep)
        after = success, metrics["accuracy"].value
        before = before or after
        trade = midput(before[0], after[0], before[1], after[1])
        metrics["midput"] = Metric(trade.mean)
        metrics["midput_leakage"] = Metric(trade.leakage)
        metrics["midput_worst_case"] = Metric(trade.worst_case)
        progress(f"{method.name}, utility")
        yield Finding(method, said, None, metrics, time.perf_counter() - started)


def judge_seen(
    pool: Pool,
    method: Method,
    said: Mapping[str, Any],
    seen: Observation,
    protocol: AttackProtocol,
    progress: Callable[[str], None] = lambda step: None,
    *,
    keep: Keep | None = None,
    fprs: Sequence[float] = FPRS,
    started: float | None = None,
) -> Iterator[Finding]:
    """Every attack on what was seen of one method, wherever it answered.

    Args:
        pool: of one model; who its members are, and the seed.
        method: who answered.
        said: what its defense is, for results.
        seen: answers about the pool's examples; attacks get what an attacker makes of as many of
            them as the threat model allows, see `recovered`.
        protocol: see `single_model`.
        progress: as for `judge_single`.
        keep: likewise.
        fprs: likewise.
        started: when answering began, by `time.perf_counter`; None for now.

    Yields:
        A finding for each attack, and one for the strongest.
    """
    started = time.perf_counter() if started is None else started
    parts = halves(pool.examples.use[0], pool.seed)
    scored = replace(pool, examples=pool.examples.select(examples=parts.scored))
    attacker = _Attacker(recover(seen, protocol.threat.repeats), pool.examples, parts)
    best: tuple[Attacked, dict[str, Metric]] | None = None
    for name in protocol.attacks:
        done = attacker.attack(name)
        if keep is not None:
            keep.attacked(method, protocol, scored, done)
        metrics = bootstrap(done.found, derive(pool.seed, "bootstrap"), fprs=fprs).metrics
        metrics["expected"] = Metric(float(done.expected[0]))
        if best is None or done.expected[0] > best[0].expected[0]:
            best = done, metrics
        seconds, started = time.perf_counter() - started, time.perf_counter()
        progress(f"{method.name}, {name}")
        yield Finding(method, said, name, metrics, seconds)
    if best is not None:
        chosen, metrics = best
        if keep is not None:
            keep.attacked(method, protocol, scored, _strongest(chosen))
        metrics = {**metrics, f"chosen {chosen.name}": Metric(1)}
        progress(f"{method.name}, {STRONGEST}")
        yield Finding(method, said, STRONGEST, metrics, time.perf_counter() - started)


def _view(pool: Pool, parts: Halves) -> View:
    """What the defender learns from: members, and non-members that are not scored."""
    view = pool.view(0)
    if len(view.reference.labels):
        return view
    known = np.concatenate(parts.known)
    outside = known[pool.examples.use[0, known] == 0]
    return replace(view, reference=pool.examples.select(examples=outside))


def _strongest(chosen: Attacked) -> Attacked:
    """The chosen attack under the choice's name; ranks, for another may be chosen elsewhere."""
    found = replace(chosen.found, scores=ranks(chosen.found.scores))
    return Attacked(STRONGEST, found, chosen.expected, {chosen.name: 1})


def _utility(
    method: Method,
    defense: Defense,
    pool: Pool,
    noise: Callable[[str], Noise],
    keep: Keep | None,
) -> dict[str, Metric]:
    def of(outputs: Outputs, purpose: str) -> dict[str, Metric]:
        logits = outputs.logits[0, :, 0]
        answers = defense(logits, noise(purpose))
        if keep is not None and purpose == "test":
            keep.answered(method, 0, answers, outputs.labels)
        return utility_metrics(answers, logits, outputs.labels)

    members = of(pool.view(0).members, "members")
    return {**of(pool.test, "test"), "train_accuracy": members["accuracy"]}


@dataclass(frozen=True, eq=False)
class _Attacker:
    """The target's answers about all records, and of which the truth is known."""

    seen: Observation
    outputs: Outputs
    parts: Halves

    def attack(self, name: str) -> Attacked:
        """Scores of the unknown half, and the balanced accuracy on known records."""
        attack = ATTACKS.build(name)
        first, second = self.parts.known
        members = self.outputs.use[0] == 1
        sides = ((first, second), (second, first))
        tried = np.concatenate([self._scores(attack, *side) for side in sides])
        truth = np.concatenate([members[second], members[first]])
        threshold, expected = own_threshold(tried, truth)
        rows = self.parts.scored
        scores = self._scores(attack, np.sort(np.concatenate([first, second])), rows)
        everything: Bools = np.ones((1, len(rows)), dtype=bool)
        found = PoolScores(
            scores[None], (scores >= threshold)[None], members[rows][None], everything
        )
        return Attacked(name, found, np.array([expected]))

    def _scores(self, attack: Attack, known: Int64, asked: Int64) -> Float64:
        """Of some records, with what is learned from others."""
        use = self.outputs.use[:, known]
        population = self._about(known[use[0] == 0])
        learned = None
        if attack.needs_shadows:
            own = replace(self._about(known), population=population)
            learned = ShadowObservations((own,), use, self.outputs.select(examples=known))
        return attack.fit(learned).score(replace(self._about(asked), population=population))

    def _about(self, rows: Int64) -> Observation:
        return replace(
            self.seen,
            labels=self.seen.labels[rows],
            ids=self.seen.ids[rows],
            log_probs=self.seen.log_probs[rows],
        )
