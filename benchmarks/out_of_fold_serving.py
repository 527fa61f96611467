"""Cost of serving out-of-fold answers: CPU time and memory of K models and the router.

    python -m benchmarks.out_of_fold_serving --out results/benchmarks/out_of_fold_serving.json

K untrained models, which are as fast as trained ones, exported to a folder, beside one of them
alone: a small MLP on digits and a CNN on images of 32 x 32. One thread; blocks of queries of both
are interleaved, and the ratio is that of the median CPU times of a block. "route" is the time of
the cells alone. "routed_mib" is what the process gains when it opens the K models, working memory
of their check on random inputs included; "file_mib" is one graph.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from dynanoise.core.files import write_json
from dynanoise.core.registry import DATASETS, MODELS
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.integrations.onnx_model import open_classifier, read_graph
from dynanoise.integrations.out_of_fold.onnx_export import export_out_of_fold
from dynanoise.integrations.out_of_fold.onnx_folder import open_model
from dynanoise.integrations.out_of_fold.router import Router
from dynanoise.partition.cells import Cells
from dynanoise.partition.exclusion import Exclusion

FOLDS = 5
BATCHES = (1, 256)
BLOCKS = 15
SECONDS = 0.02
"""CPU seconds of a block, at least."""


def inputs_of(name: str) -> Any:
    """Inputs of a case: 600 digits, or as many images of random blocks."""
    if name == "mlp":
        return DATASETS.get("digits")().inputs[:600]
    coarse = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 3)).astype(np.uint8)
    return coarse.repeat(4, 1).repeat(4, 2)


def measure(name: str, folder: Path) -> list[dict[str, Any]]:
    """Export the models of a case, and time both ways at each batch size."""
    inputs = inputs_of(name)
    cells = Cells.fit(inputs[:300], folds=FOLDS, width=1.0, standardise=False)
    torch.manual_seed(0)
    models = [MODELS.get(name)().build(inputs.shape[1:], 10) for _ in range(FOLDS)]
    router = Router(models, cells).eval()
    export_out_of_fold(router, folder, inputs[:2], Exclusion.of(cells, inputs[300:]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    plain = open_classifier(read_graph(folder / "model_0.onnx"), options)
    before = resident()
    routed: Any = open_model(folder, options=options)
    opened = resident() - before
    rows = []
    for batch in BATCHES:
        feed = {"inputs": inputs[300 : 300 + batch]}
        times = interleaved(
            {
                "plain": partial(plain.run, feed),
                "routed": partial(routed.run, feed),
                "route": partial(routed.folds, feed),
            }
        )
        rows.append(
            {
                "model": name,
                "folds": FOLDS,
                "batch": batch,
                **{f"{kind}_us": round(1e6 * value, 1) for kind, value in times.items()},
                "ratio": round(times["routed"] / times["plain"], 2),
                "routed_mib": round(opened / 2**20, 1),
                "file_mib": round((folder / "model_0.onnx").stat().st_size / 2**20, 2),
            }
        )
    return rows


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def interleaved(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median CPU seconds of a call, over blocks in turn."""
    counts = {name: max(1, int(SECONDS / _block(call, 3))) for name, call in calls.items()}
    blocks: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(BLOCKS):
        for name, call in calls.items():
            blocks[name].append(_block(call, counts[name]))
    return {name: statistics.median(times) for name, times in blocks.items()}


def _block(call: Callable[[], Any], count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - started) / count


def main() -> None:
    """Measure both cases and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="file of results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in ("mlp", "cnn"):
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(name, Path(folder))
    for row in rows:
        print(row)
    if options.out:
        command = "python -m benchmarks.out_of_fold_serving --out FILE"
        write_json(
            options.out,
            {
                "command": command,
                "hardware": hardware(),
                "versions": versions(("onnxruntime", "torch")),
                "rows": rows,
            },
        )


if __name__ == "__main__":
    main()
