"""A job as another process does it, on this machine or another, and what comes back."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from dynanoise.data.dataset import Data
from dynanoise.training.jobs import Answers, Job
from dynanoise.training.store.store import Store
from dynanoise.training.store.stored import attempted, stored

_OWN = "dynanoise"


@dataclass(frozen=True)
class Task:
    """What is to be done at once.

    Attributes:
        jobs: what to train: one, or stacked ones, see `together.arrange`.
        store: where finished models are kept and found, or None.
        owner: of what it claims: the same if the task is done again because its machine died, so
            that it need not wait for itself.
        patient: False gives jobs back where another run is training the model.
    """

    jobs: tuple[Job, ...]
    store: Store | None
    owner: str
    patient: bool = False

    @property
    def name(self) -> str:
        """For progress and logs, such as "model 0 to model 15"."""
        first, last = self.jobs[0].name, self.jobs[-1].name
        return first if len(self.jobs) == 1 else f"{first} to {last}"


@dataclass(frozen=True)
class Done:
    """What came of a task.

    Attributes:
        answers: of each job; None if another run is training the model.
        lines: what was logged meanwhile: logger, level and text.
    """

    answers: tuple[Answers | None, ...]
    lines: tuple[tuple[str, int, str], ...] = ()


def tasks_of(groups: Sequence[tuple[Job, ...]], store: Store | None) -> list[Task]:
    """A task for each group of jobs, with owners that no other run has."""
    run = uuid.uuid4().hex
    return [Task(jobs, store, f"{run} {number}") for number, jobs in enumerate(groups)]


def perform(task: Task, data: Data) -> Done:
    """Does a task where it is called; what it logs comes back with the answers.

    Raises:
        DivergedError: if training came to nothing.
        StoreError: if the store is no folder and cannot be asked.
    """
    with _collected() as lines:
        answers = done_here(task, data)
    return Done(tuple(answers), tuple(lines))


def done_here(task: Task, data: Data) -> Sequence[Answers | None]:
    """The answers to a task's jobs; what is logged meanwhile goes where this process shows it."""
    if task.patient:
        return [stored(job, data, task.store, task.owner) for job in task.jobs]
    return attempted(task.jobs, data, task.store, task.owner)


def in_order(
    tasks: Sequence[Task], submit: Callable[[Task], Any], result: Callable[[Any, Task], Done]
) -> Iterator[Answers]:
    """The answers to the tasks' jobs in their order, all tasks at work as soon as there is room.

    What another run is training is asked for again after everything else, so that two runs of the
    same plan share the work.

    Args:
        tasks: to do.
        submit: begins one.
        result: waits for what ``submit`` gave.
    """
    pending = [submit(task) for task in tasks]
    for number, task in enumerate(tasks):
        done = result(pending[number], task)
        pending[number] = None  # what a cluster holds for it can go
        _tell(done)
        for job, answers in zip(task.jobs, done.answers, strict=True):
            yield answers or _waited_for(replace(task, jobs=(job,), patient=True), submit, result)


def _waited_for(
    task: Task, submit: Callable[[Task], Any], result: Callable[[Any, Task], Done]
) -> Answers:
    done = result(submit(task), task)
    _tell(done)
    (answers,) = done.answers
    assert answers is not None
    return answers


def _tell(done: Done) -> None:
    for name, level, text in done.lines:
        logging.getLogger(name).log(level, "%s", text)


class _Collector(logging.Handler):
    def __init__(self, lines: list[tuple[str, int, str]]) -> None:
        super().__init__(logging.INFO)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.name, record.levelno, record.getMessage()))


@contextmanager
def _collected() -> Iterator[list[tuple[str, int, str]]]:
    """What the package logs inside, instead of where this process would show it.

    After an error it is shown here: nothing comes back then but the error.
    """
    logger = logging.getLogger(_OWN)
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
