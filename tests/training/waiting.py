"""Waiting for an event in another process, however slow the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]

LONG = 600.0
"""Seconds after which a test gives up, on a machine that does other work."""


def until(condition: Callable[[], object], seconds: float = LONG) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"nothing happened in {seconds:g} seconds"
        time.sleep(0.05)
