"""Runs whose workers fail, or are interrupted; `test_workers` runs this as a program."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from dynanoise.cli.exit_codes import exit_codes
from dynanoise.core.workers import begin, worker_processes


def interrupt(parent: int) -> None:
    """Send the whole terminal's Ctrl-C before the worker leaves it to the driver."""
    os.killpg(0, signal.SIGINT)
    time.sleep(0.2)  # Python handles a signal between two instructions
    begin(parent)


class Unreadable(Exception):
    """An error that cannot be read by another process."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def send_half(connection: Any, content: bytes) -> NoReturn:
    """Send the beginning of a result, and interrupt the driver, which then waits for the rest."""
    os.write(connection.fileno(), content[: len(content) // 2])
    os.kill(os.getppid(), signal.SIGINT)
    while True:
        time.sleep(1)


def fail(kind: str) -> None:
    """Fail in a worker."""
    if kind == "half":
        Connection._send = send_half  # type: ignore[attr-defined]
        return
    if kind == "memory":
        raise MemoryError("Unable to allocate 9 TiB")
    if kind == "disk":
        raise OSError(28, "No space left on device", "models/x")
    if kind == "unreadable":
        raise Unreadable("two", "words")
    if kind == "death":
        os._exit(9)
    raise KeyError(kind)


def answer(connection: Any) -> None:
    """Send back what is received, in a process of the caller's that is not a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection.send("ready")
    connection.send(connection.recv())


def main(kind: str) -> None:
    """Run one task in a worker, as a command does, beside another process."""
    here, there = multiprocessing.Pipe()
    other = multiprocessing.Process(target=answer, args=(there,))
    other.start()
    there.close()
    here.recv()
    try:
        with exit_codes(), worker_processes(1, interrupt if kind == "interrupt" else begin) as pool:
            pool.submit(fail, kind).result()
    finally:
        here.send("still there")
        sys.stdout.write(f"{here.recv()}\n")
        other.join()


if __name__ == "__main__":
    import typer

    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    try:
        main(sys.argv[1])
    except typer.Exit as end:
        sys.exit(end.exit_code)
