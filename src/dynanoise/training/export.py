"""Stored out-of-fold models as a folder of ONNX graphs."""

from __future__ import annotations

from pathlib import Path

from dynanoise.core.errors import InputError
from dynanoise.core.registry import MODELS
from dynanoise.data.catalog import load_data
from dynanoise.integrations.out_of_fold.onnx_export import export_out_of_fold
from dynanoise.training import facts
from dynanoise.training.recipes.out_of_fold import OutOfFold, StoredRouter, exclusion_of
from dynanoise.training.store.store import Store, stored_name


def export_stored(
    store: Store, prefix: str, folder: Path, *, data_folder: Path | None = None
) -> str:
    """Export a stored model of the recipe `out_of_fold`, see `export_out_of_fold`.

    Args:
        store: where the model is kept.
        prefix: the beginning of its key.
        folder: the folder to write.
        data_folder: where data sets are looked for first; the data give the shape of inputs.

    Returns:
        The digest of the folder.

    Raises:
        InputError: if no or several models begin so, it is of another recipe, its architecture is
            not registered, or its data set has changed.
        DynaNoiseError: if the data set cannot be loaded.
        MissingExtraError: if onnxscript is not installed.
    """
    entry = store.one(prefix)
    about = entry.description
    recipe, model = about.get("recipe", {}), about.get("model", {})
    if recipe.get("name") != OutOfFold.stored_as:
        raise InputError(
            f"The stored model {entry.key[:12]} is of the recipe {recipe.get('name')}.",
            "Name a model that `dynanoise bench --defense out_of_fold` trained.",
        )
    kinds = {stored_name(MODELS.get(name)): MODELS.get(name) for name in MODELS.names()}
    if model.get("name") not in kinds:
        raise InputError(
            f"The architecture {model.get('name')} is not registered.",
            "Install the package that has it.",
        )
    data = load_data(about["data set"], data_folder)
    if data.digest != about["data"]:
        raise InputError(
            f"The data set {data.name} is not the one of the training.", "Pass its folder: --data."
        )
    architecture = kinds[model["name"]](**model["parameters"])
    shape = data.inputs.shape[1:]
    models = recipe["parameters"]["models"]
    router = StoredRouter([architecture.build(shape, data.classes) for _ in range(models)])
    facts.load_state(router, store.weights(entry.key))
    exclusion = exclusion_of(facts.facts_of(router), data.inputs)
    return export_out_of_fold(router.eval(), folder, data.inputs[:2], exclusion)
