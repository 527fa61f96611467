"""Progress of audits from Python: a line with the time that remains, in notebooks and terminals."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_WIDTH = 79
"""Columns of the line, which is written over itself."""


class Steps:
    """A count of steps, passed on to a callback or shown on standard error.

    Args:
        callback: called with a few words after each step; None to show a line.
        title: beginning of the line.
        total: expected number of steps.
    """

    def __init__(self, callback: Callable[[str], None] | None, title: str, total: int) -> None:
        self._callback, self._title, self._total = callback, title, total
        self._done, self._start = 0, time.monotonic()
        self._shown = callback is None and _is_interactive()

    def expect(self, more: int) -> None:
        """Add to the expected number of steps."""
        self._total += more

    def __call__(self, step: str) -> None:
        """Count a step.

        Args:
            step: a few words on it.
        """
        self._done += 1
        if self._callback is not None:
            self._callback(step)
        elif self._shown:
            elapsed = time.monotonic() - self._start
            rest = elapsed / self._done * max(0, self._total - self._done)
            count = f"{self._done}/{max(self._total, self._done)}"
            self._write(f"{self._title}: {count}, {rest:.0f} s left, done: {step}")

    def close(self) -> None:
        """End the line."""
        if self._shown:
            seconds = time.monotonic() - self._start
            self._write(f"{self._title}: {self._done} steps in {seconds:.0f} s")
            sys.stderr.write("\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text[:_WIDTH]:<{_WIDTH}}")
        sys.stderr.flush()


@contextmanager
def steps_of(callback: Callable[[str], None] | None, title: str, total: int) -> Iterator[Steps]:
    """Make a count of steps for a block.

    Args:
        callback: called with a few words after each step; None to show a line on standard error in
            notebooks and terminals, and nothing elsewhere.
        title: beginning of the line.
        total: expected number of steps.
    """
    steps = Steps(callback, title, total)
    try:
        yield steps
    finally:
        steps.close()


def _is_interactive() -> bool:
    """Tell whether a person watches: a notebook's standard error is not a terminal."""
    return "ipykernel" in sys.modules or sys.stderr.isatty()
