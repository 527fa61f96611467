"""Progress of long work: a bar with the time that remains, in terminals and notebooks."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dynanoise.core.extras import require


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


@contextmanager
def progress_bar(title: str, total: int, *, announced: bool = True) -> Iterator[Steps]:
    """Show a bar on standard error, in terminals and notebooks.

    Args:
        title: the work.
        total: expected number of steps.
        announced: write one line where no bar can be shown, as in a log file.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    stderr = Console(stderr=True)
    if stderr.is_jupyter:
        with _notebook_bar(total) as steps:
            yield steps
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left,"),
        TextColumn("{task.description}"),
    )
    visible = stderr.is_terminal and not stderr.is_dumb_terminal
    if announced and not visible:
        print(f"Running {title}: {total} steps.", file=sys.stderr)
    with Progress(*columns, console=stderr, transient=True, disable=not visible) as bars:
        bar = bars.add_task(title, total=total)

        def expect(more: int) -> None:
            total = bars.tasks[bar].total
            bars.update(bar, total=None if total is None else total + more)

        yield Steps(lambda step: bars.update(bar, advance=1, description=f"done: {step}"), expect)


@contextmanager
def _notebook_bar(total: int) -> Iterator[Steps]:
    """Show a bar in the output of a notebook's cell, removed at the end.

    Rich would need ipywidgets there, and prints a warning at every step without them.
    """
    display = require("IPython.display", "Showing progress in a notebook")
    count, expected, begun = 0, total, time.monotonic()
    handle = display.display(display.HTML(""), display_id=True)

    def advance(step: str) -> None:
        nonlocal count
        count += 1
        left = (time.monotonic() - begun) / count * max(0, expected - count)
        text = f"{count}/{expected}, {left:.0f} s left, done: {html.escape(step)}"
        bar = f'<progress value="{count}" max="{expected}"></progress> {text}'
        handle.update(display.HTML(bar))

    def expect(more: int) -> None:
        nonlocal expected
        expected += more

    try:
        yield Steps(advance, expect)
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
