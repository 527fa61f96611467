"""The folder of --out: results, pictures and reports, whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynanoise.core.errors import InputError, MissingExtraError
from dynanoise.core.options import Option

if TYPE_CHECKING:
    from dynanoise.core.evidence import Evidence
    from dynanoise.core.result import Result

_STALE = ("samples.npz", "report.html", "report.md")
"""Files of an earlier run that a run without samples does not replace."""


def read_folder(text: str) -> Path:
    """Read the value of --out.

    Raises:
        InputError: if it is empty.
    """
    if not text:
        raise InputError("--out is empty.", "Name a folder, or leave --out away.")
    return Path(text)


Out = Annotated[
    Path | None,
    Option(
        "Folder to write results and reports into; made if it is not there.",
        metavar="DIR",
        read=read_folder,
    ),
]


def check_writable(out: Path, option: str = "--out") -> None:
    """Raise before the work, not after it, if a folder cannot be written.

    Args:
        out: the folder; made if it is not there.
        option: name of the option that names it or a file in it.

    Raises:
        InputError: naming the reason.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(
            f"{out} is not a folder that can be written ({error.strerror}).",
            f"Pass another folder to {option}.",
        ) from error


def write_results(results: list[Result], out: Path, evidence: Evidence | None = None) -> bool:
    """Write results, the evidence behind them and reports of both.

    Args:
        results: results of a run.
        out: the folder.
        evidence: evidence of the same run; without samples there is no report of it.

    Returns:
        True if all files were written.
    """
    from dynanoise.report.io.samples import encode_run, has_samples
    from dynanoise.report.pages import build_page

    page = build_page(results)
    if not has_samples(evidence):
        for name in _STALE:
            _remove(out / name)  # they would show other results
    files = encode_run(results, evidence)
    written = write_files(files, out, page.picture_name, page.picture)
    if not has_samples(evidence) or not written:
        return written
    return write_reports(evidence, out)  # Whatever happens to them, the run is not lost.


def write_reports(evidence: Evidence, out: Path) -> bool:
    """Write report.md and report.html, without charts where there is no matplotlib.

    Args:
        evidence: evidence of a run.
        out: the folder.

    Returns:
        True if both were written.
    """
    from dynanoise.report.evidence_report import build_report
    from dynanoise.report.render.html import missing_charts, render_html
    from dynanoise.report.render.markdown import render_markdown

    document = build_report(evidence)
    reports = {"report.md": render_markdown(document), "report.html": render_html(document)}
    note = missing_charts()
    if note is not None:
        typer.echo(f"report.html: {note}", err=True)
    return write_files({name: text.encode() for name, text in reports.items()}, out)


def write_files(
    files: dict[str, bytes],
    out: Path,
    picture: str | None = None,
    draw: Callable[[], bytes] | None = None,
) -> bool:
    """Write files into a folder, and a picture if it can be drawn.

    Args:
        files: contents by name.
        out: the folder.
        picture: name of the picture.
        draw: draws it; MissingExtraError if there is no library for that.

    Returns:
        True if all of ``files`` were written.
    """
    from dynanoise.core.files import write_atomically

    contents = dict(files)
    if picture is not None and draw is not None:
        try:
            contents[picture] = draw()
        except MissingExtraError as error:
            typer.echo(f"No picture: {error}", err=True)
            _remove(out / picture)  # it would show other results
    try:
        for name, content in contents.items():
            verb = "Replaced" if (out / name).exists() else "Wrote"
            write_atomically(out / name, content)
            typer.echo(f"{verb} {out / name}.", err=True)
    except OSError as error:
        typer.echo(f"Error: {out} could not be written ({error.strerror}).", err=True)
        return False
    return True


def _remove(path: Path) -> None:
    # A folder of that name is the user's; writing will say so if it is in the way.
    with suppress(OSError):
        path.unlink(missing_ok=True)
