"""Presets for the user's own data, and for another model than a preset's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dynanoise.benchmark.preset import Preset, Size
from dynanoise.benchmark.presets import (
    ARTIFACT_2026,
    NOISY_CNN,
    controls,
    image_recipes,
    peers,
    plain_recipes,
)
from dynanoise.benchmark.schedules import SCHEDULES
from dynanoise.core.defense import Method
from dynanoise.core.errors import InputError
from dynanoise.core.registry import MODELS, PRESETS
from dynanoise.data import catalog
from dynanoise.data.dataset import Data
from dynanoise.data.near_duplicates import NearDuplicates
from dynanoise.defenses.calibrated_label import CalibratedLabel
from dynanoise.evaluation.protocols import FOR_IMAGES
from dynanoise.evaluation.protocols import USUAL as USUAL_PROTOCOLS
from dynanoise.training import compatibility
from dynanoise.training.architecture import tokenizer_of

USUAL = MappingProxyType({"numbers": "mlp", "images": "cnn", "texts": "text"})
"""The model for a kind of data where none is named."""

LEAST = 60
"""Records below which nothing could be said."""

_BRIEF = 5_000
"""Rows of numbers up to which a model trains in a second or so."""


def own_preset(
    what: str, model: str | None = None, folder: Path | None = None
) -> tuple[Preset, Data]:
    """What `bench` runs for a name that is no preset, or for a preset with another model.

    Of data without a test part 60% are the pool, 15% the reference and 25% test data; where there
    is one, 90% of the training part are the pool and the rest of it the reference. The methods
    are those of the presets, DynaNoise with base variance 0.3, lambda 2 and temperature 10; without
    keyed ones, whose cells must fit the models' logits.

    Args:
        what: a preset, or whatever `training.anything.load` takes. Columns of tables are
            standardised.
        model: see `training.names.named`; None for the usual one of the kind of data.
        folder: where registered data sets are looked for first.

    Raises:
        UnknownNameError: for a plain word that is no preset, with the closest one.
        DynaNoiseError: whatever loading raises; or if there are too few records.
    """
    tokenizer = None if model is None else tokenizer_of(model)
    if what in PRESETS.names():
        base: Preset = PRESETS.get(what)
        data = catalog.load(base.dataset, folder, tokenizer=tokenizer)
        sizes = {name: _resized(size, model or base.model) for name, size in base.sizes.items()}
        return _with(replace(base, sizes=sizes, brief=False), model or base.model, data), data
    if what.isidentifier() and not Path(what).exists():
        PRESETS.get(what)  # raises, and suggests the closest name
    data = catalog.load(what, folder, standardise=True, tokenizer=tokenizer)
    kind = compatibility.kind(data)
    if model is None:
        if kind is None:
            raise InputError(f"{what} is of no known kind.", "Name a model: --model NAME.")
        model = USUAL[kind]
    if len(data) < LEAST:
        raise InputError(f"{what} has {len(data)} records.", f"A benchmark needs at least {LEAST}.")
    training = len(data) if data.test_from is None else data.test_from
    shares = (0.6, 0.15) if data.test_from is None else (0.9, 0.1)
    pool, reference = (int(share * training) for share in shares)
    size = Size(pool, reference, recipes_of(model), MappingProxyType({"plain": 16}))
    preset = Preset(
        description=f"{what}, {pool} records in the attack",
        dataset=what,
        model=model,
        sizes=MappingProxyType({"cpu": size}),
        methods=(
            *controls(ARTIFACT_2026),
            Method("calibrated_label", CalibratedLabel()),
            *peers(),
        ),
        near=NearDuplicates() if kind == "images" else None,
        left_out=("memguard",),
        protocols=FOR_IMAGES if kind == "images" else USUAL_PROTOCOLS,
        brief=kind == "numbers" and len(data) <= _BRIEF,
    )
    return _with(preset, model, data), data


def _with(preset: Preset, model: str, data: Data) -> Preset:
    parameters: dict[str, Any] = {}
    if model == "text":
        parameters = {"vocabulary": data.vocabulary_size, "width": 64}
    variants = NOISY_CNN if model == "cnn" else {}
    return replace(
        preset, model=model, model_parameters=parameters, other_parameters={}, variants=variants
    )


def _resized(size: Size, model: str) -> Size:
    """The same numbers of records and sub-models, trained as the model needs it."""
    selena = {key: value for key, value in size.recipes["selena"].items() if key != "schedule"} or {
        "models": 5,
        "left_out": 2,
    }
    return replace(size, recipes=recipes_of(model, **selena))


def recipes_of(model: str, models: int = 5, left_out: int = 2) -> Mapping[str, Mapping[str, Any]]:
    """All recipes with the model's own schedule.

    Args:
        model: see `training.names.named`.
        models: of SELENA.
        left_out: likewise.

    >>> recipes_of("mlp")["plain"]["schedule"].epochs
    100
    """
    name = "hf" if tokenizer_of(model) is not None else model
    if name not in SCHEDULES:
        MODELS.get(name)  # raises for a name that is not there
        raise InputError(
            f"There is no schedule for the model {model!r}.", f"Known: {', '.join(SCHEDULES)}."
        )
    schedule = SCHEDULES[name]
    if schedule.optimizer == "sgd":
        return image_recipes(schedule, models, left_out)
    return plain_recipes(schedule, selena={"models": models, "left_out": left_out})
