"""What commands print and write: progress, tables, files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dynanoise.core.errors import DynaNoiseError, InputError, MissingExtraError

if TYPE_CHECKING:
    from dynanoise.benchmark.dry_run import Needed
    from dynanoise.core.evidence import Evidence
    from dynanoise.core.result import Result

WIDE = 140
"""Columns of output that no terminal shows."""

STALE = ("samples.npz", "report.html", "report.md")
"""What an earlier run may have left in a folder, and this one does not make."""


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
    from dynanoise.core.registry import PRESETS

    for name in PRESETS.names():
        try:
            description = PRESETS.get(name).description
        except DynaNoiseError as error:
            description = str(error)
        typer.echo(f"{name}: {description}")
    typer.echo("overhead: time and memory of every method's answers, on the preset of --on")


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


def saved(records: list[Result], out: Path, evidence: Evidence | None = None) -> bool:
    """Writes results, what stands behind them and reports of both; True if all were written.

    Args:
        records: of a run.
        out: folder.
        evidence: of the same run; without samples there is no report of them.
    """
    from dynanoise.report.io.samples import files, samples_of
    from dynanoise.report.render.pages import page_of

    page = page_of(records)
    kept = samples_of(evidence)
    if kept is None:
        for name in STALE:
            _remove(out / name)  # they would show other results
    done = written(files(records, kept), out, page.picture_name, page.picture)
    if kept is None or not done:
        return done
    made = reports(kept)  # Whatever happens to them, the run is not lost.
    if "report.html" not in made:
        _remove(out / "report.html")
    return put(made, out)


def reports(evidence: Evidence) -> dict[str, bytes]:
    """report.md, and report.html where matplotlib is installed."""
    from dynanoise.report.render.html import report_html
    from dynanoise.report.render.markdown import report_md

    made = {"report.md": report_md(evidence).encode()}
    try:
        made["report.html"] = report_html(evidence).encode()
    except MissingExtraError as error:
        typer.echo(f"No report.html: {error}", err=True)
    return made


def written(
    files: dict[str, bytes],
    out: Path,
    picture: str | None = None,
    draw: Callable[[], bytes] | None = None,
) -> bool:
    """Writes files and a picture, if it can be drawn, into a folder; True if all were written."""
    try:
        if picture is not None and draw is not None:
            files[picture] = draw()
    except MissingExtraError as error:
        typer.echo(f"No picture: {error}", err=True)
    if picture is not None and picture not in files:
        _remove(out / picture)  # it would show other results
    return put(files, out)


def put(files: dict[str, bytes], out: Path) -> bool:
    """Writes files into a folder and says so; False if one could not be written."""
    from dynanoise.core.files import write_atomically

    try:
        for name, content in files.items():
            did = "Replaced" if (out / name).exists() else "Wrote"
            write_atomically(out / name, content)
            typer.echo(f"{did} {out / name}.", err=True)
    except OSError as error:
        typer.echo(f"Error: {out} could not be written ({error.strerror}).", err=True)
        return False
    return True


def _remove(path: Path) -> None:
    # A folder of that name is the user's; writing will say so if it is in the way.
    with suppress(OSError):
        path.unlink(missing_ok=True)


@contextmanager
def logged(path: Path | None) -> Iterator[None]:
    """What the package logs inside, added to a file; nothing for None.

    Raises:
        InputError: if the file cannot be written.
    """
    if path is None:
        yield
        return
    import logging

    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}).", "Pass another file to --log."
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("dynanoise")
    before = logger.level
    logger.setLevel(logging.INFO)
    # Without this a logger that has a handler shows warnings nowhere else.
    handlers = [handler, *filter(None, [logging.lastResort])]
    for one in handlers:
        logger.addHandler(one)
    try:
        yield
    finally:
        for one in handlers:
            logger.removeHandler(one)
        logger.setLevel(before)
        handler.close()


def show_needed(rows: Sequence[Needed], as_json: bool) -> None:
    """Print the models that a plan needs, with their sum."""
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("models for", "needed", "stored", "disk")
    for row in rows:
        table.add_row(row.kind, str(row.models), str(row.stored), size_of(row.size))
    models, stored = sum(row.models for row in rows), sum(row.stored for row in rows)
    table.add_row("all", str(models), str(stored), size_of(sum(row.size for row in rows)))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)
    typer.echo("Disk space is that of the models that are not stored. Nothing was stored.")


def size_of(count: float) -> str:
    """Bytes for people.

    >>> size_of(1536), size_of(3 * 2**30)
    ('1.5 KiB', '3.0 GiB')
    """
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def show_attacks(records: list[Result], metric: str, markdown: bool) -> None:
    """Prints one metric of every attack, as tables or as Markdown."""
    from dynanoise.report import by_attack

    rows = by_attack.by_attack(records, metric)
    if markdown:
        typer.echo(by_attack.markdown(rows, metric))
        return
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else WIDE)
    for table in by_attack.tables(rows, metric):
        console.print(table)


def show(records: list[Result], as_json: bool, markdown: bool = False) -> None:
    """Prints results as tables with their sentences, as JSON or as Markdown."""
    from dynanoise.report.io.results import to_json
    from dynanoise.report.render.pages import page_of

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
    for table in page.tables(console.width):
        console.print(table)
        console.print()
    caption = " ".join(filter(None, [page.brackets, page.caption]))
    console.print(caption, style="dim", highlight=False, markup=False)
    bullets = Table.grid(padding=(0, 1, 0, 0))
    for sentence in page.sentences:
        bullets.add_row("•", sentence)
    console.print(bullets, highlight=False, markup=False)
