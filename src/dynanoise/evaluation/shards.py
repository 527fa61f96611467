"""Attacks on a pool of many examples, some of them at a time.

The scores are those of `leave_one_out.attack_pool` on undefended answers: each model is the target
once, with the same shadow models for every example. What is chosen on pseudo-targets, thresholds
and the strongest attack, is not made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from dynanoise.attacks.base import Attack
from dynanoise.attacks.pseudo_targets import LeaveOneOut
from dynanoise.core import membership
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import ShadowObservations
from dynanoise.core.outputs import Outputs
from dynanoise.core.seeding import derive
from dynanoise.core.workers import begin, worker_processes
from dynanoise.evaluation.pool_files import Shards
from dynanoise.evaluation.responses import undefended_shadows
from dynanoise.metrics.bootstrap import FPRS
from dynanoise.metrics.roc import resolves, roc


@dataclass(frozen=True, eq=False)
class ShardScores:
    """What an attack achieved on a pool.

    Attributes:
        targets: int64 [T], which models were attacked.
        scores: float64 [T, N], larger = more likely a member; 0 where nothing was scored.
        members: bool [T, N], the truth.
        scored: bool [T, N]; False where an example had no shadows, or its use is hidden.
    """

    targets: Int64
    scores: Float64
    members: Bools
    scored: Bools

    def metrics(self, fprs: Sequence[float] = FPRS) -> dict[str, float]:
        """``auc``, the mean over targets, and ``tpr@0.001`` and so on of all pairs together.

        They equal those of `metrics.bootstrap.bootstrap`, without intervals. A TPR is left out if
        fewer than 10 non-members resolve it.
        """
        areas = [
            roc(scores[kept], members[kept]).auc
            for scores, members, kept in zip(self.scores, self.members, self.scored, strict=True)
        ]
        found = {"auc": float(np.mean(areas))}
        inside = self.scores[self.scored & self.members]
        outside = self.scores[self.scored & ~self.members]
        outside.sort()
        for fpr in fprs:
            if resolves(fpr, len(outside)):
                allowed = int((fpr + 1e-12) * len(outside))
                bar = outside[-allowed - 1] if allowed < len(outside) else -np.inf
                found[f"tpr@{fpr:g}"] = float((inside > bar).mean())
        return found


class _Plan(NamedTuple):
    """What is the same for all shards; it can be handed to another process."""

    shards: Shards
    attack: Attack
    targets: tuple[int, ...]
    k: int
    seed: int
    total: int
    population: Outputs | None


def score_by_shards(
    shards: Shards,
    attack: Attack,
    *,
    seed: int,
    targets: Sequence[int] | None = None,
    population: Outputs | None = None,
    workers: int = 1,
) -> ShardScores:
    """Scores of an attack on every example, from one part of the examples after the other.

    Beside the scores, 9 bytes for each target and example, memory holds one part a worker: about
    25 bytes for each of its logits.

    Args:
        shards: the pool.
        attack: "lira", or "rmia" with a population. Where one standard deviation stands for all
            examples (LiRA's variance "residual" and "raw"), all parts are looked at twice.
        seed: of the pool, which decides who is hidden (see `membership.equal_numbers`).
        targets: models to attack; None for all. The others are the shadows of each.
        population: all models' answers about known non-members, the pool's reference.
        workers: processes; the scores are the same with any number.

    Raises:
        InputError: if the attack cannot score some examples at a time, or ``targets`` are no models
            of the pool.
        TooFewRecordsError: if too few examples have shadow models of both kinds.
    """
    use = shards.use
    chosen = tuple(range(len(use)) if targets is None else targets)
    if not chosen or min(chosen) < 0 or max(chosen) >= len(use):
        raise InputError(
            f"The targets {list(chosen)} are none of the pool.",
            f"Choose at least one, from 0 to {len(use) - 1}.",
        )
    k = membership.shadows_for_all(np.asarray(use))
    plan = _Plan(shards, attack, chosen, k, seed, use.shape[1], population)
    scores = np.zeros((len(chosen), use.shape[1]))
    scored = np.zeros(scores.shape, dtype=np.bool_)
    slices = shards.slices
    with _at_work(plan, workers) as each:
        gathered: list[Any] = [None] * len(chosen)
        if _shares(plan, slices):
            for found in each(_gather, slices, gathered):
                gathered = [
                    more if so_far is None else so_far if more is None else so_far + more
                    for so_far, more in zip(gathered, found, strict=True)
                ]
        for examples, (part, kept) in zip(slices, each(_score, slices, gathered), strict=True):
            scores[:, examples], scored[:, examples] = part, kept
    rows = np.asarray(use)[list(chosen)]
    return ShardScores(np.array(chosen), scores, rows == 1, scored & (rows >= 0))


class _Part(NamedTuple):
    """Some examples as the attacker sees them: all models, and everybody's role for each target."""

    everyone: ShadowObservations
    roles: tuple[LeaveOneOut, ...]

    def eligible(self, place: int) -> Bools:
        """Which of the examples have shadows, bool [n]."""
        return membership.eligible(self.roles[place].use)

    def shadows(self, place: int) -> ShadowObservations:
        """Of a target."""
        return self.roles[place].shadows(self.everyone)


def _part(plan: _Plan, examples: slice) -> _Part:
    outputs = plan.shards.part(examples)
    everyone = undefended_shadows(outputs)
    if plan.population is not None:
        known = undefended_shadows(plan.population).observations
        seen = [
            replace(one, population=z) for one, z in zip(everyone.observations, known, strict=True)
        ]
        everyone = replace(everyone, observations=tuple(seen))
    roles = []
    for target in plan.targets:
        others = tuple(model for model in range(len(outputs.use)) if model != target)
        left = membership.equal_numbers(
            outputs.use[list(others)],
            plan.k,
            derive(plan.seed, "hidden", target),
            start=examples.start,
            total=plan.total,
        )
        roles.append(LeaveOneOut(target, others, left))
    return _Part(everyone, tuple(roles))


def _shares(plan: _Plan, slices: Sequence[slice]) -> bool:
    """True if the attack learns something from all examples, by the first that have shadows."""
    for examples in slices:
        part = _part(plan._replace(targets=plan.targets[:1]), examples)
        if part.eligible(0).any():
            return plan.attack.gather(part.shadows(0)) is not None
    return False


def _gather(plan: _Plan, examples: slice, gathered: Sequence[Any]) -> list[Any]:
    """What a part adds, for each target."""
    part = _part(plan, examples)
    return [
        plan.attack.gather(part.shadows(place)) if part.eligible(place).any() else None
        for place in range(len(plan.targets))
    ]


def _score(plan: _Plan, examples: slice, gathered: Sequence[Any]) -> tuple[Float64, Bools]:
    """Scores [T, n] of a part, and which of them mean something."""
    part = _part(plan, examples)
    kept = np.stack([part.eligible(place) for place in range(len(plan.targets))])
    scores = np.zeros(kept.shape)
    for place, target in enumerate(plan.targets):
        if kept[place].any():
            fitted = plan.attack.fit_part(part.shadows(place), gathered[place])
            scores[place] = fitted.score(part.everyone.observations[target])
    return scores, kept


_Each = Callable[..., Iterator[Any]]
"""Calls a function for every part: with the plan, the part and what was gathered."""


@contextmanager
def _at_work(plan: _Plan, workers: int) -> Iterator[_Each]:
    if workers == 1:
        yield lambda do, slices, gathered: (do(plan, one, gathered) for one in slices)
        return
    with worker_processes(workers, _begin, plan) as processes:

        def each(do: Any, slices: Sequence[slice], gathered: Sequence[Any]) -> Iterator[Any]:
            count = len(slices)
            return processes.map(_call, [do] * count, slices, [gathered] * count)

        yield each


_given: list[_Plan] = []
"""What a worker process received once."""


def _begin(plan: _Plan, parent: int) -> None:
    _given.append(plan)
    begin(parent)


def _call(do: Any, examples: slice, gathered: Sequence[Any]) -> Any:
    return do(_given[0], examples, gathered)
