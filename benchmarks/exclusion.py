"""Search for models that were trained on a record and answer a point near it.

    python -m benchmarks.exclusion --store STORE [STORE ...] --points 1000 --out FILE
    python -m benchmarks.exclusion --preset cifar10 --data FOLDER --points 1000

With --store: for the stored models of the recipe `out_of_fold`, on the training sets stored with
it. With --preset: for the training sets of the first model of the preset's pool, which are computed
and not trained. Points are drawn from the neighbourhood that the cells name; without one, the
record itself is the only point. "broken" counts the points under a router that takes the next
model, and must not be 0.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynanoise.core.files import write_json
from dynanoise.core.numerics import Bools
from dynanoise.core.registry import DATASETS, MODELS, PRESETS, parse
from dynanoise.data.dataset import Data
from dynanoise.data.splits import pool_split
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.partition.cells import Cells
from dynanoise.partition.exclusion import Exclusion
from dynanoise.partition.neighbourhood import sample
from dynanoise.training.jobs import Job
from dynanoise.training.recipes.out_of_fold import OutOfFold, cells_of
from dynanoise.training.store.store import Store


def count(cells: Cells, inputs: Any, left_out: Bools, points: int) -> dict[str, Any]:
    """Count the points that a model answers which was trained on their record.

    Args:
        cells: the partition.
        inputs: [n, ...], the members.
        left_out: bool [K, n].
        points: points of each member.
    """
    rows, generator = np.arange(len(inputs)), np.random.default_rng(0)
    near = iter((inputs,))
    if cells.neighbourhood is not None:
        near = sample(cells.neighbourhood, inputs, generator, points, cells.scale)
    answered = exposed = broken = 0
    started = time.process_time()
    for queries in near:
        folds = cells.fold(queries)
        answered += len(folds)
        exposed += int((~left_out[folds, rows]).sum())
        broken += int((~left_out[(folds + 1) % cells.folds, rows]).sum())
    return {
        "records": len(inputs),
        "points": answered,
        "answered_by_a_model_that_saw_the_record": exposed,
        "broken": broken,
        "kept": float(1 - left_out.mean()),
        "cells": {**cells.to_parts()[0]},
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def stored(store: Store, data: Path | None) -> Iterator[tuple[str, Cells, Any, Bools]]:
    """Yield a name, cells, members and exclusion of each stored model.

    Args:
        store: where the models are.
        data: folder of data sets.
    """
    for entry in store.entries():
        recipe = entry.description.get("recipe", {}).get("name")
        outputs = store.get(entry.key) if recipe == OutOfFold.stored_as else None
        if outputs is None or "cells" not in outputs.facts:
            continue
        inputs = DATASETS.get(entry.description["data set"])(data).inputs
        facts = outputs.facts
        name = f"{entry.description['data set']} {entry.key[:12]}"
        yield name, cells_of(facts), inputs[facts["members"]], facts["left_out"] == 1


def planned(name: str, text: str, data: Path | None) -> tuple[str, Cells, Any, Bools]:
    """The name, cells, members and exclusion of the first model of a preset's pool.

    Args:
        name: the preset.
        text: the recipe, with parameters that replace the preset's.
        data: folder of data sets.
    """
    preset = PRESETS.get(name)
    spec, size = parse(preset.dataset, "data set"), preset.size(None)
    content: Data = DATASETS.make(spec.name, {**spec.parameters, "folder": data})
    split = pool_split(content, size.pool, 2, size.reference, 0)
    recipe = size.recipe(text)
    job = Job("", MODELS.get("mlp")(), recipe, split.pool[split.use[0] == 1], split.reference, 0)
    cells = recipe.cells(job.material(content))
    members = content.inputs[job.members]
    title = name if text == "out_of_fold" else f"{name} {text}"
    return title, cells, members, Exclusion.of(cells, members).left_out


def main() -> None:
    """Count for every model and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, nargs="*", default=(), help="trained models")
    parser.add_argument("--models", type=int, help="models of each store, at most")
    parser.add_argument("--preset", nargs="*", default=(), help="presets that are not trained")
    parser.add_argument("--recipe", nargs="*", default=["out_of_fold"], help="of the presets")
    parser.add_argument("--data", type=Path, help="folder of data sets")
    parser.add_argument("--points", type=int, default=1000, help="points of each record")
    parser.add_argument("--most", type=int, default=10**6, help="records of each model at most")
    parser.add_argument("--out", type=Path, help="file of results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = chain(
        (planned(name, text, options.data) for name in options.preset for text in options.recipe),
        *(islice(stored(Store(at), options.data), options.models) for at in options.store),
    )
    rows: list[dict[str, Any]] = []
    for name, cells, inputs, left_out in cases:
        part = slice(options.most)
        rows.append({"name": name, **count(cells, inputs[part], left_out[:, part], options.points)})
        print({key: value for key, value in rows[-1].items() if key != "cells"}, flush=True)
        if options.out:
            # Where the files are is not part of a result.
            words = [Path(each).name if "/" in each else each for each in sys.argv[1:]]
            command = "python -m benchmarks.exclusion " + shlex.join(words)
            about = {"command": command, "hardware": hardware(), "versions": versions(())}
            write_json(options.out, {**about, "rows": rows})


if __name__ == "__main__":
    main()
