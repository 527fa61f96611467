"""Time and memory of attacks on a pool of a million records, by parts and from disk.

    python benchmarks/million.py

A synthetic pool (64 models, 1,000,000 records, 10 classes) is written in float16 and mapped into
memory; LiRA and RMIA then score every record of the first targets with the other 63 models as
their shadows. One attack after the other, each in a process of its own, whose greatest memory is
what the operating system says: pages of the mapped file that happen to be in memory count with it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core import registry
from dynanoise.core.files import write_json
from dynanoise.core.outputs import Outputs
from dynanoise.core.seeding import derive
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.evaluation.shards import PoolFiles, score_by_shards, write_pool

ATTACKS = ("lira(variance=example)", "lira", "rmia")
KNOWN = 2_000
"""Known non-members of all models, RMIA's population."""


def write_synthetic_pool(folder: Path, models: int, records: int, classes: int, seed: int) -> None:
    """Write records that are easy or hard, and models that are surer of their members."""
    generator = np.random.default_rng(derive(seed, "million"))
    labels = generator.integers(0, classes, records)
    use = (generator.random((models, records)) < 0.5).astype(np.int8)
    ease = generator.normal(2, 1.5, records).astype(np.float32)

    def outputs() -> Iterator[npt.NDArray[Any]]:
        for row in use:
            logits = generator.standard_normal((records, 1, classes), dtype=np.float32)
            logits[np.arange(records), 0, labels] += ease + row
            yield logits

    write_pool(folder, outputs(), labels, np.arange(records), use, dtype=np.float16)


def population(models: int, classes: int, seed: int) -> Outputs:
    """Outputs on records that no model was trained on."""
    generator = np.random.default_rng(derive(seed, "population"))
    labels = generator.integers(0, classes, KNOWN)
    logits = generator.standard_normal((models, KNOWN, 1, classes), dtype=np.float32)
    logits[:, np.arange(KNOWN), 0, labels] += generator.normal(2, 1.5, KNOWN).astype(np.float32)
    return Outputs(logits, labels, np.arange(KNOWN), np.zeros((models, KNOWN), dtype=np.int8))


def measure(folder: Path, name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure time and memory of one attack, in this process and its workers."""
    before = _peak()
    started = time.perf_counter()
    pool_scores = score_by_shards(
        PoolFiles(folder, chosen.part),
        registry.ATTACKS.build(name),
        seed=chosen.seed,
        targets=range(chosen.targets),
        population=population(chosen.models, chosen.classes, chosen.seed),
        workers=chosen.workers,
    )
    scored = time.perf_counter() - started
    metrics = pool_scores.metrics()
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "attack": name,
        "seconds_scores": round(scored, 1),
        "seconds_metrics": round(time.perf_counter() - started - scored, 1),
        "peak_memory_gib_before": before,
        "peak_memory_gib": _peak(),
        "peak_memory_gib_of_largest_worker": round(children / 2**20, 2),
        "metrics": {key: round(value, 4) for key, value in metrics.items()},
        "scored": round(float(pool_scores.scored.mean()), 4),
    }


def _peak() -> float:
    """Read the greatest memory of this process; ``ru_maxrss`` mixes it with the parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 2**20, 2)
    raise RuntimeError("This system does not report the memory of a process.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pool, attack it and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/million.json"))
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--targets", type=int, default=4, help="models that are attacked")
    parser.add_argument("--part", type=int, default=5_000, help="records of one part")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the pool is written; a temporary one")
    parser.add_argument("--only", nargs=2, metavar=("FOLDER", "ATTACK"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.only:
        result = measure(Path(chosen.only[0]), chosen.only[1], chosen)
        sys.stdout.write(json.dumps(result))
        return
    names = ["models", "records", "classes", "targets", "part", "workers", "seed"]
    words = [word for name in names for word in (f"--{name}", str(vars(chosen)[name]))]
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
        folder = Path(temporary) / "pool"
        started = time.perf_counter()
        write_synthetic_pool(folder, chosen.models, chosen.records, chosen.classes, chosen.seed)
        written = time.perf_counter() - started
        size = sum(path.stat().st_size for path in folder.iterdir())
        rows = []
        for name in ATTACKS:
            command = [sys.executable, __file__, *words, "--only", str(folder), name]
            process = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
            rows.append(json.loads(process.stdout))
    result = {
        "command": " ".join(["python benchmarks/million.py", *words]),
        "versions": versions(),
        "hardware": {**hardware(), "load_average": round(os.getloadavg()[0], 1)},
        "pool_gib_on_disk": round(size / 2**30, 2),
        "seconds_writing": round(written, 1),
        "rows": rows,
    }
    sys.stdout.write(write_json(chosen.out, result))


if __name__ == "__main__":
    main()
