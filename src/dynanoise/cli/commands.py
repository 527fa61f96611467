"""What the commands do: each runs a plan behind a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynanoise.benchmark.execution import How
from dynanoise.cli.terminal import progress_bar, put, size_of, writable, written
from dynanoise.core.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from dynanoise.benchmark.dry_run import Needed
    from dynanoise.benchmark.latency.overhead import OverheadPlan
    from dynanoise.benchmark.plan import Plan
    from dynanoise.benchmark.sweep import Sweep
    from dynanoise.core.evidence import Evidence
    from dynanoise.core.result import Result
    from dynanoise.data.dataset import Data
    from dynanoise.training.store.storage import Place
    from dynanoise.training.store.store import Store

StoreFolder = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|URL",
        help="Trained models: a folder, or an address that fsspec opens, such as "
        "s3://BUCKET/FOLDER. Default: models in the user's cache folder.",
    ),
]


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
    from dynanoise.benchmark.plan import Plan
    from dynanoise.core.registry import PRESETS

    own, data = None, None
    if model is not None or name not in PRESETS.names():
        from dynanoise.benchmark.own_data import own_preset

        own, data = own_preset(name, model, folder)
    preset = own or PRESETS.get(name)
    if quick:
        seeds = 1 if seeds is None else seeds
        size = "quick" if "quick" in preset.sizes else None
    return Plan(name, 3 if seeds is None else seeds, size, model=model, own=own, **choices), data


def store_folder(told: str | None) -> Place | None:
    """Where trained models are: as told, or in the user's cache; None without a home.

    Raises:
        InputError: for an address that names no bucket, or holds a secret.
    """
    from dynanoise.training.store.storage import place

    if told is not None:
        return place(told)
    from dynanoise.data.cache import folder

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
    how: How,
) -> Evidence:
    """Runs a plan behind a progress bar.

    Args:
        plan: what to run.
        data: where they are loaded already.
        out: folder that must be writable, or None.
        folder: where data sets are looked for first.
        how: and where to train.

    Returns:
        Its results, and what stands behind them where a pool was judged.
    """
    from dynanoise.benchmark.benchmark import bench
    from dynanoise.evaluation.evidence import Gatherer

    gathered = Gatherer()
    options: dict[str, Any] = {
        "data": data,
        "folder": folder,
        "store": how.store,
        "workers": how.processes(plan),
        "executor": how.executor(),
    }
    seeds = f"{plan.seeds} seed{'' if plan.seeds == 1 else 's'}"
    with _at_work(f"{plan.name}, {seeds}", plan.steps, out) as advance:
        return gathered.evidence(list(bench(plan, advance, keep=gathered, **options)))


def needed(plan: Plan, data: Data | None, folder: Path | None, store: Place | None) -> list[Needed]:
    """The models that a plan needs, see `benchmark.dry_run`."""
    from dynanoise.benchmark.dry_run import dry_run

    return list(dry_run(plan, data=data, folder=folder, store=store))


def run_overhead(
    plan: OverheadPlan, *, out: Path | None, folder: Path | None, store: Place | None
) -> list[Result]:
    """Times a plan's methods behind a progress bar."""
    from dynanoise.benchmark.latency.overhead import overhead

    with _at_work(f"overhead on {plan.on}", plan.steps, out) as advance:
        return overhead(plan, advance, folder=folder, store=store)


@contextmanager
def _at_work(title: str, steps: int, out: Path | None) -> Iterator[Callable[[str], None]]:
    """A progress bar around work whose result goes into a folder that must be writable."""
    if out is not None:
        writable(out)
    try:
        with progress_bar(title, steps) as advance:
            yield advance
    except KeyboardInterrupt:
        if out is not None:
            typer.echo("No result was written.", err=True)
        raise


def run_sweep(plan: Sweep, *, out: Path | None, data: Path | None, store: str | None) -> bool:
    """Runs a sweep, prints its CSV and writes its files; False if they could not be written."""
    from dynanoise.benchmark.sweep import sweep
    from dynanoise.report.io.results import to_json
    from dynanoise.report.sweep import sweep_csv, sweep_plot

    kept = store_folder(store)
    if kept is None:
        raise InputError("There is no store to sweep over.", "Pass its folder to --store.")
    with _at_work(f"{plan.parameter} on {plan.preset}", plan.plan.steps, out) as advance:
        records = list(sweep(plan, advance, folder=data, store=kept))
    text = sweep_csv(records)
    typer.echo(text, nl=False)
    if out is None:
        return True
    files = {"sweep.csv": text.encode(), "results.json": to_json(records).encode()}
    return written(files, out, "sweep.svg", lambda: sweep_plot(records))


def report(folder: Path) -> bool:
    """Makes the reports of a folder again, from its files; False if they could not be written.

    Raises:
        ResultsFileError: if the folder holds no results, or samples of others.
        MissingExtraError: without matplotlib; report.md is written all the same.
    """
    from dynanoise.report.io.samples import load
    from dynanoise.report.render.html import report_html
    from dynanoise.report.render.markdown import report_md

    evidence = load(folder)
    short = put({"report.md": report_md(evidence).encode()}, folder)
    return short and put({"report.html": report_html(evidence).encode()}, folder)


def list_store(folder: str | None) -> None:
    """A line for each stored model, and their sum."""
    store = _store(folder)
    import datetime

    total = 0
    for entry in store.entries():
        about = entry.description
        made = datetime.datetime.fromtimestamp(entry.made).strftime("%Y-%m-%d %H:%M")
        recipe = str(about.get("recipe", {}).get("name", "")).rsplit(".", 1)[-1]
        what = f"{about.get('data set')} {about.get('job')} {recipe}"
        typer.echo(f"{entry.key[:12]}  {size_of(entry.size):>9}  {made}  {what}")
        total += entry.size
    typer.echo(f"{size_of(total)} in all.", err=True)


def remove_from_store(folder: str | None, keys: list[str] | None) -> None:
    """Removes the named models, all for None."""
    store = _store(folder)
    names = keys or [entry.key for entry in store.entries()]
    removed = store.remove(names)
    typer.echo(f"Removed {len(removed)} model{'' if len(removed) == 1 else 's'}.", err=True)


def _store(told: str | None) -> Store:
    folder = store_folder(told)
    if folder is None or (told is not None and isinstance(folder, Path) and not folder.is_dir()):
        raise InputError(f"{folder} is no folder.", "Pass the folder given to `bench --store`.")
    try:
        from dynanoise.training.store.store import Store
    except ImportError as error:
        raise MissingExtraError(
            "The store needs torch and safetensors, which are not installed.",
            "Install them with: pip install 'dynanoise[train]'",
        ) from error
    return Store(folder)
