"""Cost of the defense in the gateway: requests a second and latencies under load.

    apt-get install wrk
    python benchmarks/gateway.py

Two gateways in front of the same ONNX model, with the defense and without (defense none), each in a
process of its own. The load comes from a further process, wrk, which keeps connections open and
sends one record at a time, to the two gateways in turns, so that both see the same machine. Then
both are proxies in front of a third gateway that serves the model and also gets queries directly.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from dynanoise.core.extras import require
from dynanoise.core.files import write_json
from dynanoise.evaluation.provenance import hardware, versions

SECRET = "5f" * 32  # of a benchmark
FEATURES, CLASSES = 32, 10
MODES = ("onnx", "upstream")


def model_file(path: Path, width: int) -> Path:
    """Write a network with two hidden layers of ``width`` units: the wider, the slower."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    sizes = (FEATURES, width, width, CLASSES)
    weights = [
        generator.normal(0, 1 / np.sqrt(before), (before, after)).astype(np.float32)
        for before, after in itertools.pairwise(sizes)
    ]
    nodes, last = [], "x"
    for number in range(3):
        out = "logits" if number == 2 else f"a{number}"
        nodes.append(helper.make_node("MatMul", [last, f"w{number}"], [out]))
        if number < 2:
            nodes.append(helper.make_node("Relu", [out], [f"r{number}"]))
        last = f"r{number}"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(array, f"w{number}") for number, array in enumerate(weights)],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path
    )
    return path


def defense_file(path: Path, model: Path, defended: bool, kind: str = "logits") -> Path:
    """Write a defense.yaml: DynaNoise with keyed noise, or no defense.

    Args:
        path: file to write.
        model: file whose digest the noise depends on.
        defended: whether there is a defense.
        kind: outputs of the model, or of the upstream: "logits" or "probabilities".

    Returns:
        The file's path.
    """
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    keyed = {"name": "keyed", "cell_width": 4.0, "model": "benchmark", "weights": digest}
    settings = {
        "version": 1,
        "defense": {"name": "dynanoise" if defended else "none"},
        "noise": keyed if defended else {"name": "fresh"},
        "input": kind,
    }
    path.write_text(yaml.safe_dump(settings))
    return path


class Running(NamedTuple):
    """Ports of a gateway, and its process."""

    port: int
    grpc_port: int
    pid: int


@contextlib.contextmanager
def gateway(
    folder: Path,
    *arguments: object,
    source: Path | None = None,
    concurrency: int | None = 256,
) -> Iterator[Running]:
    """Run a gateway in a process of its own, which logs into a file.

    Args:
        folder: where the log goes.
        arguments: further arguments of `dynanoise serve`.
        source: checkout whose package is run; None for the installed one.
        concurrency: value of that option; None for its default.
    """
    command = [sys.executable, "-m", "dynanoise", "serve", "--port", "0"]
    command += [] if "--clients" in arguments else ["--no-auth"]
    command += [] if concurrency is None else ["--concurrency", str(concurrency)]
    command += ["--rate", "0", "--budget", "0", *map(str, arguments)]
    environment = {**os.environ, "DYNANOISE_KEY": SECRET}
    if source is not None:
        environment["PYTHONPATH"] = str((source / "src").resolve())
    with tempfile.NamedTemporaryFile("w+", dir=folder, suffix=".log") as log:
        process = subprocess.Popen(command, stderr=log, env=environment)  # noqa: S603
        try:
            while True:
                lines = Path(log.name).read_text().splitlines()
                events = [json.loads(line) for line in lines if '"listening"' in line]
                if events:
                    break
                if process.poll() is not None:
                    raise RuntimeError(f"The gateway did not start: {lines}")
                time.sleep(0.05)
            yield Running(events[0]["port"], events[0].get("grpc_port", 0), process.pid)
        finally:
            process.terminate()
            process.wait(30)


@dataclass
class Load:
    """Measurements of wrk for one gateway, over all turns.

    Attributes:
        seconds: duration of the load.
        errors: number of requests without a response, or with another status than 200.
        requests: number of requests with a response.
        counts: number of responses by latency in microseconds; wrk adds those that would have been
            sent while one was late.
        statuses: whether responses are counted by their status.
        by_status: number of responses by status.
    """

    seconds: float = 0.0
    errors: int = 0
    requests: int = 0
    counts: Counter[int] = field(default_factory=Counter)
    statuses: bool = False
    by_status: Counter[str] = field(default_factory=Counter)

    def add(self, port: int, model: str, seconds: int, clients: int) -> float:
        """Send queries for some seconds.

        Args:
            port: port of the gateway.
            model: name of the model.
            seconds: duration.
            clients: number of clients at the same time.

        Returns:
            Milliseconds at the median of this turn.
        """
        script = Path(__file__).with_name("_gateway_load.lua")
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s"]
        command += ["-s", str(script), f"http://127.0.0.1:{port}", "--", model, str(FEATURES)]
        command += ["statuses"] if self.statuses else []
        wrk = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603
        turn = json.loads(wrk.stdout.splitlines()[-1])
        self.seconds += turn["microseconds"] / 1e6
        self.errors += sum(turn["errors"].values())
        self.requests += turn["requests"]
        self.by_status += Counter(turn["statuses"])
        latencies = Counter(dict(turn["latencies"]))
        self.counts += latencies
        return percentile(latencies, 50)

    def summary(self) -> dict[str, Any]:
        """Requests a second, milliseconds at the median and the 99th percentile, failures."""
        summary = {
            "requests_per_second": round(self.requests / self.seconds, 1),
            "p50_ms": round(percentile(self.counts, 50), 3),
            "p99_ms": round(percentile(self.counts, 99), 3),
            "requests": self.requests,
            "errors": self.errors,
        }
        return summary | ({"statuses": dict(self.by_status)} if self.statuses else {})


def percentile(counts: Mapping[int, int], percent: float) -> float:
    """Compute a percentile of latencies, in milliseconds.

    >>> percentile({1000: 98, 5000: 2}, 50), percentile({1000: 98, 5000: 2}, 99)
    (1.0, 5.0)
    """
    total, below = sum(counts.values()), 0
    for value in sorted(counts):
        below += counts[value]
        if 100 * below >= percent * total:
            return value / 1000
    raise RuntimeError("A turn had no response; make turns longer.")


def model_ms(path: Path) -> float:
    """Measure one query of the model alone, in milliseconds: median of 50 on one thread."""
    runtime = require("onnxruntime", "Measuring a model")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    row = {"x": np.zeros((1, FEATURES), np.float32)}
    times = []
    for _ in range(50):
        started = time.perf_counter()
        session.run(None, row)
        times.append(time.perf_counter() - started)
    return round(1000 * float(np.median(times)), 3)


def measure(
    width: int, upstream: bool, options: argparse.Namespace, folder: Path
) -> list[dict[str, Any]]:
    """Measure one model; a row for each number of clients, with the ratio of the medians."""
    model = model_file(folder / f"m{width}.onnx", width)
    alone, rows = model_ms(model), []
    with contextlib.ExitStack() as stack:
        ports = {}

        def start(way: str, kind: str, *source: object) -> None:
            defended = way == "defended"
            defense = defense_file(folder / f"{way}{width}.yaml", model, defended, kind)
            options = (*source, "--defense", defense, *(() if defended else ("--noise", "fresh")))
            ports[way] = stack.enter_context(gateway(folder, *options)).port

        kind = "logits"
        source: tuple[object, ...] = ("--model", model)
        if upstream:
            start("direct", kind, *source)
            # Every gateway returns probabilities.
            kind = "probabilities"
            url = f"http://127.0.0.1:{ports['direct']}"
            source = ("--upstream", url, "--model-name", model.stem)
        start("undefended", kind, *source)
        start("defended", kind, *source)
        for clients in options.clients:
            loads = {way: Load() for way in ports}
            ratios = []
            for port in ports.values() if options.seconds >= 30 else ():
                Load().add(port, model.stem, 1, clients)  # to warm up
            for turn in range(options.turns):
                order = list(ports)[:: 1 if turn % 2 else -1]
                each = max(1, options.seconds // options.turns)
                medians = {
                    way: loads[way].add(ports[way], model.stem, each, clients) for way in order
                }
                ratios.append(round(medians["defended"] / medians["undefended"], 4))
            failed = {way: load.errors for way, load in loads.items() if load.errors}
            if failed:
                raise RuntimeError(
                    f"Requests failed, so their latencies measure nothing: {failed}."
                )
            row: dict[str, Any] = {"mode": "upstream" if upstream else "onnx", "width": width}
            row |= {"model_ms": alone, "clients": clients}
            row |= {way: load.summary() for way, load in loads.items()}
            row["p50_ratio"] = round(row["defended"]["p50_ms"] / row["undefended"]["p50_ms"], 4)
            row["p50_ratio_of_each_turn"] = ratios
            rows.append(row)
            sys.stderr.write(f"{row}\n")
    return rows


def require_wrk(parser: argparse.ArgumentParser) -> None:
    """End the program with a remedy where wrk is missing."""
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed: apt-get install wrk")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/gateway.json"))
    parser.add_argument("--widths", type=int, default=[16, 5120], nargs="+", help="hidden units")
    parser.add_argument("--clients", type=int, default=[1, 32], nargs="+", help="at once")
    parser.add_argument("--seconds", type=int, default=60, help="of load on each gateway")
    parser.add_argument("--turns", type=int, default=6, help="parts that the load comes in")
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    options = parser.parse_args(arguments)
    require_wrk(parser)
    before = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for mode in options.modes
            for width in options.widths
            for row in measure(width, mode == "upstream", options, Path(folder))
        ]
    version = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)  # noqa: S607
    words = [f"--widths {' '.join(map(str, options.widths))}"]
    words += [f"--clients {' '.join(map(str, options.clients))}"]
    words += [f"--seconds {options.seconds}", f"--turns {options.turns}"]
    words += [f"--modes {' '.join(options.modes)}"]
    result = {
        "command": " ".join(["python benchmarks/gateway.py", *words]),
        "versions": {**versions(), "wrk": version.stdout.split("[")[0].strip()},
        "hardware": {**hardware(), "load_before": before},
        "rows": rows,
    }
    sys.stdout.write(write_json(options.out, result))


if __name__ == "__main__":
    main()
