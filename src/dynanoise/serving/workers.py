"""Several processes of one gateway behind the same ports, each with a model of its own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any

from dynanoise.serving.listeners import Listeners, bind, run
from dynanoise.serving.logs import flush_logs, log, start_logging
from dynanoise.serving.options import Serving

Make = Callable[[Serving], tuple[Any, Any]]

DIFFERS = 78
"""Exit code of a worker whose files are not those of the gateway's start."""

_SOON_SECONDS = 60.0
"""Time from the start of a worker in which its death counts as one of its start."""

_LONGEST_SECONDS = 30.0
"""Longest pause before a worker is replaced."""

_CONTEXT = multiprocessing.get_context("spawn")


class Worker:
    """A process of a gateway.

    Args:
        make: see `run_workers`.
        options: options of `dynanoise serve`.
        listeners: addresses, with the shared socket for HTTP.
        number: its position among the workers, from 0.
    """

    def __init__(self, make: Make, options: Serving, listeners: Listeners, number: int) -> None:
        if listeners.metrics_port:
            listeners = replace(listeners, metrics_port=listeners.metrics_port + number)
        self.started, self.begun = _CONTEXT.Event(), time.monotonic()
        arguments = make, options, listeners, self.started
        self.process = _CONTEXT.Process(target=_work, args=arguments, daemon=True)
        self.process.start()

    def serves(self) -> bool:
        """Whether it listens."""
        return self.started.is_set() and self.process.is_alive()


class Pauses:
    """Pauses before a worker is replaced: doubled while it dies soon after its start.

    >>> pauses = Pauses()
    >>> [pauses.next(lived) for lived in (1e6, 2.0, 2.0, 2.0)]
    [0.0, 1.0, 2.0, 4.0]
    >>> [pauses.next(lived) for lived in (2.0, 2.0, 2.0, 1e6, 2.0)]
    [8.0, 16.0, 30.0, 0.0, 1.0]
    """

    def __init__(self) -> None:
        self._pause = 0.0

    def next(self, lived: float) -> float:
        """Compute the next pause.

        Args:
            lived: seconds for which the worker lived.

        Returns:
            Seconds.
        """
        soon = lived < _SOON_SECONDS
        self._pause = min(_LONGEST_SECONDS, max(1.0, 2 * self._pause)) if soon else 0.0
        return self._pause


def run_workers(make: Make, options: Serving, listeners: Listeners) -> None:
    """Serve with `options.workers` processes until this one gets SIGTERM, SIGINT or SIGHUP.

    A worker that dies is replaced, after a pause if it did not live long; one that ends with
    `DIFFERS` is not. All end, as `run` does, when this process ends, however it does.

    Args:
        make: makes the gateway of a worker, and the clients that may read its metrics; it can be
            pickled.
        options: options of `dynanoise serve`.
        listeners: addresses.

    Raises:
        InputError: if the address cannot be bound.
        SystemExit: with 1, if a worker does not start and no other serves.
    """
    ending, wake = _notice_signals()
    held = [bind(listeners.host, listeners.port)]
    shared = replace(listeners, socket=held[0])
    if listeners.grpc_port is not None:
        # Bound here too, so that a port of 0 is one port for all.
        held.append(bind(listeners.host, listeners.grpc_port, share=True))
        shared = replace(shared, grpc_port=held[1].getsockname()[1], share=True)
    workers = {number: Worker(make, options, shared, number) for number in range(options.workers)}
    pauses = {number: Pauses() for number in workers}
    due: dict[int, float] = {}
    failed = False
    while not ending and not failed:
        left = max(0.0, min(due.values()) - time.monotonic()) if due else None
        wait([wake, *(worker.process.sentinel for worker in workers.values())], left)
        for number, worker in list(workers.items()):
            if worker.process.is_alive() or ending:
                continue
            del workers[number]
            # One that never starts is tried again while others serve.
            alone = not any(map(Worker.serves, workers.values()))
            failed = failed or (alone and not worker.started.is_set())
            exit_code, pause = worker.process.exitcode, None
            if exit_code != DIFFERS:  # its files would have to change back
                pause = pauses[number].next(time.monotonic() - worker.begun)
                due[number] = time.monotonic() + pause
            log("worker_died", logging.ERROR, exit_code=exit_code, replaced_in=pause)
        for number in [number for number, when in due.items() if when <= time.monotonic()]:
            if not ending and not failed:
                del due[number]
                workers[number] = Worker(make, options, shared, number)
    for worker in workers.values():
        worker.process.terminate()
    for worker in workers.values():
        worker.process.join()
    for listener in held:
        listener.close()
    flush_logs()
    if failed:
        raise SystemExit(1)


def _notice_signals() -> tuple[list[int], int]:
    """Signals to end so far, and a file descriptor that can be read when there is one."""
    ending: list[int] = []
    wake = os.pipe()
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        if hasattr(signal, name):

            def end(number: int, frame: Any) -> None:
                ending.append(number)
                os.write(wake[1], b"\0")

            signal.signal(getattr(signal, name), end)
    return ending, wake[0]


def _work(make: Make, options: Serving, listeners: Listeners, started: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    start_logging()
    try:
        gateway, scrapers = make(options)
    except SystemExit:
        flush_logs()
        raise
    run(gateway, replace(listeners, scrapers=scrapers), started.set)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
