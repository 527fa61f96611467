"""`dynanoise bench`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynanoise.benchmark.execution import Execution
from dynanoise.benchmark.options import BenchOptions, OverheadOptions
from dynanoise.cli.exit_codes import ExitCode
from dynanoise.cli.options import refuse, with_device
from dynanoise.cli.output import terminal
from dynanoise.cli.output.folder import Out, write_results
from dynanoise.cli.store import place_of
from dynanoise.core.errors import DynaNoiseError, InputError
from dynanoise.core.files import writing
from dynanoise.core.options import Option
from dynanoise.core.result import OVERHEAD

if TYPE_CHECKING:
    from dynanoise.benchmark.dry_run import Needed
    from dynanoise.benchmark.plan import Plan
    from dynanoise.core.evidence import Evidence
    from dynanoise.core.result import Result
    from dynanoise.data.dataset import Data
    from dynanoise.training.store.storage import Place

_OF_TRAINING = ("executor", "address", "gpus_per_model", "workers")
_OF_PLANS = ("seeds", "model", "attacks", "protocols", "canaries")


def bench(
    options: BenchOptions,
    overhead: OverheadOptions,
    execution: Execution,
    *,
    quick: Annotated[
        bool, Option("Run for minutes instead of hours: --size quick, one seed.")
    ] = False,
    dry_run: Annotated[
        bool,
        Option("Print how many models are missing and the disk space they need; then stop."),
    ] = False,
    out: Out = None,
    log: Annotated[
        Path | None,
        Option(
            "File that gets a line for each model as it is trained: when, where, how long.",
            metavar="FILE",
        ),
    ] = None,
    as_json: Annotated[bool, Option("Print results as JSON.", flag="--json")] = False,
    listed: Annotated[bool, Option("List the presets and stop.", flag="--list")] = False,
) -> None:
    """Train, attack and defend models on real data, and print leakage and utility.

    Progress goes to standard error, the results to standard output. Trained models are stored: a
    run that was stopped continues, and answer-time defenses never train anything again.

    Examples:
        dynanoise bench digits --out out/digits
        dynanoise bench cifar10 --quick
        dynanoise bench patients.csv --defense 'dynanoise(temperature=4)'
        dynanoise bench digits --protocol adaptive --canaries 100
    """
    if listed:
        _list_presets()
        return
    place = None if execution.no_store else place_of(execution.store)
    evidence = None
    if options.name == OVERHEAD:
        why = "overhead trains one model and attacks nothing"
        refuse(options, _OF_PLANS, why)
        refuse(execution, _OF_TRAINING, why)
        if dry_run or log is not None:
            option = "--dry-run" if dry_run else "--log"
            raise InputError(f"{option} does not fit here: {why}.", "Leave it out.")
        overhead = with_device(overhead)
        results = _run_overhead(overhead, quick, execution.data, place, out)
    else:
        refuse(overhead, ("on",), f"{options.name} is a preset itself")
        if execution.executor == "local":
            refuse(execution, ("address", "gpus_per_model"), "it belongs to --executor ray")
        else:
            refuse(execution, ("workers",), "the cluster's cores and GPUs say how many models fit")
        from dynanoise.benchmark.plan import plan_of

        if execution.executor == "local":
            options = with_device(options)
        elif options.device == "auto":
            raise InputError(
                "--device auto does not fit a cluster: its nodes may differ.", "Name cpu or cuda."
            )
        plan, data = plan_of(options, quick=quick, folder=execution.data)
        if dry_run:
            from dynanoise.benchmark.dry_run import dry_run as count

            needed = list(count(plan, data=data, folder=execution.data, store=place))
            _print_needed(needed, as_json)
            return
        with _log_to(log):
            evidence = _run(plan, data, execution, place, out)
        results = list(evidence.results)
    try:
        written = out is None or write_results(results, out, evidence)
    finally:
        terminal.print_results(results, as_json)
    if not written:
        raise typer.Exit(ExitCode.WRONG_USE)


def _run(
    plan: Plan, data: Data | None, execution: Execution, place: Place | None, out: Path | None
) -> Evidence:
    """Run a plan behind a progress bar."""
    from dynanoise.benchmark.benchmark import bench as run
    from dynanoise.evaluation.evidence import Gatherer

    gathered = Gatherer()
    cluster = execution.cluster(place)
    seeds = f"{plan.seeds} seed{'' if plan.seeds == 1 else 's'}"
    with terminal.working(f"{plan.name}, {seeds}", plan.steps, out) as advance:
        results = run(
            plan,
            advance,
            data=data,
            folder=execution.data,
            store=place,
            workers=execution.processes(plan),
            executor=cluster,
            gatherer=gathered,
        )
        return gathered.evidence(list(results))


def _run_overhead(
    options: OverheadOptions,
    quick: bool,
    folder: Path | None,
    place: Place | None,
    out: Path | None,
) -> list[Result]:
    """Time a preset's methods behind a progress bar."""
    from dynanoise.benchmark.latency import overhead

    size = "quick" if quick else options.size
    plan = overhead.OverheadPlan(**{**vars(options), "size": size})
    with terminal.working(f"overhead on {plan.on}", plan.steps, out) as advance:
        return overhead.overhead(plan, advance, folder=folder, store=place)


def _list_presets() -> None:
    """Print a line for each preset, and for each data set without one."""
    from dynanoise.core.registry import DATASETS, PRESETS

    for name in PRESETS.names():
        try:
            description = PRESETS.get(name).description
        except DynaNoiseError as error:
            description = str(error)
        typer.echo(f"{name}: {description}")
    for name in DATASETS.names():
        if name not in PRESETS.names():
            typer.echo(f"{name}: a data set, with the usual model for its kind of data")
    typer.echo("overhead: time and memory of every method's predictions, on the preset of --on")


def _print_needed(rows: Sequence[Needed], as_json: bool) -> None:
    """Print the models that a plan needs, with their sum."""
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    from rich.table import Table

    table = Table("models for", "needed", "stored", "disk")
    for row in rows:
        table.add_row(row.kind, str(row.models), str(row.stored), terminal.size_text(row.size))
    models, stored, size = (
        sum(getattr(row, name) for row in rows) for name in ("models", "stored", "size")
    )
    table.add_row("all", str(models), str(stored), terminal.size_text(size))
    terminal.console().print(table)
    typer.echo("Disk space is that of the models that are not stored. Nothing was stored.")


@contextmanager
def _log_to(path: Path | None) -> Iterator[None]:
    """Add the package's log to a file; to none for None.

    Raises:
        InputError: if the file cannot be written.
    """
    if path is None:
        yield
        return
    import logging

    with writing(path, "Pass another file to --log."):
        handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("dynanoise")
    before = logger.level
    logger.setLevel(logging.INFO)
    # Without this a logger that has a handler shows warnings nowhere else.
    handlers = [handler, *filter(None, [logging.lastResort])]
    for each in handlers:
        logger.addHandler(each)
    try:
        yield
    finally:
        for each in handlers:
            logger.removeHandler(each)
        logger.setLevel(before)
        handler.close()
