"""`dynanoise budget`: the query budget that measured results support."""

from __future__ import annotations

from typing import Annotated

import typer

from dynanoise.cli.output import terminal
from dynanoise.cli.show import RESULTS_FILE, Results
from dynanoise.core.errors import UnknownNameError
from dynanoise.core.options import Option


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
        dynanoise budget results/digits_queries --defense dynanoise_keyed --level 0.6
    """
    from dynanoise.report.io.results import read_results
    from dynanoise.report.query_budget import advise, curve_table, query_curves

    path = results / RESULTS_FILE if results.is_dir() else results
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
