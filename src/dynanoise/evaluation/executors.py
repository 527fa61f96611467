"""Who measures methods on a pool: this process, or several on this machine."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from dynanoise.core.workers import begin, worker_processes
from dynanoise.evaluation.measurement import Measured, Progress, Task, measure


class Judges(Protocol):
    """Measures tasks."""

    def ahead(self, tasks: Sequence[Task]) -> None:
        """May begin with tasks that will be asked for."""

    def __call__(self, tasks: Sequence[Task], progress: Progress) -> Iterator[Measured]:
        """Measures every task, in their order, and tells of the progress."""


class Alone:
    """One task after the other in this process."""

    def ahead(self, tasks: Sequence[Task]) -> None:
        """Begins nothing."""

    def __call__(self, tasks: Sequence[Task], progress: Progress) -> Iterator[Measured]:
        """See `Judges`."""
        for task in tasks:
            yield measure(task, (lambda step: None) if task.silent else progress)


class _Several:
    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self.pool = pool
        self.begun: dict[tuple[Hashable, ...], Future[Measured]] = {}
        self.once: set[Hashable] = set()

    def ahead(self, tasks: Sequence[Task]) -> None:
        """Begins what nobody began."""
        for task in tasks:
            # What always answers the same is not asked again with another budget.
            method = task.method
            repeatable = method.defense.repeatable or method.cell_width is not None
            if not (repeatable and task.key in self.once):
                self._begin(task)

    def _begin(self, task: Task) -> Future[Measured]:
        self.once.add(task.key)
        name = (task.protocol.name, *task.key)
        if name not in self.begun:
            self.begun[name] = self.pool.submit(measure, task)
        return self.begun[name]

    def __call__(self, tasks: Sequence[Task], progress: Progress) -> Iterator[Measured]:
        futures = [self._begin(task) for task in tasks]
        for task, future in zip(tasks, futures, strict=True):
            measured = future.result()
            del self.begun[(task.protocol.name, *task.key)]
            tell(task, measured, progress)
            yield measured


def tell(task: Task, measured: Measured, progress: Progress) -> None:
    """The progress of something that is done."""
    if task.silent:
        return
    for finding, _ in measured.attacks:
        progress(f"{task.method.name}, {finding.attack}")
    if measured.utility is not None:
        progress(f"{task.method.name}, utility")


@contextmanager
def several(workers: int) -> Iterator[Judges]:
    """Worker processes, which are ended on leaving.

    Args:
        workers: how many; 1 is `Alone`.
    """
    if workers == 1:
        yield Alone()
        return
    with worker_processes(workers, begin_judging) as pool:
        yield _Several(pool)


def begin_judging(parent: int) -> None:
    """One thread a worker, which waits for nobody."""
    from threadpoolctl import threadpool_limits

    begin(parent)
    threadpool_limits(1)
