"""One call's rows shared out to threads, which come and go with the call.

numba's own parallel loops are no choice: its default threading layer aborts the process when two
Python threads use it at once, and OpenMP's does not survive a fork. The compiled code lets go of
the interpreter's lock, so plain threads do. They take about 0.1 ms to start.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Thread

ENTRIES = 1 << 17
"""Fewer entries (rows times classes) for each thread are not worth one: they take about 1 ms."""


def usable() -> int:
    """Cores this process may use, or fewer by the usual OMP_NUM_THREADS.

    >>> usable() >= 1
    True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores or 1, int(wanted)) if wanted.isdecimal() and int(wanted) else cores or 1


def share(call: Callable[[int, int], bool], rows: int, classes: int, threads: int) -> bool:
    """``call(begin, end)`` on parts of range(rows), side by side; whether all returned true.

    Args:
        call: answers for some rows, without the interpreter's lock.
        rows: how many there are.
        classes: K.
        threads: at most so many, this one among them.

    >>> parts = []
    >>> share(lambda begin, end: parts.append((begin, end)) is None, 5, 10**6, 2), sorted(parts)
    (True, [(0, 3), (3, 5)])
    """
    count = max(1, min(threads, rows, rows * classes // ENTRIES))
    bounds = [-(-rows * i // count) for i in range(count + 1)]
    good = [False] * count

    def work(part: int) -> None:
        good[part] = bool(call(bounds[part], bounds[part + 1]))

    started, left = [], list(range(1, count))
    try:
        for part in range(1, count):
            thread = Thread(target=work, args=(part,), daemon=True)
            thread.start()
            started.append(thread)
            left.remove(part)
    except RuntimeError:
        pass  # no more threads: what is left is done here
    for part in [0, *left]:
        work(part)
    for thread in started:
        thread.join()
    return all(good)
