"""`dynanoise store`: stored models."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    for entry in _open(store).entries():
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
    models = _open(store)
    removed = models.remove(keys or [entry.key for entry in models.entries()])
    typer.echo(f"Removed {len(removed)} model{'' if len(removed) == 1 else 's'}.", err=True)


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


def _open(store: str | None) -> Store:
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
