"""`dynanoise show`, `report` and `budget`: results of an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynanoise.cli.exit_codes import ExitCode
from dynanoise.cli.output import terminal
from dynanoise.cli.output.folder import write_reports
from dynanoise.core.errors import InputError, UnknownNameError
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
    latex: Annotated[bool, Option("Print LaTeX tables, for the package booktabs.")] = False,
    as_csv: Annotated[
        bool,
        Option("Print CSV: a row for each metric of each result, with its interval.", flag="--csv"),
    ] = False,
    metric: Annotated[
        str | None,
        Option("Print this metric of every attack: asr, auc, tpr@0.001 or tpr@0.01."),
    ] = None,
) -> None:
    """Print the table of an earlier run.

    Examples:
        dynanoise show results/digits
        dynanoise show results/digits --metric auc
        dynanoise show audit --latex
    """
    from dynanoise.report.io.results import read_results
    from dynanoise.report.pages import build_page
    from dynanoise.report.render.latex import table_latex
    from dynanoise.report.render.markdown import captioned_markdown
    from dynanoise.report.tables.attack_table import attack_tables

    formats = {"--json": as_json, "--markdown": markdown, "--latex": latex, "--csv": as_csv}
    chosen = [flag for flag, enabled in formats.items() if enabled]
    if len(chosen) > 1:
        raise InputError(f"{' and '.join(chosen)} were given.", "Choose one of them.")
    path = results / _FILE if results.is_dir() else results
    if metric is not None and (as_json or as_csv):
        raise InputError(f"{chosen[0]} prints every metric.", "Leave out --metric.")
    measured = read_results(path)
    if as_csv:
        from dynanoise.report.frames import results_csv

        typer.echo(results_csv(measured), nl=False)
        return
    if metric is None and not latex:
        terminal.print_results(measured, as_json, markdown)
        return
    tables = attack_tables(measured, metric) if metric else build_page(measured).tables
    if latex:
        typer.echo("\n\n".join(map(table_latex, tables)))
        return
    if markdown:
        typer.echo(captioned_markdown(tables))
        return
    terminal.print_tables(tables)


def report(results: Results) -> None:
    """Write report.html and report.md of an earlier run into its folder; nothing is trained.

    report.html is one file that opens offline: leakage by attacker, the effect of a defense and its
    cost, then tables and charts. Without matplotlib it has the numbers of the charts alone.

    Examples:
        dynanoise report audit
    """
    from dynanoise.report.io.samples import read_evidence

    folder = results.parent if results.name == _FILE else results
    if not write_reports(read_evidence(folder), folder):
        raise typer.Exit(ExitCode.WRONG_USE)


def budget(
    results: Results,
    *,
    level: Annotated[
        float, Option("Greatest attack success that is accepted, from 0.5 (guessing) to 1.")
    ] = 0.6,
    records: Annotated[
        int, Option("Records a day on which one client may exceed that level.")
    ] = 10,
    defense: Annotated[
        str | None, Option("Method of the results to advise on. Default: all of them.")
    ] = None,
    metric: Annotated[str, Option("Measure of success: asr (balanced accuracy) or auc.")] = "asr",
) -> None:
    """Advise on the daily query budget of a client, from measured attack success.

    The results must hold an attacker who chooses inputs with several query budgets, as
    --protocol adaptive_chosen_Q of `dynanoise bench` measures it.

    Examples:
        dynanoise budget results/cifar10_chosen --defense calibrated_label --level 0.7
    """
    from dynanoise.report.io.results import read_results
    from dynanoise.report.query_budget import advise, curve_table, query_curves

    path = results / _FILE if results.is_dir() else results
    curves = query_curves(read_results(path), metric)
    if defense is not None:
        if defense not in curves:
            raise UnknownNameError(
                f"There is no curve of {defense!r}.", f"There are: {', '.join(curves)}."
            )
        curves = {defense: curves[defense]}
    sentences = [advise(curve, level, records) for curve in curves.values()]
    terminal.print_tables([curve_table(list(curves.values()))])
    typer.echo(
        "Attacker: black-box, knows the defense and its parameters (not the key), has shadow "
        "models, and chooses inputs within the budget. 95% intervals."
    )
    for sentence in sentences:
        typer.echo(f"- {sentence}")
