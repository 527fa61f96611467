"""Waiting time of a client of the gateway while others send large bodies and silent connections.

    python benchmarks/overload.py

One process opens silent connections to the gRPC port, one sends JSON bodies of 15 MB, eight at a
time and again and again, each with as many records as fit. Meanwhile a client sends one record
after the other: its latencies, beside those before the load, and the greatest memory of the
gateway.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gateway import FEATURES, defense_file, gateway, model_file
from dynanoise.core.files import write_json
from dynanoise.evaluation.provenance import hardware, versions

PATH = "/v2/models/benchmark/infer"


def body(records: int) -> bytes:
    """A JSON request of so many records, each number with eight digits."""
    values = np.random.default_rng(0).uniform(0.1, 1, (1, FEATURES)).round(8).tolist()[0]
    entry = {"name": "x", "datatype": "FP32", "shape": [records, FEATURES], "data": "DATA"}
    row = json.dumps(values)[1:-1]
    text = json.dumps({"inputs": [entry]}).replace('"DATA"', f"[{', '.join([row] * records)}]")
    return text.encode()


def silent(port: int, count: int, ready: Event, end: Event) -> None:
    """Open connections that never send a byte, until the end; those that are closed anew."""
    connections: list[socket.socket] = []
    while not end.is_set():
        open_ones = []
        for connection in connections:
            connection.setblocking(False)
            try:
                closed = not connection.recv(4096)
            except BlockingIOError:
                closed = False
            except OSError:
                closed = True
            connection.close() if closed else open_ones.append(connection)
        connections = open_ones
        while len(connections) < count:
            connections.append(socket.create_connection(("127.0.0.1", port), 60))
        ready.set()
        end.wait(0.2)


def large(port: int, content: bytes, at_once: int, end: Event, statuses: Any) -> None:
    """Send a large body from so many threads until the end, and count the statuses."""
    counts: Counter[str] = Counter()

    def send() -> None:
        while not end.is_set():
            try:
                status, _ = request(port, content)
            except OSError as error:
                status = type(error).__name__
            counts[str(status)] += 1

    threads = [threading.Thread(target=send) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses.put(dict(counts))


def request(port: int, content: bytes) -> tuple[Any, float]:
    """The status of a response to a request on a connection of its own, and its seconds."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
            connection.request("POST", PATH, content)
        response = connection.getresponse()
        response.read()
        return response.status, time.perf_counter() - started
    except http.client.HTTPException as error:
        raise ConnectionError(type(error).__name__) from None
    finally:
        connection.close()


def latencies(port: int, seconds: float) -> dict[str, Any]:
    """Milliseconds of a client that sends one record after the other, ten a second."""
    content = body(1)
    statuses: Counter[str] = Counter()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        status, took = request(port, content)
        statuses[str(status)] += 1
        times.append(1000 * took)
        time.sleep(0.1)
    p50, p99 = np.percentile(times, [50, 99])
    return {"p50_ms": p50, "p99_ms": p99, "max_ms": max(times), "statuses": dict(statuses)}


def memory_mib(pid: int, field: str) -> float:
    """A field of the process's memory, such as VmHWM, its greatest."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--silent", type=int, default=1100, help="silent gRPC connections")
    parser.add_argument("--large", type=int, default=8, help="large bodies at a time")
    parser.add_argument("--megabytes", type=float, default=15.0, help="size of a large body")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/overload.json"))
    chosen = parser.parse_args(arguments)
    row = len(body(2)) - len(body(1))
    content = body(int(chosen.megabytes * 1e6 / row))
    context = multiprocessing.get_context("spawn")
    ready, end, statuses = context.Event(), context.Event(), context.Queue()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = model_file(folder / "model.onnx", 64)
        defense = defense_file(folder / "defense.yaml", model, defended=True)
        options = ("--model", model, "--model-name", "benchmark", "--defense", defense)
        with gateway(folder, *options, "--grpc-port", 0) as running:
            before = latencies(running.port, chosen.seconds / 4)
            memory = memory_mib(running.pid, "VmRSS")
            processes = [
                context.Process(
                    target=silent, args=(running.grpc_port, chosen.silent, ready, end), daemon=True
                ),
                context.Process(
                    target=large,
                    args=(running.port, content, chosen.large, end, statuses),
                    daemon=True,
                ),
            ]
            for process in processes:
                process.start()
            ready.wait()
            time.sleep(2)
            during = latencies(running.port, chosen.seconds)
            end.set()
            result = {
                "command": f"python benchmarks/overload.py {' '.join(sys.argv[1:])}".strip(),
                "silent_connections": chosen.silent,
                "large_bodies_at_once": chosen.large,
                "megabytes": len(content) / 1e6,
                "before": before,
                "during": during,
                "large_statuses": statuses.get(timeout=120),
                "memory_before_mib": memory,
                "greatest_memory_mib": memory_mib(running.pid, "VmHWM"),
                "hardware": hardware(),
                "versions": versions(),
            }
    write_json(chosen.out, result)
    print(json.dumps({key: result[key] for key in list(result)[:9]}, indent=1))


if __name__ == "__main__":
    main()
