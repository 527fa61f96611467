"""Waiting for another process, however slow the machine is, and not for ever."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

LONG = 600.0
"""Seconds after which a test gives up, on a machine that does other work."""


def until(condition: Callable[[], object], seconds: float = LONG) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"nothing happened in {seconds:g} seconds"
        time.sleep(0.05)


@contextmanager
def limited(process: subprocess.Popen[Any], seconds: float = LONG) -> Iterator[None]:
    """Kill a process that is waited for too long, so that its pipes end and the test fails."""
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
