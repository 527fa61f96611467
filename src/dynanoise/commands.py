"""What the commands do: each runs a plan behind a progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dynanoise.errors import InputError, MissingExtraError
from dynanoise.terminal import progress_bar, put, writable, written

if TYPE_CHECKING:
    from dynanoise.audit.overhead import OverheadPlan
    from dynanoise.audit.plan import Plan
    from dynanoise.audit.sweep import Sweep
    from dynanoise.evidence import Evidence
    from dynanoise.record import Record
    from dynanoise.training.data import Data
    from dynanoise.training.store import Store


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
    from dynanoise.audit.plan import Plan
    from dynanoise.registry import PRESETS

    own, data = None, None
    if model is not None or name not in PRESETS.names():
        from dynanoise.audit.own import own_preset

        own, data = own_preset(name, model, folder)
    preset = own or PRESETS.get(name)
    if quick:
        seeds = 1 if seeds is None else seeds
        size = "quick" if "quick" in preset.sizes else None
    return Plan(name, 3 if seeds is None else seeds, size, model=model, own=own, **choices), data


def store_folder(told: Path | None) -> Path | None:
    """The folder of trained models: as told, or in the user's cache; None without a home."""
    if told is not None:
        return told
    from dynanoise.training.cache import folder

    try:
        return folder() / "models"
    except RuntimeError:
        typer.echo("No home folder: trained models are not kept. See --store.", err=True)
        return None


_FEW = 32
"""Brief models that are trained before other processes have started."""


def run_plan(
    plan: Plan,
    data: Data | None = None,
    *,
    out: Path | None,
    folder: Path | None,
    store: Path | None,
    workers: int | None,
) -> Evidence:
    """Runs a plan behind a progress bar.

    Args:
        plan: what to run.
        data: where they are loaded already.
        out: folder that must be writable, or None.
        folder: where data sets are looked for first.
        store: folder of trained models, or None.
        workers: None for one where a few brief models are trained, else as many as cores allow.

    Returns:
        Its Records, and what stands behind them where a pool was judged.
    """
    from dynanoise.audit.bench import bench
    from dynanoise.audit.evidence import Gatherer

    if workers is None:
        alone = (plan.preset.brief and plan.trained <= _FEW) or plan.device != "cpu"
        workers = 1 if alone else max(1, cores() // plan.preset.threads)
    gathered = Gatherer()
    options: dict[str, Any] = {"data": data, "folder": folder, "store": store, "workers": workers}
    seeds = f"{plan.seeds} seed{'' if plan.seeds == 1 else 's'}"
    with _at_work(f"{plan.name}, {seeds}", plan.steps, out) as advance:
        return gathered.evidence(list(bench(plan, advance, keep=gathered, **options)))


def run_overhead(
    plan: OverheadPlan, *, out: Path | None, folder: Path | None, store: Path | None
) -> list[Record]:
    """Times a plan's contenders behind a progress bar."""
    from dynanoise.audit.overhead import overhead

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


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_sweep(plan: Sweep, *, out: Path | None, data: Path | None, store: Path | None) -> bool:
    """Runs a sweep, prints its CSV and writes its files; False if they could not be written."""
    from dynanoise.audit.sweep import sweep
    from dynanoise.report.records import to_json
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
    files = {"sweep.csv": text.encode(), "records.json": to_json(records).encode()}
    return written(files, out, "sweep.svg", lambda: sweep_plot(records))


def report(folder: Path) -> bool:
    """Makes the reports of a folder again, from its files; False if they could not be written.

    Raises:
        RecordsFileError: if the folder holds no Records, or samples of others.
        MissingExtraError: without matplotlib; report.md is written all the same.
    """
    from dynanoise.report.evidence import load
    from dynanoise.report.html import report_html
    from dynanoise.report.markdown import report_md

    evidence = load(folder)
    short = put({"report.md": report_md(evidence).encode()}, folder)
    return short and put({"report.html": report_html(evidence).encode()}, folder)


def list_store(folder: Path | None) -> None:
    """A line for each stored model, and their sum."""
    store = _store(folder)
    import datetime

    total = 0
    for entry in store.entries():
        about = entry.description
        made = datetime.datetime.fromtimestamp(entry.made).strftime("%Y-%m-%d %H:%M")
        recipe = str(about.get("recipe", {}).get("name", "")).rsplit(".", 1)[-1]
        what = f"{about.get('data set')} {about.get('job')} {recipe}"
        typer.echo(f"{entry.key[:12]}  {_size(entry.size):>9}  {made}  {what}")
        total += entry.size
    typer.echo(f"{_size(total)} in all.", err=True)


def remove_from_store(folder: Path | None, keys: list[str] | None) -> None:
    """Removes the named models, all for None."""
    store = _store(folder)
    names = keys or [entry.key for entry in store.entries()]
    removed = store.remove(names)
    typer.echo(f"Removed {len(removed)} model{'' if len(removed) == 1 else 's'}.", err=True)


def _store(told: Path | None) -> Store:
    folder = store_folder(told)
    if folder is None or (told is not None and not folder.is_dir()):
        raise InputError(f"{folder} is no folder.", "Pass the folder given to `bench --store`.")
    try:
        from dynanoise.training.store import Store
    except ImportError as error:
        raise MissingExtraError(
            "The store needs torch and safetensors, which are not installed.",
            "Install them with: pip install 'dynanoise[train]'",
        ) from error
    return Store(folder)


def _size(count: float) -> str:
    """Bytes for people.

    >>> _size(1536), _size(3 * 2**30)
    ('1.5 KiB', '3.0 GiB')
    """
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
