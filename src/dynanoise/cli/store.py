"""The command `dynanoise store`: stored models."""

from __future__ import annotations

from typing import Annotated

import typer

from dynanoise.cli import commands, terminal
from dynanoise.cli.commands import StoreFolder
from dynanoise.core.errors import InputError

app = typer.Typer(help="Show and free stored models.", no_args_is_help=True)


@app.command("ls")
def store_ls(store: StoreFolder = None) -> None:
    """List stored models: key, size, what for, when."""
    with terminal.friendly():
        commands.list_store(store)


@app.command("rm")
def store_rm(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys, or their beginnings.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all of them.")] = False,
    store: StoreFolder = None,
) -> None:
    """Remove stored models."""
    with terminal.friendly():
        if not keys and not everything:
            raise InputError("No model was named.", "Name keys, or pass --all.")
        commands.remove_from_store(store, keys)
