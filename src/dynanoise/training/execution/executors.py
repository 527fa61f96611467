"""Executors, which train jobs: in this process, in several of this machine, or not at all.

`ray_cluster.RayCluster` trains them on several machines.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from dynanoise.core.errors import DivergedError, MissingModelError
from dynanoise.core.workers import begin, worker_processes
from dynanoise.data.dataset import Data
from dynanoise.training.execution.outputs import (
    outputs_of,
    outputs_unless_claimed,
    seems_stored,
    stored_outputs,
)
from dynanoise.training.execution.parts import Parts, count_parts
from dynanoise.training.jobs import Job, ModelOutputs
from dynanoise.training.store.store import Store

_PACKAGE = "dynanoise"


@dataclass(frozen=True)
class InProcess:
    """Trains one job after the other in this process.

    Args:
        store: where trained models are kept and found; None to train always.
    """

    store: Store | None = None

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[ModelOutputs]:
        """See `Executor.run`.

        Raises:
            DivergedError: if training failed.
            StoreError: if a store at an address cannot be reached.
        """
        tasks = tasks_of(jobs, self.store)
        ahead: dict[int, ModelOutputs | None] = {}
        for number, task in enumerate(tasks):
            outputs = ahead.pop(number) if number in ahead else _outputs(task, data)
            if outputs is None:  # all other jobs first, and then the other run is waited for
                for later in range(number + 1, len(tasks)):
                    if later not in ahead:
                        ahead[later] = _outputs(tasks[later], data)
                outputs = outputs_of(task.job, data, self.store, task.owner)
            yield outputs


@dataclass(frozen=True)
class FromStore:
    """Trains nothing: the outputs of every job must be in a store.

    Args:
        store: where they are.
    """

    store: Store

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[ModelOutputs]:
        """See `Executor.run`.

        Raises:
            MissingModelError: for the first job that is not there.
        """
        for job in jobs:
            outputs = stored_outputs(job, data, self.store)
            if outputs is None:
                raise MissingModelError(
                    f"The store {self.store.root} has no {job.name} of this run.",
                    "Train it first, by `dynanoise bench` with the same preset, size, seeds, "
                    "device and store.",
                )
            yield outputs


@dataclass(frozen=True)
class Processes:
    """Trains each job in a worker process; those that are stored already are read in this one.

    The numbers are those of `InProcess`: a job's result depends on its own thread count alone.

    Args:
        workers: largest number of processes, >= 1; with one thread a job, that of the cores.
        store: see `InProcess`. A worker stores its model itself, so that no finished model is lost
            when the driver dies.
    """

    workers: int
    store: Store | None = None

    def run(self, jobs: Iterable[Job], data: Data) -> Iterator[ModelOutputs]:
        """See `Executor.run`.

        Raises:
            WorkerError: if a worker process died.
            DivergedError: if training failed.
            StoreError: if a store at an address cannot be reached.
        """
        tasks = tasks_of(jobs, self.store)
        stored = {task.owner for task in tasks if seems_stored(task.job, data, self.store)}
        parts = [parts_of(task, data) for task in tasks]
        workers = min(self.workers, max(1, len(tasks) - len(stored) + sum(map(len, parts))))
        with worker_processes(workers, _begin, data) as pool:
            yield from in_order(
                tasks,
                lambda task: None if task.owner in stored else pool.submit(_perform, task),
                lambda future, task: perform(task, data) if future is None else future.result(),
                parts,
            )


_received: list[Data] = []
"""The data of a worker process: sent once, not once for each job."""


def _begin(data: Data, parent: int) -> None:
    _received.append(data)
    begin(parent)


def _perform(task: Task) -> TaskResult:
    return perform(task, _received[0])


@dataclass(frozen=True)
class Task:
    """A job as another process does it, on this machine or another.

    Attributes:
        job: the model to train.
        store: where trained models are kept and found, or None.
        owner: the owner of its claims, the same if the task is repeated because its machine died,
            so that it does not wait for itself.
        patient: True to wait where another run is training the model, False to give the job back.
        part: number of the sub-model to train and store, from 0; None for the whole model.
    """

    job: Job
    store: Store | None
    owner: str
    patient: bool = False
    part: int | None = None


@dataclass(frozen=True)
class TaskResult:
    """The result of a task.

    Attributes:
        outputs: the outputs of the job's model; None if another run is training it, or for a
            sub-model.
        lines: log lines of the meantime: logger, level and text.
    """

    outputs: ModelOutputs | None
    lines: tuple[tuple[str, int, str], ...] = ()


def tasks_of(jobs: Iterable[Job], store: Store | None) -> list[Task]:
    """A task for each job, with owners that no other run has.

    Args:
        jobs: the models.
        store: where trained models are kept and found, or None.
    """
    run = uuid.uuid4().hex
    return [Task(job, store, f"{run} {number}") for number, job in enumerate(jobs)]


def parts_of(task: Task, data: Data) -> list[Task]:
    """A task for each sub-model that a task's job still needs.

    Args:
        task: the task of a whole model.
        data: the data set.

    Returns:
        The tasks; [] without a store, since sub-models reach the worker that needs them through it.
    """
    job, store = replace(task.job, near=None), task.store
    if store is None or not count_parts(job) or seems_stored(job, data, store):
        return []
    parts = Parts(data, store)
    return [
        Task(job, store, f"{task.owner} alone {number}", part=number)
        for number in range(count_parts(job))
        if parts.name(job, number) not in store
    ]


def perform(task: Task, data: Data) -> TaskResult:
    """Do a task in the calling process, and send back its log lines with the outputs.

    Args:
        task: the task.
        data: the data set.

    Raises:
        DivergedError: if training failed.
        StoreError: if a store at an address cannot be reached.
    """
    with _collected() as lines:
        outputs = _outputs(task, data)
    return TaskResult(outputs, tuple(lines))


def _outputs(task: Task, data: Data) -> ModelOutputs | None:
    if task.part is not None:
        if not seems_stored(task.job, data, task.store):
            # The whole model's own attempt meets the error again, and tries a lower learning rate.
            with suppress(DivergedError):
                Parts(data, task.store, task.owner).train(task.job, task.part)
        return None
    if task.patient:
        return outputs_of(task.job, data, task.store, task.owner)
    return outputs_unless_claimed(task.job, data, task.store, task.owner)


def in_order(
    tasks: list[Task],
    submit: Callable[[Task], Any],
    wait: Callable[[Any, Task], TaskResult],
    parts: Sequence[Sequence[Task]] = (),
) -> Iterator[ModelOutputs]:
    """Submit all tasks at once and yield their outputs in order.

    A model that another run is training is queried after all others, so that two runs of the same
    plan share the work. Likewise a model is begun after its own sub-models and those of the next
    one, so that a worker seldom waits for a sub-model.

    Args:
        tasks: the tasks.
        submit: begins a task and returns a future.
        wait: waits for the result of a future and its task.
        parts: for each task, those of its sub-models; () for none at all.

    Yields:
        Outputs of each task's job.
    """
    parts = parts or [()] * len(tasks)
    pending: list[Any] = []
    begun = [[submit(part) for part in parts[0]]] if tasks else []
    for task, of_next in zip(tasks, [*parts[1:], ()], strict=True):
        begun.append([submit(part) for part in of_next])
        pending.append(submit(task))
    for number, task in enumerate(tasks):
        for future, part in zip(begun[number], parts[number], strict=True):
            _log(wait(future, part))
        result = wait(pending[number], task)
        begun[number], pending[number] = [], None  # a cluster can let go of what it holds for them
        _log(result)
        if result.outputs is None:
            patient = replace(task, patient=True)
            result = wait(submit(patient), patient)
            _log(result)
            assert result.outputs is not None
        yield result.outputs


def _log(result: TaskResult) -> None:
    for name, level, text in result.lines:
        logging.getLogger(name).log(level, "%s", text)


class _Collector(logging.Handler):
    def __init__(self, lines: list[tuple[str, int, str]]) -> None:
        super().__init__(logging.INFO)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.name, record.levelno, record.getMessage()))


@contextmanager
def _collected() -> Iterator[list[tuple[str, int, str]]]:
    """Collect this package's log lines instead of showing them in this process.

    After an error warnings are shown here, because only the error goes back to the driver.
    """
    logger = logging.getLogger(_PACKAGE)
    lines: list[tuple[str, int, str]] = []
    handler = _Collector(lines)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    failed = True
    try:
        yield lines
        failed = False
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
        if failed:
            for name, level, text in lines:
                if level >= logging.WARNING:
                    logging.getLogger(name).log(level, "%s", text)
