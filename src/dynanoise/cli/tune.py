"""`dynanoise tune`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynanoise.cli.exit_codes import ExitCode
from dynanoise.cli.output import terminal
from dynanoise.cli.output.folder import check_writable, read_folder, write_files, write_results
from dynanoise.core.errors import InputError
from dynanoise.core.files import file_sha256
from dynanoise.core.options import Option, command_line
from dynanoise.report.progress import progress_bar
from dynanoise.tuning.options import SourceOptions, TuneOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynanoise.core.defense import Method
    from dynanoise.core.outputs import Pool
    from dynanoise.evaluation.chosen_inputs import ModelFunctions
    from dynanoise.evaluation.provenance import Provenance
    from dynanoise.noise.keys import Secret
    from dynanoise.tuning.tuning import Tuned


def tune(
    source: SourceOptions,
    options: TuneOptions,
    *,
    weights: Annotated[
        Path | None,
        Option(
            "The model's file, whose SHA-256 goes into defense.yaml. Default: that of the outputs.",
            metavar="FILE",
        ),
    ] = None,
    key: Annotated[
        str, Option("Place of the secret: env:NAME or file:PATH, never the secret itself.")
    ] = "env:DYNANOISE_KEY",
    out: Annotated[
        Path,
        Option("Folder for defense.yaml, picture and results.", metavar="DIR", read=read_folder),
    ] = Path("tuned"),
) -> None:
    """Search for the setting of the defense that suits your models; nothing is trained.

    Settings are judged by attackers who know them. The best are judged again on records that the
    search did not use. Exit codes: 0 success, 1 no setting keeps to the limits and gains, 2 wrong
    use.

    Examples:
        dynanoise tune outputs.npz --weights m.onnx
        dynanoise tune ~/.cache/dynanoise/models --preset cifar10 --trials 200
    """
    from dynanoise.tuning.tuning import TunePlan, check_pool, count_steps
    from dynanoise.tuning.tuning import tune as run

    plan = TunePlan(**vars(options))
    check_writable(out)
    from dynanoise.noise.keys import Secret

    reference = Secret(key)  # an unfit reference is refused before the work
    pool, provenance, kind, load = _read_pool(source, plan)
    check_pool(pool)
    digest = _digest(weights, pool)
    with progress_bar(f"tuning on {provenance.dataset}", count_steps(pool, plan)) as advance:
        functions = load() if load is not None and plan.chosen else None
        tuned = run(pool, plan, provenance, advance, functions)
    _print(tuned)
    written = _write(tuned, out)
    if tuned.chosen is None:
        beaten = ", and is better than calibrated_label and temperature in any column"
        typer.echo(
            "No setting keeps to the limits and gains anything"
            f"{beaten if any(tuned.beaten.values()) else ''}: no defense.yaml."
        )
        raise typer.Exit(ExitCode.HOLDS)
    chosen = tuned.finalists[tuned.chosen]
    _configure(chosen, provenance.dataset, digest, reference, kind, out)
    changed = next(
        result.metrics["label_flips"].value
        for result in tuned.results
        if result.method == tuned.chosen and result.attack is None
    )
    typer.echo(f"It changes {changed:.1%} of the labels of test data.")
    if weights is None and chosen.cell_width is not None:
        terminal.print_text(
            "Its `weights` are the SHA-256 of these outputs. Put that of the model's file there "
            "(sha256sum FILE), or pass --weights FILE: another version of the model must not share "
            "its noise."
        )
    if not written:
        raise typer.Exit(ExitCode.WRONG_USE)


def _read_pool(
    source: SourceOptions, plan: TuneOptions
) -> tuple[Pool, Provenance, str, Callable[[], ModelFunctions] | None]:
    """Read the models' outputs, describe them for results, name their kind, and find the models."""
    if source.source.is_dir():
        if source.preset is None:
            raise InputError(
                f"{source.source} is a folder, and may hold models of several benchmarks.",
                "Name the benchmark with --preset, such as --preset cifar10.",
            )
        from dynanoise.benchmark.stored_pool import stored_pool

        # The name of the folder is private.
        private = replace(source, source=Path("STORE"))
        pool, provenance, load = stored_pool(
            source.preset,
            source.source,
            size=source.size,
            folder=source.data,
            command=command_line("dynanoise tune", private, plan),
        )
        return pool, provenance, "logits", load
    if source.preset or source.size or source.data:
        raise InputError("--preset, --size and --data belong to a folder of models.", "Leave out.")
    if plan.chosen:
        raise InputError(
            f"{source.source} holds outputs, which answer no chosen inputs.",
            "Give the folder of a preset's models with --preset, or leave --chosen out.",
        )
    from dynanoise.audits.columns import ColumnNames
    from dynanoise.audits.outputs_file import read_outputs
    from dynanoise.evaluation.provenance import Provenance

    inputs = read_outputs(source.source, ColumnNames(options=False))
    if inputs.columns.persons is not None:
        typer.echo(
            "The outputs name persons; settings are judged by record. Audit the one that you "
            "choose with `dynanoise audit`, which attacks persons.",
            err=True,
        )
    command = command_line("dynanoise tune", source, plan)
    return inputs.pool(), Provenance(inputs.name, "outputs as given", command), inputs.kind, None


def _digest(weights: Path | None, pool: Pool) -> str:
    """64 hexadecimal digits that tell these models from others."""
    if weights is None:
        return hashlib.sha256(pool.records.logits.tobytes()).hexdigest()
    return file_sha256(weights, "Correct --weights.")


def _print(tuned: Tuned) -> None:
    from dynanoise.report.tables.settings_table import settings_table
    from dynanoise.tuning.tuning_result import compare_references, make_rows

    kept = sum(tuned.limits.satisfied(setting) for setting in tuned.tried)
    limits = [f"accuracy drop at most {tuned.limits.drop:g}"]
    limits += [f"NLL at most {tuned.limits.nll:.3f}"] if tuned.limits.nll is not None else []
    limits += [f"ECE at most {tuned.limits.ece:g}"] if tuned.limits.ece is not None else []
    terminal.print_text(
        f"{len(tuned.tried)} settings tried in {tuned.seconds:.0f} s, {kept} within the limits "
        f"({', '.join(limits)}). Undefended NLL {tuned.plain.nll:.3f}, ECE {tuned.plain.ece:.3f}; "
        f"after temperature scaling {tuned.scaled.utility.nll:.3f} and "
        f"{tuned.scaled.utility.ece:.3f}."
    )
    terminal.print_tables([settings_table(make_rows(tuned), tuned.chosen)])
    terminal.print_text(
        "The attackers know setting and shadow models, not the secret key or the noise; adaptive_Q "
        "repeats each query Q times, adaptive_near queries near-duplicates, too. 95% intervals."
    )
    for sentence in compare_references(tuned):
        typer.echo(sentence)


def _write(tuned: Tuned, folder: Path) -> bool:
    """Write results with their report, all settings, and the picture; True if all were written."""
    from dynanoise.report.charts.search_front import search_plot
    from dynanoise.tuning.tuning_result import make_search, search_json, settings_json

    written = write_results(list(tuned.results), folder)
    search = json.dumps(search_json(tuned), indent=1) + "\n"
    files = {"settings.json": settings_json(tuned).encode(), "search.json": search.encode()}
    picture = make_search(tuned)
    return write_files(files, folder, "tuned.svg", lambda: search_plot(picture)) and written


def _configure(
    chosen: Method, model: str, digest: str, key: Secret, kind: str, folder: Path
) -> None:
    """Writes defense.yaml."""
    from dynanoise.config.configuration import Configuration
    from dynanoise.noise.keyed import Keyed

    width = chosen.cell_width
    noise = "fresh" if width is None else Keyed(width, model, digest, key)
    path = folder / "defense.yaml"
    Configuration(chosen.defense, noise, input=kind).write(path)
    typer.echo(f"Wrote {path}: {chosen.name}")
