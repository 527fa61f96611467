"""`dynanoise show` and `dynanoise report`: results of an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynanoise.cli import terminal
from dynanoise.cli.exit_codes import ExitCode
from dynanoise.cli.folder import write_reports
from dynanoise.core.errors import InputError
from dynanoise.core.options import Option

Results = Annotated[
    Path,
    Option(
        "Folder that bench, audit or tune wrote with --out, or its results.json.",
        metavar="RESULTS",
        argument=True,
    ),
]
_FILE = "results.json"


def show(
    results: Results,
    *,
    as_json: Annotated[bool, Option("Print results as JSON.", flag="--json")] = False,
    markdown: Annotated[bool, Option("Print Markdown.")] = False,
    metric: Annotated[
        str | None,
        Option("Print this metric of every attack: asr, auc, tpr@0.001 or tpr@0.01."),
    ] = None,
) -> None:
    """Print the table of an earlier run."""
    from dynanoise.report.io.results import read_results
    from dynanoise.report.render.markdown import captioned_markdown
    from dynanoise.report.tables.attack_table import attack_tables

    path = results / _FILE if results.is_dir() else results
    if metric is None:
        terminal.print_results(read_results(path), as_json, markdown)
        return
    if as_json:
        raise InputError("--json prints every metric.", "Leave out --metric.")
    tables = attack_tables(read_results(path), metric)
    if markdown:
        typer.echo(captioned_markdown(tables))
        return
    terminal.print_tables(tables)


def report(results: Results) -> None:
    """Write report.html and report.md of an earlier run into its folder; nothing is trained.

    report.html is one file that opens offline: leakage by attacker, the effect of a defense and its
    cost, then tables and charts. Without matplotlib it has the numbers of the charts alone.
    """
    from dynanoise.report.io.samples import read_evidence

    folder = results.parent if results.name == _FILE else results
    if not write_reports(read_evidence(folder), folder):
        raise typer.Exit(ExitCode.WRONG_USE)
