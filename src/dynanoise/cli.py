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
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Membership inference: measure it, and defend a trained model at answer time."""


@app.command()
def bench(
    preset: Annotated[str | None, typer.Argument(help="What to run; see --list.")] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Folder for records.json and a picture; made if it is not there."
        ),
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
        if out == "":
            raise InputError("--out is empty.", "Name a folder, or leave --out away.")
        folder = None if out is None else Path(out)
        records = _run(preset, seeds, folder)
        try:
            saved = folder is None or _saved(records, folder)
        finally:
            _show(records, as_json)
        if not saved:
            raise typer.Exit(1)


@app.command()
def show(
    records: Annotated[Path, typer.Argument(help="A records.json that `bench --out` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print Records, not a table.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Print the table of an earlier run again."""
    with _friendly():
        from dynanoise.report.records import load

        _show(load(records), as_json, markdown)


@contextmanager
def _friendly() -> Iterator[None]:
    """Errors on purpose become one sentence and exit code 2, Ctrl-C becomes 130."""
    try:
        yield
    except DynaNoiseError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        raise typer.Exit(130) from None


def _list_presets() -> None:
    from dynanoise.registry import PRESETS

    for name in PRESETS.names():
        try:
            description = PRESETS.get(name).description
        except DynaNoiseError as error:
            description = str(error)
        typer.echo(f"{name}: {description}")


def _run(preset: str, seeds: int, out: Path | None) -> list[Record]:
    """Runs the preset behind a progress bar."""
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
    hidden = not console.is_terminal or console.is_dumb_terminal
    if hidden:
        typer.echo(f"Running {preset}: {seeds} seeds, {total} steps.", err=True)
    try:
        with Progress(*columns, console=console, transient=True, disable=hidden) as bars:
            bar = bars.add_task("training the first model", total=total)

            def advance(step: str) -> None:
                bars.update(bar, advance=1, description=f"done: {step}")

            return list(run(preset, seeds, advance))
    except KeyboardInterrupt:
        if out is not None:
            typer.echo("No result was written.", err=True)
        raise


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


def _saved(records: list[Record], out: Path) -> bool:
    """Writes records.json and, where matplotlib is installed, the picture beside it."""
    from dynanoise.errors import MissingExtraError
    from dynanoise.files import write_atomically
    from dynanoise.report.plots import success_plot
    from dynanoise.report.records import to_json
    from dynanoise.report.summary import summarise

    files = {"records.json": to_json(records).encode()}
    try:
        files["attack_success.svg"] = success_plot(summarise(records))
    except MissingExtraError as error:
        typer.echo(f"No picture: {error}", err=True)
    try:
        if "attack_success.svg" not in files:
            (out / "attack_success.svg").unlink(missing_ok=True)  # it would show other Records
        for name, content in files.items():
            did = "Replaced" if (out / name).exists() else "Wrote"
            write_atomically(out / name, content)
            typer.echo(f"{did} {out / name}.", err=True)
    except OSError as error:
        typer.echo(f"Error: {out} could not be written ({error.strerror}).", err=True)
        return False
    return True


def _show(records: list[Record], as_json: bool, markdown: bool = False) -> None:
    from dynanoise.report.findings import MIDPUT_NOTE, findings
    from dynanoise.report.records import to_json
    from dynanoise.report.summary import summarise
    from dynanoise.report.table import caption, markdown_table, success_table

    if as_json:
        typer.echo(to_json(records), nl=False)
        return
    summary = summarise(records)
    sentences = findings(summary)
    if markdown:
        lines = [markdown_table(summary), "", f"{caption(summary)} {MIDPUT_NOTE}", ""]
        typer.echo("\n".join([*lines, *(f"- {sentence}" for sentence in sentences)]))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    console.print(success_table(summary, console.width))
    console.print(f"{caption(summary)} {MIDPUT_NOTE}", style="dim", highlight=False, markup=False)
    bullets = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        bullets.add_row("•", sentence)
    console.print(bullets, highlight=False, markup=False)
