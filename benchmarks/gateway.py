"""What the defense costs behind the gateway: requests a second and latencies under load.

    apt-get install wrk
    python benchmarks/gateway.py

Two gateways before the same ONNX model, one with the defense and one whose answers are undefended
(defense none), each in a process of its own; load from a further process, wrk, which keeps
connections open and asks about one record at a time, first one gateway and then the other, in
turns, so that both see the same machine. Then both stand as proxies before a third gateway that
serves the model, and that one is also asked directly.
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
from typing import Any

import numpy as np
import yaml

from dynanoise.core.extras import require
from dynanoise.core.files import write_json
from dynanoise.evaluation.provenance import hardware, versions

SECRET = "5f" * 32  # of a benchmark
FEATURES, CLASSES = 32, 10
MODES = ("onnx", "upstream")


def model_file(path: Path, width: int) -> Path:
    """A network with two hidden layers of so many units: the wider, the slower."""
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
        [numpy_helper.from_array(one, f"w{number}") for number, one in enumerate(weights)],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path
    )
    return path


def defense_file(path: Path, model: Path, defended: bool) -> Path:
    """DynaNoise with keyed noise, or no defense."""
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    keyed = {"name": "keyed", "cell_width": 4.0, "model": "benchmark", "weights": digest}
    said = {
        "version": 1,
        "defense": {"name": "dynanoise" if defended else "none"},
        "noise": keyed if defended else {"name": "fresh"},
    }
    path.write_text(yaml.safe_dump(said))
    return path


@contextlib.contextmanager
def gateway(folder: Path, *arguments: object) -> Iterator[int]:
    """A gateway in a process of its own, which logs into a file; gives its port."""
    command = [sys.executable, "-m", "dynanoise", "serve", "--port", "0", "--no-auth"]
    command += ["--rate", "0", "--budget", "0", "--concurrency", "256", *map(str, arguments)]
    with tempfile.NamedTemporaryFile("w+", dir=folder, suffix=".log") as log:
        process = subprocess.Popen(  # noqa: S603
            command, stderr=log, env={**os.environ, "DYNANOISE_KEY": SECRET}
        )
        try:
            while True:
                lines = Path(log.name).read_text().splitlines()
                said = [json.loads(line) for line in lines if '"listening"' in line]
                if said:
                    break
                if process.poll() is not None:
                    raise RuntimeError(f"The gateway did not start: {lines}")
                time.sleep(0.05)
            yield said[0]["port"]
        finally:
            process.terminate()
            process.wait(30)


@dataclass
class Load:
    """What wrk saw of one gateway, over all turns.

    Attributes:
        seconds: of load.
        errors: requests that got no answer, or another status than 200.
        counts: how often each latency occurred, in microseconds.
    """

    seconds: float = 0.0
    errors: int = 0
    counts: Counter[int] = field(default_factory=Counter)

    def add(self, port: int, model: str, seconds: int, clients: int) -> float:
        """Asks for some seconds, with so many clients at once.

        Returns:
            Milliseconds at the median of this turn.
        """
        script = Path(__file__).with_name("_gateway_load.lua")
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s"]
        command += ["-s", str(script), f"http://127.0.0.1:{port}", "--", model, str(FEATURES)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603
        found = json.loads(done.stdout.splitlines()[-1])
        self.seconds += found["microseconds"] / 1e6
        self.errors += sum(found["errors"].values())
        one = Counter(dict(found["latencies"]))
        self.counts += one
        return percentile(one, 50)

    def summary(self) -> dict[str, Any]:
        """Requests a second, milliseconds at the median and the 99th percentile, failures."""
        total = self.counts.total()
        return {
            "requests_per_second": round(total / self.seconds, 1),
            "p50_ms": round(percentile(self.counts, 50), 3),
            "p99_ms": round(percentile(self.counts, 99), 3),
            "requests": total,
            "errors": self.errors,
        }


def percentile(counts: Mapping[int, int], percent: float) -> float:
    """Milliseconds below which a share of the latencies lies.

    >>> percentile({1000: 98, 5000: 2}, 50), percentile({1000: 98, 5000: 2}, 99)
    (1.0, 5.0)
    """
    total, seen = sum(counts.values()), 0
    for value in sorted(counts):
        seen += counts[value]
        if 100 * seen >= percent * total:
            return value / 1000
    raise RuntimeError("Nothing was answered in a turn; make turns longer.")


def model_ms(path: Path) -> float:
    """Milliseconds of one answer of the model alone, the median of 50 on one thread."""
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


def measured(
    width: int, upstream: bool, chosen: argparse.Namespace, folder: Path
) -> list[dict[str, Any]]:
    """Rows for one model, with the ratio of the medians."""
    model = model_file(folder / f"m{width}.onnx", width)
    alone, rows = model_ms(model), []
    with contextlib.ExitStack() as stack:
        source: tuple[object, ...] = ("--model", model)
        plain = defense_file(folder / f"plain{width}.yaml", model, False)
        keyed = defense_file(folder / f"keyed{width}.yaml", model, True)
        undefended = ("--defense", plain, "--noise", "fresh")
        ports = {}
        if upstream:
            ports["direct"] = stack.enter_context(gateway(folder, *source, *undefended))
            url = f"http://127.0.0.1:{ports['direct']}"
            source = ("--upstream", url, "--model-name", model.stem)
        ports["undefended"] = stack.enter_context(gateway(folder, *source, *undefended))
        ports["defended"] = stack.enter_context(gateway(folder, *source, "--defense", keyed))
        for clients in chosen.clients:
            found = {way: Load() for way in ports}
            ratios = []
            for port in ports.values() if chosen.seconds >= 30 else ():
                Load().add(port, model.stem, 1, clients)  # to warm up
            for turn in range(chosen.turns):
                order = list(ports)[:: 1 if turn % 2 else -1]
                each = max(1, chosen.seconds // chosen.turns)
                took = {way: found[way].add(ports[way], model.stem, each, clients) for way in order}
                ratios.append(round(took["defended"] / took["undefended"], 4))
            row: dict[str, Any] = {"mode": "upstream" if upstream else "onnx", "width": width}
            row |= {"model_ms": alone, "clients": clients}
            row |= {way: got.summary() for way, got in found.items()}
            row["p50_ratio"] = round(row["defended"]["p50_ms"] / row["undefended"]["p50_ms"], 4)
            row["p50_ratio_of_each_turn"] = ratios
            rows.append(row)
            sys.stderr.write(f"{row}\n")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/gateway.json"))
    parser.add_argument("--widths", type=int, default=[16, 5120], nargs="+", help="hidden units")
    parser.add_argument("--clients", type=int, default=[1, 32], nargs="+", help="at once")
    parser.add_argument("--seconds", type=int, default=60, help="of load on each gateway")
    parser.add_argument("--turns", type=int, default=6, help="parts that the load comes in")
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    chosen = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        parser.error("wrk is not there: apt-get install wrk")
    before = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for mode in chosen.modes
            for width in chosen.widths
            for row in measured(width, mode == "upstream", chosen, Path(folder))
        ]
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)  # noqa: S607
    given = [f"--widths {' '.join(map(str, chosen.widths))}"]
    given += [f"--clients {' '.join(map(str, chosen.clients))}"]
    given += [f"--seconds {chosen.seconds}", f"--turns {chosen.turns}"]
    given += [f"--modes {' '.join(chosen.modes)}"]
    found = {
        "command": " ".join(["python benchmarks/gateway.py", *given]),
        "versions": {**versions(), "wrk": said.stdout.split("[")[0].strip()},
        "hardware": {**hardware(), "load_before": before},
        "rows": rows,
    }
    sys.stdout.write(write_json(chosen.out, found))


if __name__ == "__main__":
    main()
