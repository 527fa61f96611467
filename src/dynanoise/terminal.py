"""What commands print and write: progress, tables, files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dynanoise.errors import DynaNoiseError, InputError, MissingExtraError

if TYPE_CHECKING:
    from dynanoise.audit.plan import Plan
    from dynanoise.audit.sweep import Sweep
    from dynanoise.record import Record
    from dynanoise.training.data import Data
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


def folder_of(out: str | None) -> Path | None:
    """The folder that --out names."""
    if out == "":
        raise InputError("--out is empty.", "Name a folder, or leave --out away.")
    return None if out is None else Path(out)


def plan_of(
    name: str,
    model: str | None,
    folder: Path | None,
    *,
    quick: bool,
    seeds: int | None,
    size: str | None,
    **choices: Any,
) -> tuple[Plan, Data | None]:
    """What to run, and the data where they had to be loaded to find out.

    Args:
        name: a preset, or data of the user's own.
        model: to train instead of the usual one.
        folder: where data sets are looked for first.
        quick: the size "quick", where there is one, and one seed.
        seeds: None for the default.
        size: None for the default.
        choices: further arguments of `Plan`.
    """
    from dynanoise.audit.plan import Plan
    from dynanoise.registry import PRESETS

    own, data = None, None
    if model is not None or name not in PRESETS.names():
        from dynanoise.audit.own import own_preset

        own, data = own_preset(name, model, folder)
    preset = own or PRESETS.get(name)
    if quick:
        seeds = 1 if seeds is None else seeds
        size = "quick" if "quick" in preset.sizes else None
    return Plan(name, 3 if seeds is None else seeds, size, model=model, own=own, **choices), data


def store_folder(told: Path | None) -> Path | None:
    """The folder of trained models: as told, or in the user's cache; None without a home."""
    if told is not None:
        return told
    from dynanoise.training.cache import folder

    try:
        return folder() / "models"
    except RuntimeError:
        typer.echo("No home folder: trained models are not kept. See --store.", err=True)
        return None


def run_plan(
    plan: Plan,
    data: Data | None = None,
    *,
    out: Path | None,
    folder: Path | None,
    store: Path | None,
    workers: int | None,
) -> list[Record]:
    """Runs a plan behind a progress bar.

    Args:
        plan: what to run.
        data: where they are loaded already.
        out: folder that must be writable, or None.
        folder: where data sets are looked for first.
        store: folder of trained models, or None.
        workers: None for one where models are brief, else as many as cores allow.
    """
    from dynanoise.audit.bench import bench

    if out is not None:
        writable(out)
    if workers is None:
        alone = plan.preset.brief or plan.device != "cpu"
        workers = 1 if alone else max(1, cores() // plan.preset.threads)
    try:
        seeds = f"{plan.seeds} seed{'' if plan.seeds == 1 else 's'}"
        with progress_bar(f"{plan.name}, {seeds}", plan.steps) as advance:
            found = bench(plan, advance, data=data, folder=folder, store=store, workers=workers)
            return list(found)
    except KeyboardInterrupt:
        if out is not None:
            typer.echo("No result was written.", err=True)
        raise


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_sweep(plan: Sweep, *, out: Path | None, data: Path | None, store: Path | None) -> bool:
    """Runs a sweep, prints its CSV and writes its files; False if they could not be written."""
    from dynanoise.audit.sweep import sweep
    from dynanoise.report.records import to_json
    from dynanoise.report.sweep import sweep_csv, sweep_plot

    if out is not None:
        writable(out)
    kept = store_folder(store)
    if kept is None:
        raise InputError("There is no store to sweep over.", "Pass its folder to --store.")
    with progress_bar(f"{plan.parameter} on {plan.preset}", plan.plan.steps) as advance:
        records = list(sweep(plan, advance, folder=data, store=kept))
    text = sweep_csv(records)
    typer.echo(text, nl=False)
    if out is None:
        return True
    files = {"sweep.csv": text.encode(), "records.json": to_json(records).encode()}
    return _write(files, out, "sweep.svg", lambda: sweep_plot(records))


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
    from dynanoise.report.plots import success_plot
    from dynanoise.report.records import to_json
    from dynanoise.report.summary import summarise

    files = {"records.json": to_json(records).encode()}
    return _write(files, out, "attack_success.svg", lambda: success_plot(summarise(records)))


def _write(files: dict[str, bytes], out: Path, picture: str, draw: Callable[[], bytes]) -> bool:
    """Writes files and a picture, if it can be drawn, into a folder; True if all were written."""
    from dynanoise.files import write_atomically

    try:
        files[picture] = draw()
    except MissingExtraError as error:
        typer.echo(f"No picture: {error}", err=True)
    try:
        if picture not in files:
            (out / picture).unlink(missing_ok=True)  # it would show other Records
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

    console = Console(width=None if sys.stdout.isatty() else WIDE)
    console.print(success_table(summary, console.width))
    note = f"{caption(summary, beside=True)} {MIDPUT_NOTE}"
    console.print(note, style="dim", highlight=False, markup=False)
    bullets = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        bullets.add_row("•", sentence)
    console.print(bullets, highlight=False, markup=False)


def list_store(folder: Path | None) -> None:
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


def remove_from_store(folder: Path | None, keys: list[str] | None) -> None:
    """Removes the named models, all for None."""
    store = _store(folder)
    names = keys or [entry.key for entry in store.entries()]
    removed = store.remove(names)
    typer.echo(f"Removed {len(removed)} model{'' if len(removed) == 1 else 's'}.", err=True)


def _store(told: Path | None) -> Store:
    folder = store_folder(told)
    if folder is None or (told is not None and not folder.is_dir()):
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
