"""Plain threads that share out the rows of one call and end with it.

numba's own parallel loops cannot be used: its default threading layer aborts the process when two
Python threads use it at once, and OpenMP's does not survive a fork. The compiled code releases the
interpreter's lock, so plain threads run side by side. They take about 0.1 ms to start.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Thread

ENTRIES = 1 << 17
"""Smallest number of entries (rows times classes) for a thread; they take about 1 ms."""


def usable() -> int:
    """Count the cores this process may use, limited by OMP_NUM_THREADS.

    >>> usable() >= 1
    True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores or 1, int(limit)) if limit.isdecimal() and int(limit) else cores or 1


def share(call: Callable[[int, int], bool], rows: int, classes: int, threads: int) -> bool:
    """Run ``call(begin, end)`` on parts of range(rows), side by side.

    Args:
        call: computes the outputs of some rows without the interpreter's lock; returns success.
        rows: number of rows.
        classes: K.
        threads: largest number of threads, the calling one included.

    Returns:
        True if every part returned true.

    >>> parts = []
    >>> share(lambda begin, end: parts.append((begin, end)) is None, 5, 10**6, 2), sorted(parts)
    (True, [(0, 3), (3, 5)])
    """
    count = max(1, min(threads, rows, rows * classes // ENTRIES))
    bounds = [-(-rows * i // count) for i in range(count + 1)]
    success = [False] * count

    def work(part: int) -> None:
        success[part] = bool(call(bounds[part], bounds[part + 1]))

    started, left = [], list(range(1, count))
    try:
        for part in range(1, count):
            thread = Thread(target=work, args=(part,), daemon=True)
            thread.start()
            started.append(thread)
            left.remove(part)
    except RuntimeError:
        pass  # no more threads: this one computes the remaining parts
    for part in [0, *left]:
        work(part)
    for thread in started:
        thread.join()
    return all(success)
