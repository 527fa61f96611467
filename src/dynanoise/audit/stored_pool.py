"""A preset's pool of models from the store, without training anything."""

from __future__ import annotations

from pathlib import Path

from dynanoise.audit.audited import Subject
from dynanoise.audit.bench import require_torch
from dynanoise.audit.preset import Kind
from dynanoise.errors import MissingModelError
from dynanoise.pool import Pool
from dynanoise.registry import PRESETS, RECIPES
from dynanoise.training.names import named
from dynanoise.training.places import Place


def stored_pool(
    name: str,
    store: Place,
    *,
    size: str | None = None,
    recipe: str = "plain",
    folder: Path | None = None,
    command: str = "",
) -> tuple[Pool, Subject]:
    """The models that `bench` trained for a preset's pool, with near-duplicates where it asked.

    Args:
        name: of the preset.
        store: folder of trained models.
        size: of the preset; None for its first.
        recipe: how they were trained.
        folder: where data sets are looked for first.
        command: what makes the numbers again, for Records.

    Raises:
        MissingModelError: if a model is not stored.
        UnknownNameError: if there is no such preset or size.
    """
    require_torch()
    from dynanoise.training import anything
    from dynanoise.training.executors import FromStore
    from dynanoise.training.pools import pool_jobs, pool_of, pool_split
    from dynanoise.training.store import Store

    preset = PRESETS.get(name)
    chosen = preset.size(size)
    data = anything.load(preset.dataset, folder)
    split = pool_split(data, chosen.pool, max(chosen.models.values()), chosen.reference, 0)
    parameters = preset.parameters(Kind(recipe))
    model = named(preset.model, **parameters)
    trained = RECIPES.get(recipe)(**chosen.recipes[recipe])
    subject = Subject(data.name, preset.model, command, parameters, recipe, name)
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
            answers = list(FromStore(Store(store)).run(jobs, data))
        except MissingModelError:
            if near is None:
                raise
            continue
        return pool_of(data, split, answers, seed=0), subject
    raise AssertionError
