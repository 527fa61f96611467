"""The command line: argument parsing only. Everything heavy is imported where it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynanoise.cli import audit, bench, commands, demo, export, key, serve, store, terminal, tune
from dynanoise.cli.bench import Attacks, DataFolder, Out, Size
from dynanoise.cli.commands import StoreFolder
from dynanoise.core.errors import InputError

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


app.command("bench")(bench.bench)


@app.command()
def sweep(
    parameter: Annotated[
        str, typer.Argument(help="base_variance, lambda_scale or temperature of DynaNoise.")
    ],
    preset: Annotated[
        str, typer.Argument(help="Whose stored models; see bench --list.")
    ] = "digits",
    values: Annotated[
        str | None,
        typer.Option(help="Separated by commas. Default: the paper's, and the controls."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Repetitions that are stored.")] = 3,
    size: Size = None,
    attack: Attacks = None,
    device: Annotated[str, typer.Option(help="Where the models were trained.")] = "cpu",
    store: StoreFolder = None,
    data: DataFolder = None,
    out: Out = None,
) -> None:
    """Vary one parameter of DynaNoise over stored models and print CSV; nothing is trained.

    --out writes sweep.csv, a picture and the results. Run `dynanoise bench PRESET` first.
    """
    with terminal.friendly():
        folder = terminal.folder_of(out)
        from dynanoise.benchmark.sweep import Sweep, numbers

        plan = Sweep(
            parameter,
            preset,
            None if values is None else numbers(values),
            seeds,
            size,
            tuple(attack or ()),
            device,
        )
        if not commands.run_sweep(plan, out=folder, data=data, store=store):
            raise typer.Exit(1)


app.command("audit")(audit.audit)
app.command("tune")(tune.tune)
app.command("export")(export.export)
app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.add_typer(key.app, name="key")
app.add_typer(store.app, name="store")


@app.command()
def show(
    records: Annotated[Path, typer.Argument(help="A results.json that `bench --out` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print results, not a table.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    metric: Annotated[
        str | None,
        typer.Option(help="Print every attack in one metric: asr, auc, tpr@0.001, tpr@0.01."),
    ] = None,
) -> None:
    """Print the table of an earlier run again."""
    with terminal.friendly():
        from dynanoise.report.io.results import load

        if metric is None:
            terminal.show(load(records), as_json, markdown)
        elif as_json:
            raise InputError("--json prints every metric.", "Leave out --metric.")
        else:
            terminal.show_attacks(load(records), metric, markdown)


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that bench or audit wrote with --out.")
    ],
) -> None:
    """Write report.html and report.md of an earlier run into its folder; nothing is trained.

    report.html is one file that opens offline: what leaks, to whom, what a defense changes and
    costs, then tables and charts. Charts need matplotlib.
    """
    with terminal.friendly():
        if not commands.report(folder):
            raise typer.Exit(1)
