"""Terminal output: progress and tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from dynanoise.core.result import Result
    from dynanoise.report.table import Table

WIDE = 140
"""Columns of output that goes to no terminal."""


@contextmanager
def working(title: str, steps: int, out: Path | None) -> Iterator[Callable[[str], None]]:
    """Show progress of work whose results go into a folder, which must be writable.

    Raises:
        InputError: if it is not.
    """
    from dynanoise.cli.output.folder import check_writable
    from dynanoise.report.progress import progress_bar

    if out is not None:
        check_writable(out)
    try:
        with progress_bar(title, steps) as advance:
            yield advance
    except KeyboardInterrupt:
        if out is not None:
            typer.echo("No result was written.", err=True)
        raise


def console() -> Console:
    """Console for standard output, wide where that is not a terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE)


def print_text(text: str) -> None:
    """Print sentences, broken between words where the terminal ends."""
    console().print(text, highlight=False, markup=False)


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables of results, an empty line below each."""
    from dynanoise.report.render.console import console_table

    stdout = console()
    for table in tables:
        stdout.print(console_table(table, stdout.width))
        stdout.print()


def print_results(
    results: list[Result], as_json: bool, markdown: bool = False, notes: Sequence[str] = ()
) -> None:
    """Print results as tables with their sentences, as JSON or as Markdown.

    Args:
        results: those of one run.
        as_json: print JSON, and notes on standard error.
        markdown: print Markdown.
        notes: further sentences.
    """
    from dynanoise.report.io.results import to_json
    from dynanoise.report.pages import build_page
    from dynanoise.report.wording.warnings import split_warnings

    if as_json:
        if warning := build_page(results).warning:
            typer.echo(warning, err=True)
        typer.echo(to_json(results), nl=False)
        for note in notes:
            typer.echo(note, err=True)
        return
    page = build_page(results)
    if markdown:
        lines = [page.headline, ""] if page.headline else []
        lines += [page.markdown, "", page.caption, ""]
        typer.echo("\n".join([*lines, *(f"- {sentence}" for sentence in page.sentences)]))
        return
    from rich.table import Table as Grid

    stdout = console()
    warnings, sentences = split_warnings((*page.sentences, *notes))
    for warning in warnings:
        stdout.print(warning, style="bold red", highlight=False, markup=False)
        stdout.print()
    if page.headline:
        stdout.print(page.headline, style="bold", highlight=False, markup=False)
        stdout.print()
    print_tables(page.tables)
    caption = " ".join(filter(None, [page.brackets, page.caption]))
    stdout.print(caption, style="dim", highlight=False, markup=False)
    bullets = Grid.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        bullets.add_row("•", sentence)
    stdout.print(bullets, highlight=False, markup=False)


def size_text(size: float) -> str:
    """Write a number of bytes for people.

    >>> size_text(1536), size_text(3 * 2**30)
    ('1.5 KiB', '3.0 GiB')
    """
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
