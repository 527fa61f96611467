"""The command line: argument parsing only. Everything heavy is imported where it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynanoise import (
    audit_command,
    commands,
    export_command,
    key_command,
    serve_command,
    site_command,
    store_command,
    terminal,
    tune_command,
)
from dynanoise.errors import InputError
from dynanoise.store_command import StoreFolder

app = typer.Typer(
    name="dynanoise",
    help="Membership inference: measure it, and defend a trained model at answer time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("dynanoise"))
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Membership inference: measure it, and defend a trained model at answer time."""


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


@app.command()
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
    contender: Annotated[
        list[str] | None, typer.Option(help="A row to run; may be given again. Default: all.")
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
    store: StoreFolder = None,
    no_store: Annotated[
        bool, typer.Option("--no-store", help="Keep no models and use no stored ones.")
    ] = False,
    data: DataFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print Records, not a table.")] = False,
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
        folder = terminal.folder_of(out)
        kept = None if no_store else commands.store_folder(store)
        evidence = None
        if preset == "overhead":
            _refuse(
                context,
                ("seeds", "attack", "protocol", "canaries", "workers", "model"),
                "overhead trains one model and attacks nobody",
            )
            from dynanoise.audit.overhead import OverheadPlan

            chosen = "quick" if quick else size
            timed = OverheadPlan(on or "cifar10", chosen, tuple(contender or ()), device)
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
                contenders=tuple(contender or ()),
                attacks=tuple(attack or ()),
                protocols=tuple(protocol or ()),
                device=device,
                canaries=canaries,
            )
            evidence = commands.run_plan(
                plan, loaded, out=folder, folder=data, store=kept, workers=workers
            )
            records = list(evidence.records)
        try:
            written = folder is None or terminal.saved(records, folder, evidence)
        finally:
            terminal.show(records, as_json)
        if not written:
            raise typer.Exit(1)


def _refuse(context: typer.Context, names: tuple[str, ...], why: str) -> None:
    """Says that a given option would do nothing."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(f"--{name} does not fit here: {why}.", "Leave it out.")


@app.command()
def sweep(
    parameter: Annotated[
        str, typer.Argument(help="base_variance, lambda_scale or temperature of DynaNoise.")
    ],
    preset: Annotated[
        str, typer.Argument(help="Whose stored models; see bench --list.")
    ] = "digits",
    values: Annotated[
        str | None,
        typer.Option(help="Separated by commas. Default: the paper's, and the controls."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Repetitions that are stored.")] = 3,
    size: Size = None,
    attack: Attacks = None,
    device: Annotated[str, typer.Option(help="Where the models were trained.")] = "cpu",
    store: StoreFolder = None,
    data: DataFolder = None,
    out: Out = None,
) -> None:
    """Vary one parameter of DynaNoise over stored models and print CSV; nothing is trained.

    --out writes sweep.csv, a picture and the Records. Run `dynanoise bench PRESET` first.
    """
    with terminal.friendly():
        folder = terminal.folder_of(out)
        from dynanoise.audit.sweep import Sweep, numbers

        plan = Sweep(
            parameter,
            preset,
            None if values is None else numbers(values),
            seeds,
            size,
            tuple(attack or ()),
            device,
        )
        if not commands.run_sweep(plan, out=folder, data=data, store=store):
            raise typer.Exit(1)


app.command("audit")(audit_command.audit)
app.command("tune")(tune_command.tune)
app.command("export")(export_command.export)
app.command("demo")(site_command.demo)
app.command("serve")(serve_command.serve)
app.add_typer(key_command.app, name="key")
app.add_typer(store_command.app, name="store")


@app.command()
def show(
    records: Annotated[Path, typer.Argument(help="A records.json that `bench --out` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print Records, not a table.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    metric: Annotated[
        str | None,
        typer.Option(help="Print every attack in one metric: asr, auc, tpr@0.001, tpr@0.01."),
    ] = None,
) -> None:
    """Print the table of an earlier run again."""
    with terminal.friendly():
        from dynanoise.report.records import load

        if metric is None:
            terminal.show(load(records), as_json, markdown)
        elif as_json:
            raise InputError("--json prints every metric.", "Leave out --metric.")
        else:
            terminal.show_attacks(load(records), metric, markdown)


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that bench or audit wrote with --out.")
    ],
) -> None:
    """Write report.html and report.md of an earlier run into its folder; nothing is trained.

    report.html is one file that opens offline: what leaks, to whom, what a defense changes and
    costs, then tables and charts. Charts need matplotlib.
    """
    with terminal.friendly():
        if not commands.report(folder):
            raise typer.Exit(1)
