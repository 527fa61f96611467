"""Presets for data without one: the user's own, and registered data sets; and for other models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dynanoise.benchmark.preset import Preset, Size
from dynanoise.benchmark.presets import (
    ARTIFACT_2026,
    PRIVATE,
    PRIVATE_MODEL,
    SCHEDULES,
    controls,
    image_recipes,
    peers,
    plain_recipes,
)
from dynanoise.core.defense import Method
from dynanoise.core.errors import InputError, UnknownNameError
from dynanoise.core.registry import DATASETS, MODELS, PRESETS, meant
from dynanoise.data import catalog
from dynanoise.data.dataset import Data
from dynanoise.data.near_duplicates import NearDuplicates
from dynanoise.defenses.calibrated_label import CalibratedLabel
from dynanoise.evaluation.protocols import FOR_IMAGES
from dynanoise.evaluation.protocols import USUAL as USUAL_PROTOCOLS
from dynanoise.training.architecture import HF, kind_of, spec_of, tokenizer_of
from dynanoise.training.schedule import Schedule

USUAL = MappingProxyType({"numbers": "mlp", "images": "cnn", "texts": "text"})
"""The model for a kind of data where none is named."""

LEAST = 60
"""Fewest records of a benchmark."""

POOL_MODELS = 16
"""Models of a pool."""

_BRIEF = 5_000
"""Most rows of numbers on which a model trains in a second or so."""


def own_preset(
    what: str,
    model: str | None = None,
    folder: Path | None = None,
    label: str | None = None,
) -> tuple[Preset, Data]:
    """Make the preset of data that have none, or of a preset with another model.

    Without a test part 60% of the data are the pool, 15% the reference and 25% test data; with one,
    90% of the training part are the pool and the rest of it the reference. The methods are those
    of the presets, DynaNoise with base variance 0.3, lambda 2 and temperature 10; without keyed
    ones, whose cells must fit the models' logits.

    Args:
        what: the name of a preset, or data as for `catalog.load_data`: a registered data set, a
            path, hub:OWNER/NAME. Columns of tables are standardised.
        model: a specification, see `training.architecture.make_model`; None for the usual model
            of the kind of data.
        folder: where registered data sets are looked for first.
        label: name of the column of labels of a table, see `tables.read_table`.

    Returns:
        The preset and the data.

    Raises:
        UnknownNameError: for a plain word that is neither a preset nor a data set.
        DynaNoiseError: whatever loading raises; or if there are too few records.
    """
    tokenizer = None if model is None else tokenizer_of(model)
    if what in PRESETS.names():
        base: Preset = PRESETS.get(what)
        data = catalog.load_data(base.dataset, folder, tokenizer=tokenizer, label=label)
        sizes = {name: _resized(size, model or base.model) for name, size in base.sizes.items()}
        return _with(replace(base, sizes=sizes, brief=False), model or base.model, data), data
    registered = catalog.registered_name(what)
    if registered is None and what.isidentifier() and not Path(what).exists():
        names = tuple(dict.fromkeys((*PRESETS.names(), *DATASETS.names())))
        raise UnknownNameError(
            f"There is no preset {what!r}.",
            f"{meant(what, names)}Known: {', '.join(names)}; or a path, or hub:OWNER/NAME.",
        )
    data = catalog.load_data(what, folder, standardise=True, tokenizer=tokenizer, label=label)
    kind = kind_of(data)
    if model is None:
        if kind is None:
            raise InputError(f"{what} is of no known kind.", "Name a model: --model NAME.")
        model = USUAL[kind]
    if len(data) < LEAST:
        raise InputError(f"{what} has {len(data)} records.", f"A benchmark needs at least {LEAST}.")
    training = len(data) if data.test_from is None else data.test_from
    shares = (0.6, 0.15) if data.test_from is None else (0.9, 0.1)
    pool, reference = (int(share * training) for share in shares)
    size = Size(pool, reference, recipes_of(model), MappingProxyType({"plain": POOL_MODELS}))
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
    """The preset with a model, and the parameters that the data give it."""
    name, chosen = spec_of(model)
    parameters: dict[str, Any] = {}
    if name == "text":
        parameters = {"vocabulary": data.vocabulary_size, "width": 64, **chosen}
    return replace(
        preset,
        model=model,
        model_parameters=parameters,
        other_parameters={},
        variants=_private_model(name, chosen, data),
    )


def _private_model(name: str, chosen: Mapping[str, Any], data: Data) -> Mapping[str, str]:
    """The model of DP-SGD on images, which takes no batch normalisation and few weights."""
    if kind_of(data) != "images" or name == "scattering" or chosen.get("norm") == "group":
        return {}
    height, width, _ = data.inputs.shape[1:]
    return PRIVATE_MODEL if height == width >= 4 else {"dpsgd": "cnn(norm=group)"}


def _resized(size: Size, model: str) -> Size:
    """The same numbers of records and sub-models, trained as the model needs it."""
    selena = {key: value for key, value in size.recipes["selena"].items() if key != "schedule"} or {
        "models": 5,
        "left_out": 2,
    }
    return replace(size, recipes=recipes_of(model, **selena))


def recipes_of(model: str, models: int = 5, left_out: int = 2) -> Mapping[str, Mapping[str, Any]]:
    """Make the parameters of all recipes, with the schedule of a model.

    Args:
        model: its specification.
        models: sub-models of SELENA.
        left_out: sub-models of SELENA that a record is left out of.

    Returns:
        By the recipe's name, its parameters by name.

    Raises:
        UnknownNameError: for an unknown model.
        InputError: if a model of another package names no schedule and no kind of data.

    >>> recipes_of("mlp")["plain"]["schedule"].epochs
    100
    """
    schedule = _schedule_of(model)
    if spec_of(model).name == "scattering":
        return plain_recipes(
            schedule, selena={"models": models, "left_out": left_out}, dpsgd=PRIVATE
        )
    if schedule.optimizer == "sgd":
        return image_recipes(schedule, models, left_out)
    return plain_recipes(schedule, selena={"models": models, "left_out": left_out})


def _schedule_of(model: str) -> Schedule:
    """A model's own ``schedule``; or that of the usual model for the data that it ``takes``."""
    name = HF.rstrip(":") if tokenizer_of(model) is not None else spec_of(model).name
    if name in SCHEDULES:
        return SCHEDULES[name]
    kind = MODELS.get(name)
    usual = USUAL.get(getattr(kind, "takes", ""), "")
    schedule: Schedule | None = getattr(kind, "schedule", SCHEDULES.get(usual))
    if schedule is None:
        raise InputError(
            f"There is no schedule for the model {name!r}.",
            f"Give it an attribute schedule, or takes: {', '.join(USUAL)}.",
        )
    return schedule
