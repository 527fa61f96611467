"""Time and memory of `dynanoise audit FOLDER` on a folder of LiRA with a million records.

    python -m benchmarks.folder --models 64 --records 1000000

Synthetic logits are written in float32, a file a model, as tensorflow/privacy's LiRA writes them.
The command then audits the folder in a process of its own, whose greatest memory is what the
operating system says.
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
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dynanoise.core.files import write_json
from dynanoise.core.seeding import derive
from dynanoise.evaluation.provenance import hardware, versions

METRICS = ("auc", "tpr@0.001", "tpr@0.01")


def write_folder(folder: Path, models: int, records: int, classes: int, seed: int) -> None:
    """Write records that are easy or hard, and models that are surer of their members.

    Args:
        folder: where to write.
        models: M.
        records: N.
        classes: K.
        seed: seed of all random numbers.
    """
    generator = np.random.default_rng(derive(seed, "folder"))
    labels = generator.integers(0, classes, records)
    ease = generator.normal(2, 1.5, records).astype(np.float32)
    folder.mkdir()
    np.save(folder / "y_train.npy", labels)
    for model in range(models):
        keep = generator.random(records) < 0.5
        logits = generator.standard_normal((records, 1, 1, classes), dtype=np.float32)
        logits[np.arange(records), 0, 0, labels] += ease + keep
        experiment = folder / f"experiment-{model}_{models}"
        (experiment / "logits").mkdir(parents=True)
        np.save(experiment / "keep.npy", keep)
        np.save(experiment / "logits" / f"{100:010d}.npy", logits)


def measure(folder: Path, attacks: Sequence[str]) -> None:
    """Audit a folder as the command does, and print time, memory and metrics as JSON."""
    from typer.testing import CliRunner

    from dynanoise.cli import app

    started = time.perf_counter()
    named = [word for attack in attacks for word in ("--attack", attack)]
    printed = CliRunner().invoke(app, ["audit", str(folder), "--json", *named])
    if printed.exit_code:
        raise SystemExit(printed.output)
    used = resource.getrusage(resource.RUSAGE_SELF)
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    results = json.loads(printed.stdout)["results"]
    metrics = {
        result["attack"]: {
            name: [round(metric[end], 4) for end in ("value", "low", "high")]
            for name, metric in result["metrics"].items()
            if name in METRICS
        }
        for result in results
    }
    measured = {
        "peak_memory_gib": round(int(peak.split()[1]) / 2**20, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "seconds": round(time.perf_counter() - started, 1),
        "metrics": metrics,
    }
    sys.stdout.write(json.dumps(measured))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folder, audit it and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/folder.json"))
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attack", action="append", default=[], help="as of the command")
    parser.add_argument("--folder", type=Path, help="where the outputs are written; temporary")
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.only:
        measure(chosen.only, chosen.attack)
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
        folder = Path(temporary) / "lira"
        write_folder(folder, chosen.models, chosen.records, chosen.classes, chosen.seed)
        size = sum(path.stat().st_size for path in folder.rglob("*.npy"))
        named = [word for attack in chosen.attack for word in ("--attack", attack)]
        command = [sys.executable, __file__, "--only", str(folder), *named]
        process = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if process.returncode:
        raise SystemExit(process.stderr)
    sizes = {name: getattr(chosen, name) for name in ("models", "records", "classes", "seed")}
    result = {
        "command": " ".join(
            ["python -m benchmarks.folder", *(f"--{k} {v}" for k, v in sizes.items()), *named]
        ),
        "versions": versions(),
        "hardware": {**hardware(), "load_average": round(os.getloadavg()[0], 1)},
        "gib_on_disk": round(size / 2**30, 2),
        **json.loads(process.stdout),
    }
    sys.stdout.write(write_json(chosen.out, result))


if __name__ == "__main__":
    main()
