"""`dynanoise store` and `dynanoise verify`: stored models, and what they were not trained on."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynanoise.benchmark.execution import StoreOption
from dynanoise.cli.options import command
from dynanoise.cli.output.terminal import size_text
from dynanoise.core.errors import InputError
from dynanoise.core.extras import missing_extra
from dynanoise.core.options import Option

if TYPE_CHECKING:
    from dynanoise.training.store.storage import Place
    from dynanoise.training.store.store import Store

app = typer.Typer(help="Show and free stored models.", no_args_is_help=True)


@command(app, "ls")
def list_models(store: StoreOption = None) -> None:
    """List stored models: key, size, time, data set and recipe."""
    total = 0
    for entry in open_store(store).entries():
        about = entry.description
        time = datetime.datetime.fromtimestamp(entry.created).strftime("%Y-%m-%d %H:%M")
        recipe = str(about.get("recipe", {}).get("name", "")).rsplit(".", 1)[-1]
        model = f"{about.get('data set')} {about.get('job')} {recipe}"
        typer.echo(f"{entry.key[:12]}  {size_text(entry.size):>9}  {time}  {model}")
        total += entry.size
    typer.echo(f"{size_text(total)} in all.", err=True)


@command(app, "rm")
def remove_models(
    keys: Annotated[
        tuple[str, ...], Option("Keys of models, or their beginnings.", argument=True)
    ] = (),
    everything: Annotated[bool, Option("Remove all models.", flag="--all")] = False,
    store: StoreOption = None,
) -> None:
    """Remove stored models."""
    if not keys and not everything:
        raise InputError("No model was named.", "Name keys, or pass --all.")
    models = open_store(store)
    removed = models.remove(keys or [entry.key for entry in models.entries()])
    typer.echo(f"Removed {len(removed)} model{'' if len(removed) == 1 else 's'}.", err=True)


def verify(
    proof: Annotated[
        str,
        Option(
            "Folder of cells.json and exclusion.json, or the beginning of a stored model's key.",
            metavar="PROOF",
            argument=True,
        ),
    ],
    *,
    data: Annotated[
        str | None,
        Option(
            "Training inputs in the order of the training: a file .npy, or a table (csv, npz, "
            "parquet) with a column of labels; or a registered data set.",
            metavar="DATA",
        ),
    ] = None,
    groups: Annotated[
        Path | None,
        Option("File .npy with the group of each record, if they were left out by group."),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Check that no record is in a model which may answer near it, from data and cells alone.

    For out-of-fold answers. The cells, with the key that they name, decide again which models each
    record's neighbourhood touches; the proof must have left the record out of all of them.

    Examples:
    dynanoise verify proof --data train.npy
    dynanoise verify 3fa9c1 --data digits
    """
    if Path(proof).is_dir():
        from dynanoise.partition.proof import read_proof

        cells, exclusion = read_proof(proof)
        exclusion.verify(cells, _inputs(data), _array(groups))
        models, records = exclusion.left_out.shape
    else:
        from dynanoise.training.recipes.out_of_fold import verify as verify_facts

        stored = open_store(store)
        outputs = stored.get(stored.one(proof).key)
        if outputs is None:
            raise InputError(f"The stored model {proof} was damaged.", "Train it again.")
        records, models = verify_facts(outputs.facts, _inputs(data))
    typer.echo(f"{records:,} records and {models} models: no record is in a model near it.")


def _inputs(data: str | None) -> Any:
    """Inputs of a file, or of a registered data set."""
    from dynanoise.core.registry import DATASETS

    if data is None:
        raise InputError("No data were named.", "Pass --data with the training inputs.")
    if data in DATASETS.names():
        return DATASETS.get(data)().inputs
    if data.endswith(".npy"):
        return _array(Path(data))
    from dynanoise.data.tables import read_table

    return read_table(Path(data)).inputs


def _array(path: Path | None) -> Any:
    if path is None:
        return None
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}).", "Give an array of NumPy.") from error


def place_of(store: str | None) -> Place | None:
    """Find the place of trained models: that of --store, or in the user's cache.

    Returns:
        A folder or an address; None for a user without a home folder.

    Raises:
        InputError: for an address that names no bucket, or holds a secret.
    """
    from dynanoise.training.store.storage import place

    if store is not None:
        return place(store)
    from dynanoise.data.cache import folder

    try:
        return folder() / "models"
    except RuntimeError:
        typer.echo("No home folder: trained models are not kept. See --store.", err=True)
        return None


def open_store(store: str | None) -> Store:
    """Open the store of --store, or of the user's cache.

    Raises:
        InputError: if there is none.
        MissingExtraError: if torch or safetensors is not installed.
    """
    place = place_of(store)
    missing = store is not None and isinstance(place, Path) and not place.is_dir()
    if place is None or missing:
        raise InputError(f"{place} is no folder.", "Pass the folder given to `bench --store`.")
    try:
        from dynanoise.training.store.store import Store
    except ImportError as error:
        raise missing_extra(
            "train", "The store needs torch and safetensors, which are not installed."
        ) from error
    return Store(place)
