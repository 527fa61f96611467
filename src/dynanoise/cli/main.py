"""The command line: one file a command. Everything heavy is imported where it is used."""

from __future__ import annotations

from typing import Annotated

import typer

from dynanoise.cli import key, store
from dynanoise.cli.audit import audit
from dynanoise.cli.bench import bench
from dynanoise.cli.configure import configure
from dynanoise.cli.demo import demo
from dynanoise.cli.exit_codes import CommandGroup
from dynanoise.cli.export import export
from dynanoise.cli.options import Command, command
from dynanoise.cli.quickstart import quickstart
from dynanoise.cli.serve import serve
from dynanoise.cli.show import budget, report, show
from dynanoise.cli.sweep import sweep
from dynanoise.cli.tune import tune

app = typer.Typer(
    name="dynanoise",
    cls=CommandGroup,
    help="Measure membership inference, and defend a trained model at answer time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(version("dynanoise"))
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Measure membership inference, and defend a trained model at answer time.

    Begin with `dynanoise quickstart`: it needs no data and no torch.
    """


COMMANDS: tuple[Command, ...] = (
    *(quickstart, audit, tune, configure, serve, export),
    *(bench, sweep, show, report, budget, demo, store.verify),
)
for _function in COMMANDS:
    command(app)(_function)
app.add_typer(key.app, name="key")
app.add_typer(store.app, name="store")
