"""Worker processes, which end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.resource_tracker import ensure_running
from typing import Any

from dynanoise.core.errors import WorkerError


@contextmanager
def worker_processes(
    count: int, initializer: Callable[..., None], *initial: Any
) -> Iterator[ProcessPoolExecutor]:
    """Start worker processes and end them on leaving, at once after an error.

    Args:
        count: number of processes, >= 1.
        initializer: called in each with ``initial`` and this process's id; it calls `begin`.
        initial: values that are sent to each once.

    Yields:
        The pool.

    Raises:
        WorkerError: if one of them died.
    """
    context = _Context()
    pool = ProcessPoolExecutor(
        count, context, initializer=initializer, initargs=(*initial, os.getpid())
    )
    try:
        yield pool
    except BaseException as error:
        for child in multiprocessing.active_children():
            if child in context.processes:  # the caller may have others
                child.terminate()
        _end_results(pool)
        # With a cause it did not die: its result could not be read.
        if isinstance(error, BrokenProcessPool) and error.__cause__ is None:
            raise WorkerError(
                "A worker process died, as the system ends processes where memory is short.",
                "Use fewer workers; finished models are in the store, if any.",
            ) from error
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_results(pool: ProcessPoolExecutor) -> None:
    """Let the pool see the end of results of which a terminated worker sent a part.

    This process holds an end of the pipe for writing, too, so that the pool would wait for the rest
    for ever.
    """
    results: Any = getattr(pool, "_result_queue", None)
    if results is not None:
        results._writer.close()


class _Process(SpawnProcess):
    """A spawned process that never gets the Ctrl-C of its terminal, not even while it starts."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        if not hasattr(signal, "pthread_sigmask"):
            return SpawnProcess._Popen(process_obj)
        ensure_running()  # the first call unblocks signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited
        try:
            return SpawnProcess._Popen(process_obj)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Context(SpawnContext):
    """Spawns, because a forked child of a process with torch's threads can deadlock.

    Attributes:
        processes: the processes that it has made.
    """

    def __init__(self) -> None:
        self.processes: list[_Process] = []

    def Process(self, *arguments: Any, **options: Any) -> _Process:  # type: ignore[override]
        """Make a process, which is not started yet."""
        self.processes.append(_Process(*arguments, **options))
        return self.processes[-1]


def begin(parent: int) -> None:
    """Leave Ctrl-C to the driver, and end this worker when the driver is gone.

    Args:
        parent: the driver's process id.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """End this worker when its driver is gone, by whatever cause."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
