"""Who measures contenders on a pool: this process, or several on this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from dynanoise.audit.measured import Measured, Progress, Task, measure
from dynanoise.training.workers import begin

Judges = Callable[[Sequence[Task], Progress], Iterator[Measured]]
"""Measures every task, in their order, and tells of the progress."""


def alone(tasks: Sequence[Task], progress: Progress) -> Iterator[Measured]:
    """One after the other in this process."""
    for task in tasks:
        yield measure(task, (lambda step: None) if task.silent else progress)


def tell(task: Task, measured: Measured, progress: Progress) -> None:
    """The progress of something that is done."""
    if task.silent:
        return
    for finding, _ in measured.attacks:
        progress(f"{task.contender.name}, {finding.attack}")
    if measured.utility is not None:
        progress(f"{task.contender.name}, utility")


@contextmanager
def several(workers: int) -> Iterator[Judges]:
    """Worker processes, which are ended on leaving.

    Args:
        workers: how many; 1 is `alone`.
    """
    if workers == 1:
        yield alone
        return
    # Spawned, not forked: a forked child of a process with torch's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(os.getpid(),))

    def judges(tasks: Sequence[Task], progress: Progress) -> Iterator[Measured]:
        for task, measured in zip(tasks, pool.map(measure, tasks), strict=True):
            tell(task, measured, progress)
            yield measured

    try:
        yield judges
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(parent: int) -> None:
    """One thread a worker, which waits for nobody."""
    from threadpoolctl import threadpool_limits

    begin(parent)
    threadpool_limits(1)
