"""`dynanoise show` and `dynanoise report`: results of an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynanoise.cli import terminal
from dynanoise.cli.folder import write_files
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
    from dynanoise.report import by_attack
    from dynanoise.report.io.results import load

    path = results / _FILE if results.is_dir() else results
    if metric is None:
        terminal.print_results(load(path), as_json, markdown)
        return
    if as_json:
        raise InputError("--json prints every metric.", "Leave out --metric.")
    rows = by_attack.by_attack(load(path), metric)
    if markdown:
        typer.echo(by_attack.markdown(rows, metric))
        return
    stdout = terminal.console()
    for table in by_attack.tables(rows, metric):
        stdout.print(table)


def report(results: Results) -> None:
    """Write report.html and report.md of an earlier run into its folder; nothing is trained.

    report.html is one file that opens offline: leakage by attacker, the effect of a defense and its
    cost, then tables and charts. Charts need matplotlib.
    """
    from dynanoise.report.io.samples import load
    from dynanoise.report.render.html import report_html
    from dynanoise.report.render.markdown import report_md

    folder = results.parent if results.name == _FILE else results
    evidence = load(folder)
    # report.md first: report.html fails without matplotlib.
    written = write_files({"report.md": report_md(evidence).encode()}, folder)
    if not written or not write_files({"report.html": report_html(evidence).encode()}, folder):
        raise typer.Exit(1)
