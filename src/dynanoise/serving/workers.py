"""Several processes of one gateway behind the same ports, each with a model of its own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any

from dynanoise.serving.listeners import Listeners, bind, run
from dynanoise.serving.logs import flush_logs, log
from dynanoise.serving.options import Serving

Make = Callable[..., tuple[Any, Any]]

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
        self.started, self.number = _CONTEXT.Event(), number
        arguments = make, options, listeners, self.started
        self.process = _CONTEXT.Process(target=_work, args=arguments, daemon=True)
        self.process.start()


def run_workers(make: Make, options: Serving, listeners: Listeners) -> None:
    """Serve with `options.workers` processes until this one gets SIGTERM, SIGINT or SIGHUP.

    A worker that dies is replaced. All end, as `run` does, when this process ends, however it does.

    Args:
        make: makes the gateway of a worker, and the clients that may read its metrics; a function
            of a module.
        options: options of `dynanoise serve`.
        listeners: addresses.

    Raises:
        InputError: if the address cannot be bound.
        SystemExit: with 1, if a worker does not start.
    """
    ending, wake = [], os.pipe()
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        if hasattr(signal, name):

            def end(number: int, frame: Any) -> None:
                ending.append(number)
                os.write(wake[1], b"\0")

            signal.signal(getattr(signal, name), end)
    held = [bind(listeners.host, listeners.port)]
    shared = replace(listeners, socket=held[0])
    if listeners.grpc_port is not None:
        # Bound here too, so that a port of 0 is one port for all.
        held.append(bind(listeners.host, listeners.grpc_port, share=True))
        shared = replace(shared, grpc_port=held[1].getsockname()[1], share=True)
    workers = [Worker(make, options, shared, number) for number in range(options.workers)]
    failed = False
    while not ending and not failed:
        wait([wake[0], *(worker.process.sentinel for worker in workers)])
        for worker in list(workers):
            if worker.process.is_alive() or ending:
                continue
            failed = failed or not worker.started.is_set()
            log("worker_died", logging.ERROR, exit_code=worker.process.exitcode)
            if not failed:
                workers[workers.index(worker)] = Worker(make, options, shared, worker.number)
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join()
    for listener in held:
        listener.close()
    flush_logs()
    if failed:
        raise SystemExit(1)


def _work(make: Make, options: Serving, listeners: Listeners, started: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gateway, scrapers = make(options, logs=True, announce=False)
    run(gateway, replace(listeners, scrapers=scrapers), started.set)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
