"""`dynanoise sweep`."""

from __future__ import annotations

import typer

from dynanoise.benchmark.execution import DataOption, StoreOption
from dynanoise.benchmark.options import SweepOptions
from dynanoise.cli.exit_codes import ExitCode
from dynanoise.cli.options import with_device
from dynanoise.cli.output import terminal
from dynanoise.cli.output.folder import Out, write_files
from dynanoise.cli.store import place_of
from dynanoise.core.errors import InputError


def sweep(
    options: SweepOptions, *, store: StoreOption = None, data: DataOption = None, out: Out = None
) -> None:
    """Vary one parameter of DynaNoise over stored models and print CSV; nothing is trained.

    --out writes sweep.csv, a picture and the results. Run `dynanoise bench PRESET` first.

    Examples:
        dynanoise sweep temperature digits --values 1,2,4,8
    """
    from dynanoise.benchmark.sweep import Sweep
    from dynanoise.benchmark.sweep import sweep as run
    from dynanoise.report.charts.parameter_lines import sweep_plot
    from dynanoise.report.io.results import to_json
    from dynanoise.report.render.csv_file import table_csv
    from dynanoise.report.tables.sweep_table import sweep_table

    plan = Sweep(**vars(with_device(options)))
    place = place_of(store)
    if place is None:
        raise InputError("There is no store to sweep over.", "Pass its folder to --store.")
    with terminal.working(f"{plan.parameter} on {plan.preset}", plan.plan.steps, out) as advance:
        results = list(run(plan, advance, folder=data, store=place))
    text = table_csv(sweep_table(results))
    typer.echo(text, nl=False)
    if out is None:
        return
    files = {"sweep.csv": text.encode(), "results.json": to_json(results).encode()}
    if not write_files(files, out, "sweep.svg", lambda: sweep_plot(results)):
        raise typer.Exit(ExitCode.WRONG_USE)
