"""Runs a preset: data, models, methods, attacks -> Records."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dynanoise.benchmark.layouts import Progress, layout_of
from dynanoise.benchmark.plan import Plan
from dynanoise.core.errors import MissingExtraError
from dynanoise.core.result import Result
from dynanoise.data.dataset import Data
from dynanoise.evaluation.evidence import Keep
from dynanoise.evaluation.executors import several
from dynanoise.training.store.storage import Place

if TYPE_CHECKING:
    from dynanoise.training.jobs import Executor

__all__ = ["Plan", "Progress", "bench"]


def bench(
    plan: Plan,
    progress: Progress = lambda step: None,
    *,
    data: Data | None = None,
    folder: Path | None = None,
    store: Place | None = None,
    workers: int = 1,
    train: bool = True,
    keep: Keep | None = None,
    executor: Executor | None = None,
) -> Iterator[Result]:
    """Trains and judges everything in a plan.

    The paper's protocol for seeds 0 .. seeds-1; protocols over a pool once, with seed 0: each model
    of the pool is the target there. The same plan, package versions and processor give the same
    numbers, with or without a store and with any number of workers.

    Args:
        plan: what to run.
        progress: called after each of the plan's steps.
        data: where they are loaded already; None loads the preset's.
        folder: where data sets are looked for first, see `training.sources`.
        store: where trained models are kept and found again, a folder or an address such as
            "s3://bucket/models"; None trains all of them.
        workers: processes that train, and that judge, at once.
        train: False to take every model from the store.
        keep: is shown what the results of pools are made of, see `audit.evidence.Gatherer`.
        executor: who trains, such as `training.ray_cluster.RayCluster`, with a store of its own;
            ``store`` and ``train`` say nothing then. None for processes of this machine.

    Yields:
        results as they are made.

    Raises:
        MissingExtraError: if torch, or what reads the data, is not installed.
        MissingDataError: if no place has the data.
        MissingModelError: if a model is not stored and none may be trained.
        StoreError: if the store is no folder and cannot be asked.
        InputError: if the model does not take such data.
    """
    require_torch()
    layout = layout_of(plan, data, folder)
    trains = _executor(store, workers, train) if executor is None else executor
    # All jobs at once, so that workers stay busy across recipes and seeds.
    answers = trains.run(layout.jobs, layout.data)
    yield from layout.runs.records(answers, layout.stamp, progress)
    with several(workers) as judges:
        yield from layout.pools.records(answers, layout.stamp, progress, judges, keep)


def require_torch() -> None:
    """Says before any work what is missing.

    Raises:
        MissingExtraError: if torch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError(
            "Training needs torch, which is not installed.",
            "Install it with: pip install 'dynanoise[train]'",
        )


def _executor(store: Place | None, workers: int, train: bool) -> Executor:
    from dynanoise.training.execution.executors import FromStore, InProcess, Processes
    from dynanoise.training.store.store import Store

    kept = None if store is None else Store(store)
    if kept is not None:
        kept.sweep()
        if not train:
            return FromStore(kept)
    return InProcess(kept) if workers == 1 else Processes(workers, kept)
