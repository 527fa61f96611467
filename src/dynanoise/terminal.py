"""What commands print and write: progress, tables, files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dynanoise.errors import DynaNoiseError, InputError, MissingExtraError

if TYPE_CHECKING:
    from dynanoise.audit.bench import Plan
    from dynanoise.audit.overhead import OverheadPlan
    from dynanoise.record import Record
    from dynanoise.training.store import Store

WIDE = 120
"""Columns of output that no terminal shows."""


@contextmanager
def friendly() -> Iterator[None]:
    """Errors on purpose become one sentence and exit code 2, Ctrl-C becomes 130."""
    try:
        yield
    except DynaNoiseError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        raise typer.Exit(130) from None


def list_presets() -> None:
    """A line for each preset."""
    from dynanoise.registry import PRESETS

    for name in PRESETS.names():
        try:
            description = PRESETS.get(name).description
        except DynaNoiseError as error:
            description = str(error)
        typer.echo(f"{name}: {description}")
    typer.echo("overhead: time and memory of every contender's answers, on the preset of --on")


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on standard error, or one line where that is no terminal; call the result each step."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    console = Console(stderr=True)
    hidden = not console.is_terminal or console.is_dumb_terminal
    if hidden:
        typer.echo(f"Running {title}: {total} steps.", err=True)
    with Progress(*columns, console=console, transient=True, disable=hidden) as bars:
        bar = bars.add_task("starting", total=total)
        yield lambda step: bars.update(bar, advance=1, description=f"done: {step}")


def run_plan(
    plan: Plan, *, out: Path | None, data: Path | None, store: Path | None, workers: int
) -> list[Record]:
    """Runs a plan behind a progress bar."""
    from dynanoise.audit.bench import bench

    if out is not None:
        writable(out)
    try:
        seeds = f"{plan.seeds} seed{'' if plan.seeds == 1 else 's'}"
        with progress_bar(f"{plan.name}, {seeds}", plan.steps) as advance:
            return list(bench(plan, advance, folder=data, store=store, workers=workers))
    except KeyboardInterrupt:
        if out is not None:
            typer.echo("No result was written.", err=True)
        raise


def run_overhead(
    plan: OverheadPlan, *, out: Path | None, data: Path | None, store: Path | None
) -> list[Record]:
    """Times a plan's contenders behind a progress bar."""
    from dynanoise.audit.overhead import overhead

    if out is not None:
        writable(out)
    try:
        with progress_bar(f"overhead on {plan.on}", plan.steps) as advance:
            return overhead(plan, advance, folder=data, store=store)
    except KeyboardInterrupt:
        if out is not None:
            typer.echo("No result was written.", err=True)
        raise


def writable(out: Path) -> None:
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


def saved(records: list[Record], out: Path) -> bool:
    """Writes records.json and, where matplotlib is installed, the picture beside it."""
    from dynanoise.files import write_atomically
    from dynanoise.report.pages import page_of
    from dynanoise.report.records import to_json

    files = {"records.json": to_json(records).encode()}
    page = page_of(records)
    try:
        files[page.picture_name] = page.picture()
    except MissingExtraError as error:
        typer.echo(f"No picture: {error}", err=True)
    try:
        if page.picture_name not in files:
            (out / page.picture_name).unlink(missing_ok=True)  # it would show other Records
        for name, content in files.items():
            did = "Replaced" if (out / name).exists() else "Wrote"
            write_atomically(out / name, content)
            typer.echo(f"{did} {out / name}.", err=True)
    except OSError as error:
        typer.echo(f"Error: {out} could not be written ({error.strerror}).", err=True)
        return False
    return True


def show(records: list[Record], as_json: bool, markdown: bool = False) -> None:
    """Prints Records as a table with its sentences, as JSON or as Markdown."""
    from dynanoise.report.pages import page_of
    from dynanoise.report.records import to_json

    if as_json:
        typer.echo(to_json(records), nl=False)
        return
    page = page_of(records)
    if markdown:
        lines = [page.markdown, "", page.caption, ""]
        typer.echo("\n".join([*lines, *(f"- {sentence}" for sentence in page.sentences)]))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else WIDE)
    console.print(page.table(console.width))
    console.print(page.caption, style="dim", highlight=False, markup=False)
    bullets = Table.grid(padding=(0, 1, 0, 0))
    for sentence in page.sentences:
        bullets.add_row("•", sentence)
    console.print(bullets, highlight=False, markup=False)


def list_store(folder: Path) -> None:
    """A line for each stored model, and their sum."""
    store = _store(folder)
    import datetime

    total = 0
    for entry in store.entries():
        about = entry.description
        made = datetime.datetime.fromtimestamp(entry.made).strftime("%Y-%m-%d %H:%M")
        recipe = str(about.get("recipe", {}).get("name", "")).rsplit(".", 1)[-1]
        what = f"{about.get('data set')} {about.get('job')} {recipe}"
        typer.echo(f"{entry.key[:12]}  {_size(entry.size):>9}  {made}  {what}")
        total += entry.size
    typer.echo(f"{_size(total)} in all.", err=True)


def remove_from_store(folder: Path, keys: list[str] | None) -> None:
    """Removes the named models, all for None."""
    store = _store(folder)
    names = keys or [entry.key for entry in store.entries()]
    removed = store.remove(names)
    typer.echo(f"Removed {len(removed)} model{'' if len(removed) == 1 else 's'}.", err=True)


def _store(folder: Path) -> Store:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder.", "Pass the folder given to `bench --store`.")
    try:
        from dynanoise.training.store import Store
    except ImportError as error:
        raise MissingExtraError(
            "The store needs torch and safetensors, which are not installed.",
            "Install them with: pip install 'dynanoise[train]'",
        ) from error
    return Store(folder)


def _size(count: float) -> str:
    """Bytes for people.

    >>> _size(1536), _size(3 * 2**30)
    ('1.5 KiB', '3.0 GiB')
    """
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
