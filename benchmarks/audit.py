"""Time and memory of whole audits, with and without a defense.

    python -m benchmarks.audit

From the logits of a synthetic pool to the report: all attacks that the models allow, every model
the target once, thresholds and the attacker's choice on pseudo-targets, the bootstrap; "+defense"
adds DynaNoise at query budgets of 1 and 16. Each audit runs in a process of its own, whose CPU
seconds (with its workers') and greatest memory are what the operating system says. Seconds count
from where the pool has been made; the memory includes the pool.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.suite import synthetic_pool
from dynanoise.audits.pool_audit import AuditPlan, audit_pool
from dynanoise.core.files import write_json
from dynanoise.evaluation.provenance import Provenance, hardware, versions

SIZES = ("16x10000x10", "16x10000x10+defense", "8x5000x1000", "16x200000x10")
DEFENSE = "dynanoise(base_variance=0.3, lambda_scale=2.0, temperature=10.0)"


def _cpu_seconds() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(size: str, workers: int, seed: int) -> dict[str, Any]:
    """Audit a pool of that size: CPU and wall seconds, greatest memory, and a hash of all metrics.

    Args:
        size: MODELSxRECORDSxCLASSES, with "+defense" at the end for an audit with a defense.
        workers: processes that measure.
        seed: seed of the pool.
    """
    models, records, classes = map(int, size.removesuffix("+defense").split("x"))
    pool = synthetic_pool(models, records, classes, 1, seed)
    plan = AuditPlan(DEFENSE if size.endswith("+defense") else None)
    provenance = Provenance("made up", "made up", "python -m benchmarks.audit")
    cpu, started = _cpu_seconds(), time.perf_counter()
    report = audit_pool(pool, plan, provenance, workers=workers)
    seconds = {
        "cpu_seconds": round(_cpu_seconds() - cpu, 1),
        "wall_seconds": round(time.perf_counter() - started, 1),
    }
    kinds = {"": resource.RUSAGE_SELF}
    if workers > 1:
        kinds["_of_largest_worker"] = resource.RUSAGE_CHILDREN
    peaks = {
        f"peak_memory_gib{name}": round(resource.getrusage(who).ru_maxrss / 2**20, 2)
        for name, who in kinds.items()
    }
    metrics = [
        [row.method, row.attack, row.threat.repeats, name, value.value, value.low, value.high]
        for row in report.results
        for name, value in row.metrics.items()
    ]
    digest = hashlib.sha256(json.dumps(metrics).encode()).hexdigest()[:16]
    each = {
        f"{row.method.split('(')[0]}, {row.threat.repeats}, {row.attack or 'utility'}": round(
            row.seconds, 2
        )
        for row in report.results
    }
    return {
        "size": size,
        "workers": workers,
        **seconds,
        **peaks,
        "metrics": digest,
        "each": each,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every size in a process of its own and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/audit.json"))
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), help="MxNxK or MxNxK+defense")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.only:
        sys.stdout.write(json.dumps(measure(chosen.only, chosen.workers, chosen.seed)))
        return
    load = os.getloadavg()[0]
    flags = ["--workers", str(chosen.workers), "--seed", str(chosen.seed)]
    rows = []
    for size in chosen.sizes:
        command = [sys.executable, "-m", "benchmarks.audit", *flags, "--only", size]
        process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
        rows.append(json.loads(process.stdout))
        sys.stdout.write(f"{rows[-1]}\n")
    result = {
        "command": f"python -m benchmarks.audit --sizes {' '.join(chosen.sizes)} {' '.join(flags)}",
        "versions": versions(),
        "hardware": {**hardware(), "load_before": round(load, 2)},
        "rows": rows,
    }
    write_json(chosen.out, result)


if __name__ == "__main__":
    main()
