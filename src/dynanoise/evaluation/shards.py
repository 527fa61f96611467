"""Attacks on a pool of many records, some of them at a time, from files mapped into memory.

Scores are those of `ShadowPool` on undefended predictions, of a pool without the records that are
in no model: each model is the target once, with the same shadow models for every example.
Thresholds and the strongest attack, which are chosen on pseudo-targets, are left out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynanoise.attacks.base import Attack
from dynanoise.attacks.pseudo_targets import LeaveOneOut
from dynanoise.core import membership
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.numerics import Bools, Float64, Int8, Int64
from dynanoise.core.observation import ShadowObservations
from dynanoise.core.outputs import Outputs
from dynanoise.core.seeding import derive
from dynanoise.core.workers import begin, worker_processes
from dynanoise.evaluation.responses import observe_undefended
from dynanoise.metrics.bootstrap import FPRS
from dynanoise.metrics.roc import resolves, roc

_FILES = ("logits", "labels", "ids", "use")


class PartedPool(ABC):
    """Outputs of several models that are read some records at a time.

    Attributes:
        size: records of one part, >= 1; memory grows with it.
    """

    size: int

    @property
    @abstractmethod
    def use(self) -> Int8:
        """Membership of all records, int8 [M, N]; 1 = in, 0 = out, -1 = hidden."""

    @property
    @abstractmethod
    def labels(self) -> Int64:
        """The true classes of all records, int64 [N]."""

    @abstractmethod
    def part(self, records: slice) -> Outputs:
        """Read the outputs of all models about the records of one part.

        Args:
            records: positions of the records, consecutive.

        Returns:
            Logits in float32 or float64 [M, n, A, K], with labels, ids and membership.
        """

    @property
    def slices(self) -> list[slice]:
        """Positions of the records of each part, in order.

        Raises:
            InputError: if ``size`` is below 1.
        """
        if self.size < 1:
            raise InputError(f"Parts have {self.size} records.", "Use at least one.")
        count = self.use.shape[1]
        return [slice(i, min(i + self.size, count)) for i in range(0, count, self.size)]

    def select(self, rows: Int64) -> Outputs:
        """Read the outputs of all models about some records.

        Args:
            rows: int64 [n], positions of the records, ascending; at least one.

        Returns:
            As of `part`.
        """
        pieces = []
        for records in self.slices:
            first, last = np.searchsorted(rows, [records.start, records.stop])
            if first < last:
                pieces.append(self.part(records).select(records=rows[first:last] - records.start))
        arrays = {name: [getattr(piece, name) for piece in pieces] for name in _FILES}
        axes = {"logits": 1, "use": 1}
        return Outputs(**{n: np.concatenate(a, axis=axes.get(n, 0)) for n, a in arrays.items()})


@dataclass(frozen=True, eq=False)
class PoolFiles(PartedPool):
    """A folder with the files of `write_pool`, mapped into memory.

    Args:
        folder: folder of the files; logits are float16, float32 or float64 [M, N, A, K].
        size: records of one part; memory grows with it.

    Raises:
        DataFileError: on use, if a file is missing or is not an array.
        InputError: on use, if ``size`` is below 1.
    """

    folder: Path
    size: int = 5_000

    def _array(self, name: str) -> npt.NDArray[Any]:
        try:
            array: npt.NDArray[Any] = np.load(
                self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False
            )
        except (OSError, ValueError) as error:
            raise DataFileError(
                f"{self.folder / name}.npy cannot be read ({error}).", "Write the pool anew."
            ) from error
        return array

    @property
    def use(self) -> Int8:
        """See `PartedPool`."""
        return self._array("use")

    @property
    def labels(self) -> Int64:
        """See `PartedPool`."""
        return self._array("labels")

    def part(self, records: slice) -> Outputs:
        """See `PartedPool`."""
        logits = np.array(self._array("logits")[:, records])
        if logits.dtype == np.float16:
            logits = logits.astype(np.float32)
        rest = {name: np.array(self._array(name)[..., records]) for name in _FILES[1:]}
        return Outputs(logits, **rest)


def write_pool(
    folder: Path,
    models: Iterable[npt.NDArray[Any]],
    labels: Int64,
    ids: Int64,
    use: Int8,
    *,
    dtype: npt.DTypeLike = np.float32,
) -> None:
    """Write the files of a pool model by model, so that memory holds one model's outputs at a time.

    Args:
        folder: created if it is missing.
        models: logits [N, A, K] of each model.
        labels: int64 [N], true classes.
        ids: int64 [N], without repetition.
        use: int8 [M, N], membership.
        dtype: type of the logits on disk; float16 keeps three decimal digits.

    Raises:
        InputError: if there are fewer or more models than rows of ``use``, or of other shapes.
        OSError: if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mapped: Any = None
    count = 0
    for model, logits in enumerate(models):
        if mapped is None:
            shape = (len(use), *logits.shape)
            mapped = np.lib.format.open_memmap(folder / "logits.npy", "w+", dtype, shape)
        if model >= len(use) or logits.shape != mapped.shape[1:] or len(logits) != use.shape[1]:
            raise InputError(
                f"Logits of model {model} have shape {logits.shape}, use has {use.shape}.",
                "Give logits [N, A, K] for each of the M rows of use [M, N].",
            )
        mapped[model] = logits
        count += 1
    if count != len(use):
        raise InputError(f"There are {count} models, and use has {len(use)}.", "Give all.")
    mapped.flush()
    for name, array in (("labels", labels), ("ids", ids), ("use", use)):
        np.save(folder / f"{name}.npy", array)


@dataclass(frozen=True, eq=False)
class ShardScores:
    """Scores of an attack on a pool.

    Attributes:
        targets: int64 [T], positions of the models that were attacked.
        scores: float64 [T, N], larger = more likely a member; 0 where nothing was scored.
        members: bool [T, N], the truth.
        scored: bool [T, N]; False where an example had no shadows, or its use is hidden.
    """

    targets: Int64
    scores: Float64
    members: Bools
    scored: Bools

    def metrics(self, fprs: Sequence[float] = FPRS) -> dict[str, float]:
        """Metrics of `metrics.bootstrap.bootstrap` without intervals.

        Args:
            fprs: false positive rates at which the TPR is wanted.

        Returns:
            ``auc``, the mean over targets; ``tpr@0.001`` and so on of all pairs together, each left
            out if fewer than 10 non-members resolve it.
        """
        areas = [
            roc(scores[kept], members[kept]).auc
            for scores, members, kept in zip(self.scores, self.members, self.scored, strict=True)
        ]
        metrics = {"auc": float(np.mean(areas))}
        inside = self.scores[self.scored & self.members]
        outside = self.scores[self.scored & ~self.members]
        outside.sort()
        for fpr in fprs:
            if resolves(fpr, len(outside)):
                allowed = int((fpr + 1e-12) * len(outside))
                bar = outside[-allowed - 1] if allowed < len(outside) else -np.inf
                metrics[f"tpr@{fpr:g}"] = float((inside > bar).mean())
        return metrics


class _Plan(NamedTuple):
    """Values that all parts share; they can be handed to another process."""

    files: PartedPool
    attack: Attack
    targets: tuple[int, ...]
    k: int
    seed: int
    total: int
    population: Outputs | None


def score_by_shards(
    files: PartedPool,
    attack: Attack,
    *,
    seed: int,
    targets: Sequence[int] | None = None,
    population: Outputs | None = None,
    workers: int = 1,
) -> ShardScores:
    """Score every example with an attack, one part of the records after the other.

    Records that are in no model have no in-models. They are not scored, and do not lower the
    number k of shadow models for the others. Beside the scores, 9 bytes for each target and
    example, memory holds one part a worker: about 25 bytes for each of its logits.

    Args:
        files: the pool.
        attack: "lira", or "rmia" with a population. Where one standard deviation stands for all
            records (LiRA's variance "residual" and "raw"), all parts are read twice.
        seed: seed of the pool, for `membership.balance_shadows`.
        targets: models to attack; None for all. The others are the shadows of each.
        population: outputs of all models about known non-members, the pool's reference.
        workers: processes; the scores are the same with any number.

    Returns:
        Scores [T, N] of all targets.

    Raises:
        InputError: if the attack cannot score some records at a time, or the pool has no models at
            ``targets``.
        TooFewRecordsError: if too few records have shadow models of both kinds.
    """
    use = np.asarray(files.use)
    chosen = tuple(range(len(use)) if targets is None else targets)
    if not chosen or min(chosen) < 0 or max(chosen) >= len(use):
        raise InputError(
            f"The targets {list(chosen)} are none of the pool.",
            f"Choose at least one, from 0 to {len(use) - 1}.",
        )
    k = membership.shadows_per_target(np.where((use == 1).any(axis=0), use, np.int8(-1)))
    plan = _Plan(files, attack, chosen, k, seed, use.shape[1], population)
    scores = np.zeros((len(chosen), use.shape[1]))
    scored = np.zeros(scores.shape, dtype=np.bool_)
    slices = files.slices
    with _at_work(plan, workers) as each:
        gathered: list[Any] = [None] * len(chosen)
        if _shares(plan, slices):
            for sums in each(_gather, slices, gathered):
                gathered = [
                    more if so_far is None else so_far if more is None else so_far + more
                    for so_far, more in zip(gathered, sums, strict=True)
                ]
        for records, (part, kept) in zip(slices, each(_score, slices, gathered), strict=True):
            scores[:, records], scored[:, records] = part, kept
    rows = use[list(chosen)]
    return ShardScores(np.array(chosen), scores, rows == 1, scored & (rows >= 0))


class _Part(NamedTuple):
    """Some records as an attacker observes them: all models, and their roles for each target."""

    everyone: ShadowObservations
    roles: tuple[LeaveOneOut, ...]

    def eligible(self, place: int) -> Bools:
        """True for records that have shadow models, bool [n]."""
        return membership.has_shadows(self.roles[place].kept)

    def shadows(self, place: int) -> ShadowObservations:
        """Shadow models of a target."""
        return self.roles[place].shadows(self.everyone)


def _part(plan: _Plan, records: slice) -> _Part:
    outputs = plan.files.part(records)
    everyone = observe_undefended(outputs)
    if plan.population is not None:
        populations = observe_undefended(plan.population).observations
        observed = tuple(
            replace(observation, population=population)
            for observation, population in zip(everyone.observations, populations, strict=True)
        )
        everyone = replace(everyone, observations=observed)
    roles = []
    for target in plan.targets:
        others = tuple(model for model in range(len(outputs.use)) if model != target)
        kept = membership.balance_shadows(
            outputs.use[list(others)],
            plan.k,
            derive(plan.seed, "hidden", target),
            start=records.start,
            total=plan.total,
        )
        roles.append(LeaveOneOut(target, others, kept))
    return _Part(everyone, tuple(roles))


def _shares(plan: _Plan, slices: Sequence[slice]) -> bool:
    """True if the attack learns from all records, by the first part that has shadow models."""
    for records in slices:
        part = _part(plan._replace(targets=plan.targets[:1]), records)
        if part.eligible(0).any():
            return plan.attack.gather(part.shadows(0)) is not None
    return False


def _gather(plan: _Plan, records: slice, gathered: Sequence[Any]) -> list[Any]:
    """Sums of a part for each target."""
    part = _part(plan, records)
    return [
        plan.attack.gather(part.shadows(place)) if part.eligible(place).any() else None
        for place in range(len(plan.targets))
    ]


def _score(plan: _Plan, records: slice, gathered: Sequence[Any]) -> tuple[Float64, Bools]:
    """Scores [T, n] of a part, and True where they count."""
    part = _part(plan, records)
    kept = np.stack([part.eligible(place) for place in range(len(plan.targets))])
    scores = np.zeros(kept.shape)
    for place, target in enumerate(plan.targets):
        if kept[place].any():
            fitted = plan.attack.fit_part(part.shadows(place), gathered[place])
            scores[place] = fitted.score(part.everyone.observations[target])
    return scores, kept


_Each = Callable[..., Iterator[Any]]
"""Calls a function for every part with the plan, the part and the gathered sums."""


@contextmanager
def _at_work(plan: _Plan, workers: int) -> Iterator[_Each]:
    if workers == 1:
        yield lambda do, slices, gathered: (do(plan, part, gathered) for part in slices)
        return
    with worker_processes(workers, _begin, plan) as processes:

        def each(do: Any, slices: Sequence[slice], gathered: Sequence[Any]) -> Iterator[Any]:
            count = len(slices)
            return processes.map(_call, [do] * count, slices, [gathered] * count)

        yield each


_received: list[_Plan] = []
"""The plan that a worker process received when it started."""


def _begin(plan: _Plan, parent: int) -> None:
    _received.append(plan)
    begin(parent)


def _call(do: Any, records: slice, gathered: Sequence[Any]) -> Any:
    return do(_received[0], records, gathered)
