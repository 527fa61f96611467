"""Capacity of the gateway: responses a second, latencies and refusals of many clients at once.

    apt-get install wrk
    python -m benchmarks.capacity --before CHECKOUT

The gateway as it is configured by default, but for budgets and rates, with one worker process and
with two, beside the gateway of an earlier commit, whose checkout is named. All have the same model
and keyed noise, and get their load from wrk in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gateway import Load, defense_file, gateway, model_file, model_ms, require_wrk
from dynanoise.core.files import write_json
from dynanoise.evaluation.provenance import hardware, versions

WAYS = {"one worker": ("--workers", 1), "two workers": ("--workers", 2), "before": ()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/capacity.json"))
    parser.add_argument("--before", type=Path, help="checkout of an earlier commit")
    parser.add_argument("--width", type=int, default=16, help="hidden units of the model")
    parser.add_argument("--clients", type=int, default=[32, 500], nargs="+", help="at once")
    parser.add_argument("--seconds", type=int, default=60, help="of load on each gateway")
    parser.add_argument("--turns", type=int, default=3, help="parts that the load comes in")
    options = parser.parse_args(arguments)
    require_wrk(parser)
    load_before = round(os.getloadavg()[0], 1)
    ways = {name: way for name, way in WAYS.items() if name != "before" or options.before}
    rows = []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        model = model_file(folder / "m.onnx", options.width)
        keyed = defense_file(folder / "keyed.yaml", model, True)
        ports = {
            way: stack.enter_context(
                gateway(
                    folder,
                    *("--model", model, "--defense", keyed, *more),
                    source=options.before if way == "before" else None,
                    concurrency=None,
                )
            ).port
            for way, more in ways.items()
        }
        for clients in options.clients:
            loads = {way: Load(statuses=True) for way in ports}
            for port in ports.values():
                Load().add(port, model.stem, 1, clients)  # to warm up
            for turn in range(options.turns):
                for way in list(ports)[:: 1 if turn % 2 else -1]:
                    seconds = max(1, options.seconds // options.turns)
                    loads[way].add(ports[way], model.stem, seconds, clients)
            row: dict[str, Any] = {"clients": clients}
            row |= {way: load.summary() for way, load in loads.items()}
            rows.append(row)
            sys.stderr.write(f"{row}\n")
        alone = model_ms(model)
    words = f"--width {options.width} --clients {' '.join(map(str, options.clients))}"
    words += f" --seconds {options.seconds} --turns {options.turns}"
    result = {
        "command": f"python -m benchmarks.capacity --before CHECKOUT {words}",
        "model_ms": alone,
        "versions": versions(),
        "hardware": {**hardware(), "load_before": load_before},
        "rows": rows,
    }
    sys.stdout.write(write_json(options.out, result))


if __name__ == "__main__":
    main()
