"""Who trains the jobs: this process, several on this machine, or nobody; see `ray_cluster`, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dynanoise.errors import MissingModelError
from dynanoise.training.data import Data
from dynanoise.training.jobs import Answers, Job
from dynanoise.training.store import Store
from dynanoise.training.stored import found, stored
from dynanoise.training.tasks import Done, Task, in_order, perform, tasks_of
from dynanoise.training.workers import begin, worker_processes


@dataclass(frozen=True)
class InProcess:
    """One job after the other in this process.

    Args:
        store: where finished models are kept and found; None to train always.
    """

    store: Store | None = None

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[Answers]:
        """See `Executor.run`."""
        for task in tasks_of(list(jobs), self.store):
            yield stored(task.job, data, self.store, task.owner)


@dataclass(frozen=True)
class FromStore:
    """Trains nothing: every job's answers must be in a store.

    Args:
        store: where they are.
    """

    store: Store

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[Answers]:
        """See `Executor.run`.

        Raises:
            MissingModelError: for the first job that is not there.
        """
        for job in jobs:
            answers = found(job, data, self.store)
            if answers is None:
                raise MissingModelError(
                    f"The store {self.store.root} has no {job.name} of this run.",
                    "Train it first, by `dynanoise bench` with the same preset, size, seeds, "
                    "device and store.",
                )
            yield answers


@dataclass(frozen=True)
class Processes:
    """Several worker processes; each job trains in one of them.

    The numbers are those of `InProcess`: a job's result depends on its own thread count alone.

    Args:
        workers: how many; with one thread a job, as many as there are cores.
        store: as for `InProcess`. A worker stores its model itself, so that nothing finished is
            lost when the driver dies.
    """

    workers: int
    store: Store | None = None

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[Answers]:
        """See `Executor.run`."""
        with worker_processes(self.workers, _begin, data) as pool:
            yield from in_order(
                tasks_of(list(jobs), self.store),
                lambda task: pool.submit(_perform, task),
                lambda future, task: future.result(),
            )


_given: list[Data] = []
"""What a worker process received: once, not once for each job."""


def _begin(data: Data, parent: int) -> None:
    _given.append(data)
    begin(parent)


def _perform(task: Task) -> Done:
    return perform(task, _given[0])
