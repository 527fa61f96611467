"""Progress of long work: a bar in terminals and notebooks, lines in log files."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from dynanoise.core.extras import require

LINE_SECONDS = 60
"""Seconds between two lines of a log file, at least."""


class Steps:
    """A count of steps, passed on to a function after each.

    Args:
        advance: called with a few words after each step.
        expect: called with the number of further steps, where more are expected than at first.
    """

    def __init__(
        self,
        advance: Callable[[str], object],
        expect: Callable[[int], object] = lambda more: None,
    ) -> None:
        self._advance = advance
        self.expect = expect

    def __call__(self, step: str) -> None:
        """Count a step.

        Args:
            step: a few words on it.
        """
        self._advance(step)


@dataclass
class _Count:
    """Steps done and expected, and the time that has passed.

    The time that is left is not estimated: a model may take minutes to train, and an attack on it a
    second.

    Attributes:
        expected: number of steps.
        begun: when the first step began, in seconds of `time.monotonic`.
        finished: number of steps done.
    """

    expected: int
    begun: float
    finished: int = 0

    def expect(self, more: int) -> None:
        """Expect further steps."""
        self.expected += more

    def advance(self, step: str) -> str:
        """Count a step; return such as "3/12 after 0:01:30, done: lira"."""
        self.finished += 1
        passed = timedelta(seconds=round(time.monotonic() - self.begun))
        return f"{self.finished}/{self.expected} after {passed}, done: {step}"


@contextmanager
def progress_bar(title: str, total: int, *, announced: bool = True) -> Iterator[Steps]:
    """Show a bar on standard error, in terminals and notebooks.

    Args:
        title: the work.
        total: expected number of steps.
        announced: write lines where no bar can be shown, as in a log file: one at the beginning and
            one a minute.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    stderr = Console(stderr=True)
    if stderr.is_jupyter:
        with _notebook_bar(total) as steps:
            yield steps
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("after"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    visible = stderr.is_terminal and not stderr.is_dumb_terminal
    if announced and not visible:
        yield _lines(title, total)
        return
    with Progress(*columns, console=stderr, transient=True, disable=not visible) as bars:
        bar = bars.add_task(title, total=total)

        def expect(more: int) -> None:
            total = bars.tasks[bar].total
            bars.update(bar, total=None if total is None else total + more)

        yield Steps(lambda step: bars.update(bar, advance=1, description=f"done: {step}"), expect)


def _lines(title: str, total: int) -> Steps:
    """Write a line now, and after a step if the last one is a minute old."""
    print(f"Running {title}: {total} steps.", file=sys.stderr, flush=True)
    count = _Count(total, time.monotonic())
    latest = count.begun

    def advance(step: str) -> None:
        nonlocal latest
        text = count.advance(step)
        if time.monotonic() - latest >= LINE_SECONDS:
            latest = time.monotonic()
            print(f"Running {title}: {text}", file=sys.stderr, flush=True)

    return Steps(advance, count.expect)


@contextmanager
def _notebook_bar(total: int) -> Iterator[Steps]:
    """Show a bar in the output of a notebook's cell, removed at the end.

    Rich would need ipywidgets there, and prints a warning at every step without them.
    """
    display = require("IPython.display", "Showing progress in a notebook")
    count = _Count(total, time.monotonic())
    handle = display.display(display.HTML(""), display_id=True)

    def advance(step: str) -> None:
        text = html.escape(count.advance(step))
        bar = f'<progress value="{count.finished}" max="{count.expected}"></progress> {text}'
        handle.update(display.HTML(bar))

    try:
        yield Steps(advance, count.expect)
    finally:
        handle.update(display.HTML(""))


@contextmanager
def steps_of(callback: Callable[[str], object] | None, title: str, total: int) -> Iterator[Steps]:
    """Make a count of steps for a block of an audit from Python.

    Args:
        callback: called with a few words after each step; None to show a bar in notebooks and
            terminals, and nothing elsewhere.
        title: the work.
        total: expected number of steps.
    """
    if callback is not None:
        yield Steps(callback)
        return
    with progress_bar(title, total, announced=False) as steps:
        yield steps
