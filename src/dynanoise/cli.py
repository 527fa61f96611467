"""The command line: argument parsing only. Everything heavy is imported where it is used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynanoise.errors import DynaNoiseError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from dynanoise.record import Record

app = typer.Typer(
    name="dynanoise",
    help="Membership inference: measure it, and defend a trained model at answer time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

_WIDE = 120
"""Columns of output that no terminal shows."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("dynanoise"))
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Membership inference: measure it, and defend a trained model at answer time."""


@app.command()
def bench(
    preset: Annotated[str | None, typer.Argument(help="What to run; see --list.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for records.json and a picture; made if it is not there."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Independent repetitions.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print Records, not a table.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Name the presets and stop.")] = False,
) -> None:
    """Train, attack and defend models on real data, and print what it gains and costs.

    Progress goes to standard error, the result to standard output.
    """
    with _friendly():
        if listed:
            _list_presets()
            return
        if preset is None:
            raise InputError("No preset was named.", "Name one; `dynanoise bench --list` has all.")
        _show(_run(preset, seeds, out), as_json)


@app.command()
def show(
    records: Annotated[Path, typer.Argument(help="A records.json that `bench --out` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print Records, not a table.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Print the table of an earlier run again."""
    with _friendly():
        from dynanoise.report.records import load

        loaded = load(records)
        if markdown:
            from dynanoise.report.findings import findings
            from dynanoise.report.summary import summarise
            from dynanoise.report.table import markdown_table

            summary = summarise(loaded)
            lines = [f"- {sentence}" for sentence in findings(summary)]
            typer.echo("\n".join([markdown_table(summary), "", *lines]))
        else:
            _show(loaded, as_json)


@contextmanager
def _friendly() -> Iterator[None]:
    """Errors on purpose become one sentence and exit code 2, Ctrl-C becomes 130."""
    try:
        yield
    except DynaNoiseError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted. No result was written.", err=True)
        raise typer.Exit(130) from None


def _list_presets() -> None:
    from dynanoise.registry import PRESETS

    for name in PRESETS.names():
        typer.echo(f"{name}: {PRESETS.get(name).description}")


def _run(preset: str, seeds: int, out: Path | None) -> list[Record]:
    """Runs the preset behind a progress bar and saves it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from dynanoise.audit.bench import bench as run
    from dynanoise.audit.bench import steps
    from dynanoise.registry import PRESETS

    total = steps(PRESETS.get(preset), seeds)
    if out is not None:
        _writable(out)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bars:
        bar = bars.add_task("importing", total=total)

        def advance(step: str) -> None:
            bars.update(bar, advance=1, description=step)

        records = list(run(preset, seeds, advance))
    if out is not None:
        _save(records, out)
    return records


def _writable(out: Path) -> None:
    """Finds out before the work, not after it, whether the folder can be written."""
    import tempfile

    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(
            f"{out} is not a folder that can be written ({error.strerror}).",
            "Pass another folder to --out.",
        ) from error


def _save(records: list[Record], out: Path) -> None:
    from dynanoise.errors import MissingExtraError
    from dynanoise.report.plots import success_plot
    from dynanoise.report.records import save, write_atomically
    from dynanoise.report.summary import summarise

    save(records, out / "records.json")
    written = ["records.json"]
    try:
        picture = success_plot(summarise(records))
    except MissingExtraError as error:
        typer.echo(f"No picture: {error}", err=True)
    else:
        write_atomically(out / "attack_success.svg", picture)
        written.append("attack_success.svg")
    typer.echo(f"Wrote {' and '.join(str(out / name) for name in written)}.", err=True)


def _show(records: list[Record], as_json: bool) -> None:
    from dynanoise.report.records import to_json

    if as_json:
        typer.echo(to_json(records), nl=False)
        return
    from rich.table import Table

    from dynanoise.report.findings import findings
    from dynanoise.report.summary import summarise
    from dynanoise.report.table import success_table

    console = _console()
    summary = summarise(records)
    console.print(success_table(summary))
    bullets = Table.grid(padding=(0, 1, 0, 0))
    for sentence in findings(summary):
        bullets.add_row("•", sentence)
    console.print(bullets, highlight=False, markup=False)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDE)
