"""The pool of a preset from the store, without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from dynanoise.benchmark.benchmark import require_torch
from dynanoise.benchmark.preset import Kind
from dynanoise.benchmark.stored_functions import stored_functions
from dynanoise.core.errors import MissingModelError
from dynanoise.core.outputs import Pool
from dynanoise.core.registry import PRESETS
from dynanoise.evaluation.chosen_inputs import ModelFunctions
from dynanoise.evaluation.provenance import Provenance
from dynanoise.training.store.storage import Place


def stored_pool(
    name: str,
    store: Place,
    *,
    size: str | None = None,
    recipe: str = "plain",
    folder: Path | None = None,
    command: str = "",
) -> tuple[Pool, Provenance, Callable[[], ModelFunctions]]:
    """Load the models that `bench` trained for a preset's pool, with near-duplicates if it has any.

    Args:
        name: name of the preset.
        store: folder of trained models.
        size: size of the preset; None for its first.
        recipe: name of their training recipe.
        folder: where data sets are looked for first.
        command: command line that repeats the numbers, for results.

    Returns:
        The pool, the fields of results that are not measured, and a function that loads the models
        for queries with chosen inputs.

    Raises:
        MissingModelError: if a model is not stored.
        UnknownNameError: for an unknown preset or size.
    """
    require_torch()
    from dynanoise.data import catalog
    from dynanoise.data.splits import pool_split
    from dynanoise.training.designs import pool_jobs, pool_of
    from dynanoise.training.execution.executors import FromStore
    from dynanoise.training.store.store import Store

    preset = PRESETS.get(name)
    chosen = preset.size(size)
    data = catalog.load_data(preset.dataset, folder)
    split = pool_split(data, chosen.pool, max(chosen.models.values()), chosen.reference, 0)
    model = preset.architecture(Kind(recipe))
    trained = chosen.recipe(recipe)
    provenance = Provenance(
        data.name, preset.model_of(recipe), command, asdict(model), recipe, preset=name
    )
    for near in dict.fromkeys((preset.near, None)):
        jobs = pool_jobs(
            split,
            model,
            trained,
            seed=0,
            models=chosen.models[recipe],
            threads=preset.threads,
            near=near,
        )
        try:
            outputs = list(FromStore(Store(store)).run(jobs, data))
        except MissingModelError:
            if near is None:
                raise
            continue
        load = partial(stored_functions, jobs, data, split.attacked, Store(store), 0)
        return pool_of(data, split, outputs, seed=0), provenance, load
    raise AssertionError
