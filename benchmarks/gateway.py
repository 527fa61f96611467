"""What the defense costs behind the gateway: requests a second and latencies under load.

    python benchmarks/gateway.py

Two gateways before the same ONNX model, one with the defense and one whose answers are undefended
(defense none), each in a process of its own; load from a further process, which keeps connections
open and ask one record at a time, first one gateway and then the other, in turns, so that both see
the same machine. With --upstream-mode both stand before a third gateway that serves the model, and
that one is also asked directly.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dynanoise.audit.circumstances import hardware, versions
from dynanoise.files import write_json

SECRET = "5f" * 32  # of a benchmark
FEATURES, CLASSES = 32, 10


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


def load(port: int, name: str, seconds: float, clients: int) -> tuple[list[float], int]:
    """Milliseconds of each answer to several clients at once, and how many requests failed."""
    script = Path(__file__).with_name("_gateway_load.py")
    command = [sys.executable, str(script), str(port), name, str(seconds), str(clients)]
    command.append(str(FEATURES))
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603
    found = json.loads(done.stdout)
    return found["milliseconds"], found["failed"]


def summary(times: Sequence[float], failed: int, seconds: float) -> dict[str, Any]:
    """Requests a second, milliseconds at the median and the 99th percentile, failures."""
    p50, p99 = np.percentile(times, (50, 99)).round(3).tolist()
    return {
        "requests_per_second": round(len(times) / seconds, 1),
        "p50_ms": p50,
        "p99_ms": p99,
        "requests": len(times),
        "errors": failed,
    }


def measured(width: int, chosen: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Rows for one model, with the ratio of the medians."""
    model = model_file(folder / f"m{width}.onnx", width)
    rows = []
    with contextlib.ExitStack() as stack:
        source: tuple[object, ...] = ("--model", model)
        plain = defense_file(folder / f"plain{width}.yaml", model, False)
        keyed = defense_file(folder / f"keyed{width}.yaml", model, True)
        ports = {}
        if chosen.upstream_mode:
            direct = stack.enter_context(
                gateway(folder, *source, "--defense", plain, "--noise", "fresh")
            )
            ports["direct"] = direct
            source = ("--upstream", f"http://127.0.0.1:{direct}", "--model-name", model.stem)
        ports["undefended"] = stack.enter_context(
            gateway(folder, *source, "--defense", plain, "--noise", "fresh")
        )
        ports["defended"] = stack.enter_context(gateway(folder, *source, "--defense", keyed))
        for clients in chosen.clients:
            found: dict[str, tuple[list[float], int]] = {way: ([], 0) for way in ports}
            for turn in range(chosen.turns):
                for way, port in ports.items() if turn % 2 else reversed(ports.items()):
                    times, failed = load(port, model.stem, chosen.seconds / chosen.turns, clients)
                    found[way] = (found[way][0] + times, found[way][1] + failed)
            row: dict[str, Any] = {"width": width, "clients": clients}
            row |= {way: summary(*got, chosen.seconds) for way, got in found.items()}
            row["p50_ratio"] = round(row["defended"]["p50_ms"] / row["undefended"]["p50_ms"], 4)
            rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/gateway.json"))
    parser.add_argument("--widths", type=int, default=[16, 4096], nargs="+", help="hidden units")
    parser.add_argument("--clients", type=int, default=[1, 32], nargs="+", help="at once")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load on each gateway")
    parser.add_argument("--turns", type=int, default=6, help="parts that the load comes in")
    parser.add_argument("--upstream-mode", action="store_true")
    chosen = parser.parse_args(arguments)
    before = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for width in chosen.widths for row in measured(width, chosen, Path(folder))]
    given = [f"--widths {' '.join(map(str, chosen.widths))}"]
    given += [f"--clients {' '.join(map(str, chosen.clients))}"]
    given += [f"--seconds {chosen.seconds:g}", f"--turns {chosen.turns}"]
    given += ["--upstream-mode"] * chosen.upstream_mode
    found = {
        "command": " ".join(["python benchmarks/gateway.py", *given]),
        "versions": versions(),
        "hardware": {**hardware(), "load_before": before},
        "rows": rows,
    }
    sys.stdout.write(write_json(chosen.out, found))


if __name__ == "__main__":
    main()
