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
            "parquet), with or without labels; or a registered data set.",
            metavar="DATA",
        ),
    ] = None,
    label: Annotated[
        str | None,
        Option(
            "Column of labels of a table. Default: label, class, target or y, else the last "
            "column, else none, whichever gives the records of the proof.",
            metavar="NAME",
        ),
    ] = None,
    groups: Annotated[
        str | None,
        Option(
            "File .npy with the group of each record, or the column of the table that holds it, "
            "if records were left out by group.",
            metavar="FILE|NAME",
        ),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Check that no record is in a model which may answer near it, from data and cells alone.

    For out-of-fold answers. The cells, with the key that they name, decide again which models each
    record's neighbourhood touches; the proof must have left the record out of all of them.

    Examples:
    dynanoise verify proof --data train.npy
    dynanoise verify proof --data patients.parquet --groups patient
    dynanoise verify 3fa9c1 --data digits
    """
    if Path(proof).is_dir():
        from dynanoise.partition.proof import read_proof

        cells, exclusion = read_proof(proof)
        exclusion.verify(cells, *_records(data, label, groups, exclusion.records))
        models, records = exclusion.left_out.shape
    else:
        from dynanoise.training.recipes.out_of_fold import verify as verify_facts

        stored = open_store(store)
        outputs = stored.get(stored.one(proof).key)
        if outputs is None:
            raise InputError(f"The stored model {proof} was damaged.", "Train it again.")
        if groups is not None:
            raise InputError("Stored models have no groups.", "Leave --groups out.")
        records, models = verify_facts(outputs.facts, _inputs(data, label))
    typer.echo(f"{records:,} records and {models} models: no record is in a model near it.")


def _inputs(data: str | None, label: str | None) -> Any:
    """Inputs of a file or a registered data set, as `bench` trains on them."""
    if data is None:
        raise InputError("No data were named.", "Pass --data with the training inputs.")
    if data.endswith(".npy"):
        return _array(Path(data))
    from dynanoise.data.catalog import load_data

    return load_data(data, standardise=True, label=label).inputs


def _records(
    data: str | None, label: str | None, groups: str | None, digest: str
) -> tuple[Any, Any]:
    """Training inputs as they are, and the groups of the records or None.

    The columns of a table that are inputs are those whose SHA-256 is ``digest``, if there are any.
    """
    path, of_file = Path(data or ""), groups is not None and groups.endswith(".npy")
    values = _array(Path(groups)) if groups is not None and of_file else None
    column = None if of_file else groups
    if path.suffix.lower() == ".npz":
        from dynanoise.data.tables import read_table

        arrays = read_table(path, label, [] if column is None else [column])
        return arrays.inputs, values if column is None else arrays.values[column]
    if path.suffix.lower() not in (".csv", ".parquet"):
        if column is not None:
            raise InputError(
                f"{data} has no column {column!r}.", "Pass a file .npy with the groups."
            )
        return _inputs(data, label), values
    from dynanoise.data.columns import check_named, read_columns
    from dynanoise.partition.exclusion import records_digest

    table = read_columns(path)
    check_named(path, filter(None, (label, column)), table.names)
    others = [name for name in table.names if name != column]
    candidates = [
        [name for name in names if name != labels]
        for names in dict.fromkeys((tuple(others), tuple(table.names)))
        for labels in ([label] if label else [table.named_label(), *names[-1:], None])
    ]
    inputs = table.stacked(table.names)
    for names in filter(None, candidates):
        inputs = table.stacked(names)
        if records_digest(inputs) == digest:
            break
    return inputs, values if column is None else table.values[column]


def _array(path: Path) -> Any:
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
        raise InputError(f"{place} is not a folder.", "Pass the folder given to `bench --store`.")
    try:
        from dynanoise.training.store.store import Store
    except ImportError as error:
        raise missing_extra(
            "train", "The store needs torch and safetensors, which are not installed."
        ) from error
    return Store(place)
