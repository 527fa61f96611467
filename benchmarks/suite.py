"""Time of the whole adaptive suite against one method, on stored outputs.

    python benchmarks/suite.py

From the logits of a synthetic pool (16 models, 10,000 records, 10 classes) to every metric with its
interval: DynaNoise's outputs, all attacks of the honest protocol with every model as the target
once, thresholds and the strongest attack chosen on pseudo-targets, and the bootstrap. In one
process; the time is that of the clock on the wall, and the CPU's in all.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.core.defense import Method
from dynanoise.core.files import write_json
from dynanoise.core.numerics import Int8
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.seeding import derive
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.evaluation.engine import evaluate
from dynanoise.evaluation.protocols import adaptive
from dynanoise.evaluation.provenance import Provenance, hardware, peak_gib, versions
from dynanoise.evaluation.shadow_pool import shadow_pools

KNOWN = 2_000
"""Known non-members of all models."""


def synthetic_pool(models: int, records: int, classes: int, inputs: int, seed: int) -> Pool:
    """Make records that are easy or hard, and models that are surer of their members."""
    generator = np.random.default_rng(derive(seed, "suite"))

    def outputs(count: int, use: Int8, inputs: int) -> Outputs:
        labels = generator.integers(0, classes, count)
        logits = generator.normal(0, 1, (models, count, inputs, classes)).astype(np.float32)
        logits += generator.normal(0, 1, (1, count, 1, classes)).astype(np.float32)
        logits[:, np.arange(count), :, labels] += (3 + 2 * use.T)[:, :, None]
        return Outputs(logits, labels, np.arange(count), use)

    def reference(inputs: int) -> Outputs:
        return outputs(KNOWN, np.zeros((models, KNOWN), dtype=np.int8), inputs)

    use = (generator.random((models, records)) < 0.5).astype(np.int8)
    return Pool(outputs(records, use, inputs), reference(1), reference(inputs), seed, "made up")


def measure(pool: Pool, queries: int, near: bool) -> dict[str, Any]:
    """Measure the seconds of every attack and of utility, and their sum."""
    protocol = adaptive(queries, near=near)
    method = Method("dynanoise", DynaNoise(0.3, 2.0, 10.0))
    started, cpu = time.perf_counter(), time.process_time()
    provenance = {"plain": Provenance("made up", "made up", "python benchmarks/suite.py")}
    designs = shadow_pools({"plain": pool}, protocol)
    results = list(evaluate(designs, [method], protocol, provenance))
    total, used = time.perf_counter() - started, time.process_time() - cpu
    each = {result.attack or "utility": round(result.seconds, 2) for result in results}
    auc = {
        result.attack: round(result.metrics["auc"].value, 4) for result in results if result.attack
    }
    sizes = {"models": pool.models, "records": len(pool.records.ids)}
    sizes |= {"inputs": pool.records.inputs, "classes": pool.records.classes}
    times = {"seconds": round(total, 2), "cpu_seconds": round(used, 2), "each": each, "auc": auc}
    times["peak_memory_gib_so_far"] = peak_gib()
    return {"protocol": protocol.name, **sizes, **times}


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the suite and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/suite.json"))
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--queries", type=int, default=[1, 16], nargs="+", help="budgets")
    parser.add_argument("--near", type=int, default=16, help="inputs a record; 1 leaves it out")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    make = partial(synthetic_pool, chosen.models, chosen.records, chosen.classes)
    pool = make(1, chosen.seed)
    rows = [measure(pool, queries, near=False) for queries in chosen.queries]
    if chosen.near > 1:
        rows.append(measure(make(chosen.near, chosen.seed), 1, near=True))
    names = ["models", "records", "classes", "near", "seed"]
    words = [f"--{name} {vars(chosen)[name]}" for name in names]
    words.append(f"--queries {' '.join(map(str, chosen.queries))}")
    result = {
        "command": " ".join(["python benchmarks/suite.py", *words]),
        "versions": versions(),
        "hardware": {**hardware(), "load_average": round(os.getloadavg()[0], 1)},
        "rows": rows,
    }
    sys.stdout.write(write_json(chosen.out, result))


if __name__ == "__main__":
    main()
