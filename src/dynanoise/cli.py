"""The command line: argument parsing only. Everything heavy is imported where it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynanoise import terminal
from dynanoise.errors import InputError

app = typer.Typer(
    name="dynanoise",
    help="Membership inference: measure it, and defend a trained model at answer time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
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
    """Membership inference: measure it, and defend a trained model at answer time."""


@app.command()
def bench(
    context: typer.Context,
    preset: Annotated[
        str | None, typer.Argument(help="What to run; see --list. Or: overhead.")
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET", help="With overhead: whose answers to time. Default: cifar10."
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Folder for records.json and a picture; made if it is not there."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Independent repetitions.")] = 3,
    size: Annotated[
        str | None, typer.Option(help="How large; the preset's first size if not given.")
    ] = None,
    contender: Annotated[
        list[str] | None, typer.Option(help="A row to run; may be given again. Default: all.")
    ] = None,
    attack: Annotated[
        list[str] | None, typer.Option(help="A column to run; may be given again. Default: all.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to train, cpu or cuda.")] = "cpu",
    workers: Annotated[
        int, typer.Option(help="Models trained at once, each in a process of its own.")
    ] = 1,
    store: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that keeps trained models for the next run."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with the data sets, before other places."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print Records, not a table.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Name the presets and stop.")] = False,
) -> None:
    """Train, attack and defend models on real data, and print what it gains and costs.

    Progress goes to standard error, the result to standard output.
    """
    with terminal.friendly():
        if listed:
            terminal.list_presets()
            return
        if preset is None:
            raise InputError("No preset was named.", "Name one; `dynanoise bench --list` has all.")
        if out == "":
            raise InputError("--out is empty.", "Name a folder, or leave --out away.")
        if workers < 1:
            raise InputError(f"workers is {workers}.", "Use an integer of at least 1.")
        folder = None if out is None else Path(out)
        rows = tuple(contender or ())
        if preset == "overhead":
            _refuse(
                context,
                ("seeds", "attack", "workers"),
                "overhead trains one model and attacks nobody",
            )
            from dynanoise.audit.overhead import OverheadPlan

            timed = OverheadPlan(on or "cifar10", size, rows, device)
            records = terminal.run_overhead(timed, out=folder, data=data, store=store)
        else:
            _refuse(context, ("on",), f"{preset} is a preset itself")
            from dynanoise.audit.bench import Plan

            plan = Plan(preset, seeds, size, rows, tuple(attack or ()), device)
            records = terminal.run_plan(plan, out=folder, data=data, store=store, workers=workers)
        try:
            kept = folder is None or terminal.saved(records, folder)
        finally:
            terminal.show(records, as_json)
        if not kept:
            raise typer.Exit(1)


def _refuse(context: typer.Context, names: tuple[str, ...], why: str) -> None:
    """Says that a given option would do nothing."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(f"--{name} does not fit here: {why}.", "Leave it out.")


@app.command()
def show(
    records: Annotated[Path, typer.Argument(help="A records.json that `bench --out` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print Records, not a table.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Print the table of an earlier run again."""
    with terminal.friendly():
        from dynanoise.report.records import load

        terminal.show(load(records), as_json, markdown)


store_app = typer.Typer(help="Show and free stored models.", no_args_is_help=True)
app.add_typer(store_app, name="store")


@store_app.command("ls")
def store_ls(
    folder: Annotated[Path, typer.Argument(help="The folder given to `bench --store`.")],
) -> None:
    """List stored models: key, size, what for, when."""
    with terminal.friendly():
        terminal.list_store(folder)


@store_app.command("rm")
def store_rm(
    folder: Annotated[Path, typer.Argument(help="The folder given to `bench --store`.")],
    keys: Annotated[list[str] | None, typer.Argument(help="Keys, or their beginnings.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all of them.")] = False,
) -> None:
    """Remove stored models."""
    with terminal.friendly():
        if not keys and not everything:
            raise InputError("No model was named.", "Name keys, or pass --all.")
        terminal.remove_from_store(folder, keys)
