"""Who trains the jobs: this process, several on this machine, or nobody; see `ray_cluster`, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from dynanoise.core.errors import MissingModelError
from dynanoise.core.workers import begin, worker_processes
from dynanoise.data.dataset import Data
from dynanoise.training.execution.estimate import gain
from dynanoise.training.execution.tasks import Done, Task, done_here, in_order, perform, tasks_of
from dynanoise.training.execution.together import arrange, check
from dynanoise.training.jobs import Answers, Job
from dynanoise.training.store.store import Store
from dynanoise.training.store.stored import found, stored


@dataclass(frozen=True)
class InProcess:
    """One job after the other in this process, or one stack of jobs after the other.

    Args:
        store: where finished models are kept and found; None to train always.
        stack: how many small models are trained at once, see `together.arrange`.

    Raises:
        InputError: for a ``stack`` below 1.
    """

    store: Store | None = None
    stack: int | None = 1

    def __post_init__(self) -> None:
        check(self.stack)

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[Answers]:
        """See `Executor.run`."""
        groups = arrange(jobs, data, size=self.stack, store=self.store, gain=gain)
        tasks = tasks_of(groups, self.store)
        done: dict[int, Sequence[Answers | None]] = {}
        for number, task in enumerate(tasks):
            found = done.pop(number) if number in done else done_here(task, data)
            if None in found:  # before another run is waited for, all that is left is done
                rest = enumerate(tasks[number + 1 :], number + 1)
                done.update((at, done_here(one, data)) for at, one in rest if at not in done)
            for job, answers in zip(task.jobs, found, strict=True):
                yield answers or stored(job, data, self.store, task.owner)


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
                answers = found(replace(job, stacked=True), data, self.store)
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
        stack: how many small models a process trains at once, see `together.arrange`.

    Raises:
        InputError: for a ``stack`` below 1.
    """

    workers: int
    store: Store | None = None
    stack: int | None = 1

    def __post_init__(self) -> None:
        check(self.stack)

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[Answers]:
        """See `Executor.run`."""
        groups = arrange(
            jobs, data, size=self.stack, slots=self.workers, store=self.store, gain=gain
        )
        with worker_processes(self.workers, _begin, data) as pool:
            yield from in_order(
                tasks_of(groups, self.store),
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
