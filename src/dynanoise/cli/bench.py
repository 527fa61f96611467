"""The command `dynanoise bench`: its arguments, and what it runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dynanoise.benchmark.execution import Cluster, How
from dynanoise.cli import commands, terminal
from dynanoise.cli.commands import StoreFolder
from dynanoise.core.errors import InputError

Out = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Folder for the files it writes; made if it is not there."),
]
Size = Annotated[
    str | None,
    typer.Option(help="How large: cpu, paper or quick; the preset's first size if not given."),
]
Attacks = Annotated[
    list[str] | None, typer.Option(help="A column to run; may be given again. Default: all.")
]
Device = Annotated[str, typer.Option(help="Where to train, cpu or cuda.")]
DataFolder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder with the data sets, before other places."),
]


class Executors(StrEnum):
    """Who trains."""

    local = "local"
    ray = "ray"


def bench(
    context: typer.Context,
    preset: Annotated[
        str | None,
        typer.Argument(
            metavar="PRESET|DATA",
            help="What to run; see --list. Or data of your own: a table (npz, csv, parquet), a "
            "folder of images or of parquet files, hub:OWNER/NAME. Or: overhead.",
        ),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET", help="With overhead: whose answers to time. Default: cifar10."
        ),
    ] = None,
    out: Out = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="What to train: mlp, cnn, alexnet, text or hf:NAME_OR_FOLDER. Default: the "
            "preset's, or what fits the data."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Independent repetitions. Default: 3, with --quick 1.")
    ] = None,
    size: Size = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Minutes instead of hours: --size quick, one seed.")
    ] = False,
    method: Annotated[
        list[str] | None,
        typer.Option("--defense", help="A row to run; may be given again. Default: all."),
    ] = None,
    attack: Attacks = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="paper, adaptive or adaptive_16; may be given again. Default: all."),
    ] = None,
    canaries: Annotated[
        int,
        typer.Option(
            help="Records of the pool to mislabel or to mix with others, half each: those that "
            "leak most. Without the paper's protocol. Default: none.",
            show_default=False,
        ),
    ] = 0,
    device: Device = "cpu",
    workers: Annotated[
        int | None,
        typer.Option(
            help="Models trained at once, each in a process of its own. Default: as many as there "
            "are cores, one where models train in a second."
        ),
    ] = None,
    executor: Annotated[
        Executors,
        typer.Option(help="Who trains: processes of this machine, or the nodes of a Ray cluster."),
    ] = Executors.local,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Head node of the Ray cluster. Default: RAY_ADDRESS, a cluster that runs on this "
            "machine, or one that is started here for the run.",
        ),
    ] = None,
    gpus_per_model: Annotated[
        float | None,
        typer.Option(
            help="Of a Ray node's GPU for each model: 0.25 trains four at once on it, if its "
            "memory is large enough. Default: 1 with --device cuda."
        ),
    ] = None,
    store: StoreFolder = None,
    no_store: Annotated[
        bool, typer.Option("--no-store", help="Keep no models and use no stored ones.")
    ] = False,
    data: DataFolder = None,
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Adds a line for each model as it is trained: when, where, how long.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print how many models are missing and the disk space they need; then stop.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results, not a table.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Name the presets and stop.")] = False,
) -> None:
    """Train, attack and defend models on real data, and print what it gains and costs.

    Progress goes to standard error, the result to standard output. Trained models are kept: a run
    that was stopped goes on where it was, and answer-time defenses never train anything again.
    """
    with terminal.friendly():
        if listed:
            terminal.list_presets()
            return
        if preset is None:
            raise InputError("No preset was named.", "Name one; `dynanoise bench --list` has all.")
        if workers is not None and workers < 1:
            raise InputError(f"workers is {workers}.", "Use an integer of at least 1.")
        if quick and size is not None:
            raise InputError(f"Both --quick and --size {size} were given.", "Leave one away.")
        if no_store and store is not None:
            raise InputError("Both --store and --no-store were given.", "Leave one away.")
        cluster = _cluster(context, executor, address, gpus_per_model)
        folder = terminal.folder_of(out)
        kept = None if no_store else commands.store_folder(store)
        evidence = None
        if preset == "overhead":
            _refuse(
                context,
                (*("seeds", "attack", "protocol", "canaries", "workers", "model"), *ELSEWHERE),
                "overhead trains one model and attacks nobody",
            )
            from dynanoise.benchmark.latency.overhead import OverheadPlan

            chosen = "quick" if quick else size
            timed = OverheadPlan(on or "cifar10", chosen, tuple(method or ()), device)
            records = commands.run_overhead(timed, out=folder, folder=data, store=kept)
        else:
            _refuse(context, ("on",), f"{preset} is a preset itself")
            plan, loaded = commands.plan_of(
                preset,
                model,
                data,
                quick=quick,
                seeds=seeds,
                size=size,
                methods=tuple(method or ()),
                attacks=tuple(attack or ()),
                protocols=tuple(protocol or ()),
                device=device,
                canaries=canaries,
            )
            how = How(kept, workers, cluster)
            if dry_run:
                terminal.show_needed(commands.needed(plan, loaded, data, kept), as_json)
                return
            with terminal.logged(log):
                evidence = commands.run_plan(plan, loaded, out=folder, folder=data, how=how)
            records = list(evidence.records)
        try:
            written = folder is None or terminal.saved(records, folder, evidence)
        finally:
            terminal.show(records, as_json)
        if not written:
            raise typer.Exit(1)


ELSEWHERE = ("executor", "address", "gpus_per_model", "dry_run", "log")
"""Options of where models are trained."""


def _cluster(
    context: typer.Context, executor: Executors, address: str | None, gpus: float | None
) -> Cluster | None:
    """The cluster that was asked for, after a look whether it can be used; None for none."""
    if executor is Executors.local:
        _refuse(context, ("address", "gpus_per_model"), "it belongs to --executor ray")
        return None
    _refuse(context, ("workers",), "the cluster's cores and GPUs say how many models fit")
    return Cluster(address, gpus)


def _refuse(context: typer.Context, names: tuple[str, ...], why: str) -> None:
    """Says that a given option would do nothing."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = name.replace("_", "-")
            raise InputError(f"--{option} does not fit here: {why}.", "Leave it out.")
