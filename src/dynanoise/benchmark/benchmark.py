"""Run a preset: data, models, methods and attacks become results."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dynanoise.benchmark.layouts import Progress, make_layout
from dynanoise.benchmark.plan import Plan
from dynanoise.core.extras import missing_extra
from dynanoise.core.result import Result
from dynanoise.data.dataset import Data
from dynanoise.evaluation.engine import open_measurement_cache
from dynanoise.evaluation.evidence import Gatherer
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
    gatherer: Gatherer | None = None,
    executor: Executor | None = None,
) -> Iterator[Result]:
    """Train and evaluate everything in a plan.

    The paper's protocol is run for seeds 0 .. seeds-1; protocols over a pool once, with seed 0:
    each model of the pool is the target there. The same plan, package versions and processor give
    the same numbers, with or without a store and with any number of workers.

    Args:
        plan: preset, methods, attacks and protocols.
        progress: called after each of the plan's steps.
        data: loaded data; None loads the preset's.
        folder: where data sets are looked for first, see `data.sources`.
        store: where trained models are kept and found again, a folder or an address such as
            "s3://bucket/models"; None trains all of them.
        workers: processes that train, and that evaluate, at once.
        train: False to take every model from the store.
        gatherer: gathers the evidence of protocols over a pool.
        executor: trains the models, such as `RayCluster`, with a store of its own; ``store`` and
            ``train`` are ignored then. None for processes of this machine.

    Yields:
        Results as they are measured.

    Raises:
        MissingExtraError: if torch, or a package that reads the data, is not installed.
        MissingDataError: if no place has the data.
        MissingModelError: if a model is not stored and none may be trained.
        StoreError: if the store is an address that cannot be reached.
        InputError: if the model does not take such data, or the device is not there.
    """
    require_torch()
    if executor is None:  # the nodes of a cluster have devices of their own
        from dynanoise.training.devices import choose_device

        choose_device(plan.device)
    layout = make_layout(plan, data, folder)
    trains = _executor(store, workers, train) if executor is None else executor
    # All jobs at once, so that workers stay busy across recipes and seeds.
    outputs = trains.run(layout.jobs, layout.data)
    yield from layout.runs.results(outputs, progress)
    with open_measurement_cache(workers) as measurements:
        yield from layout.pools.results(outputs, measurements, progress, gatherer, store)


def require_torch() -> None:
    """Check before any work that torch is installed.

    Raises:
        MissingExtraError: if torch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise missing_extra(
            "train",
            "Training needs torch, which is not installed (`dynanoise quickstart` does without).",
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
