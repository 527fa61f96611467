"""`dynanoise tune`: its arguments, and what it runs."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynanoise.cli import terminal
from dynanoise.core.errors import InputError

if TYPE_CHECKING:
    from dynanoise.core.defense import Method
    from dynanoise.core.outputs import Pool
    from dynanoise.evaluation.subject import Subject
    from dynanoise.noise.keys import Secret
    from dynanoise.tuning.tuning import Tuned, TunePlan

NOTHING = 1
"""Exit code: no setting keeps to the limits and gains."""


def tune(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="STORE_OR_OUTPUTS",
            help="Answers of several models, as for `dynanoise audit`, with test data; or a folder "
            "of trained models, with --preset.",
        ),
    ],
    preset: Annotated[
        str | None, typer.Option(help="Whose pool of models in the store: cifar10, digits, ...")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Of the preset.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with the data sets.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try.")] = 1000,
    queries: Annotated[
        int, typer.Option(min=1, help="How often the attacker repeats a query, and averages.")
    ] = 16,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ATTACK",
            help="Judge settings by this attack: NAME or NAME(PARAMETER=VALUE, ...); may be given "
            "again. Default: all that the models allow.",
        ),
    ] = None,
    max_accuracy_drop: Annotated[
        float, typer.Option(help="Accuracy that the defense may cost, 0.01 is one point.")
    ] = 0.01,
    max_nll: Annotated[
        float | None,
        typer.Option(
            help="Negative log-likelihood that it may have, in nats. Default: halfway from the "
            "undefended model's to that of the label alone."
        ),
    ] = None,
    max_ece: Annotated[
        float | None, typer.Option(help="Expected calibration error that it may have, 0..1.")
    ] = None,
    near: Annotated[
        bool, typer.Option(help="Judge the best over near-duplicates, too, where there are any.")
    ] = True,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The model's file; its SHA-256 goes into defense.yaml. Default: that of the "
            "answers.",
        ),
    ] = None,
    key: Annotated[
        str, typer.Option(help="Where the secret will be, env:NAME or file:PATH; never itself.")
    ] = "env:DYNANOISE_KEY",
    seed: Annotated[int, typer.Option(help="Of records, search and noise.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes. Default: as many as there are cores.")
    ] = None,
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Folder for defense.yaml, picture and results.")
    ] = "tuned",
) -> None:
    """Find the setting of the defense that suits your models; nothing is trained.

    Settings are judged by attackers who know them. The best are judged anew on records that the
    search did not use. Exit codes: 0 fine, 1 no setting keeps to the limits and gains, 2 wrong
    use.
    """
    with terminal.friendly():
        from dynanoise.tuning.tuning import TunePlan, steps
        from dynanoise.tuning.tuning import tune as run

        plan = TunePlan(
            trials=trials,
            queries=queries,
            drop=max_accuracy_drop,
            nll=max_nll,
            ece=max_ece,
            seed=seed,
            workers=workers or os.cpu_count() or 1,
            near=near,
            attacks=tuple(attack or ()),
        )
        folder = terminal.folder_of(out)
        assert folder is not None
        terminal.writable(folder)
        from dynanoise.noise.keys import Secret

        reference = Secret(key)  # found out before the work, not after it
        pool, subject = _models(source, preset, size, data, _words(plan))
        digest = _digest(weights, pool)
        with terminal.progress_bar(f"tuning on {subject.dataset}", steps(pool, plan)) as advance:
            tuned = run(pool, plan, subject, advance)
        _tell(tuned)
        done = _write(tuned, folder)
        if tuned.chosen is None:
            typer.echo("No setting keeps to the limits and gains anything: no defense.yaml.")
            raise typer.Exit(NOTHING)
        _configure(tuned.finalists[tuned.chosen], subject.dataset, digest, reference, folder)
        if weights is None and tuned.finalists[tuned.chosen].cell_width is not None:
            typer.echo(
                "Its `weights` are the SHA-256 of these answers. Put that of the model's file "
                "there (sha256sum FILE), or pass --weights FILE: another version of the model must "
                "not share its noise."
            )
        if not done:
            raise typer.Exit(2)


def _words(plan: TunePlan) -> list[str]:
    words = ["--trials", str(plan.trials), "--queries", str(plan.queries)]
    words += ["--max-accuracy-drop", f"{plan.drop:g}"]
    words += ["--max-nll", f"{plan.nll:g}"] if plan.nll is not None else []
    words += ["--max-ece", f"{plan.ece:g}"] if plan.ece is not None else []
    words += [] if plan.near else ["--no-near"]
    words += [word for one in plan.attacks for word in ("--attack", shlex.quote(one))]
    return words + (["--seed", str(plan.seed)] if plan.seed else [])


def _models(
    source: Path, preset: str | None, size: str | None, data: Path | None, words: list[str]
) -> tuple[Pool, Subject]:
    """The pool, and what results say of it. Names of files only: folders are nobody's business."""
    if source.is_dir():
        if preset is None:
            raise InputError(
                f"{source} is a folder, and may hold models of several benchmarks.",
                "Say whose with --preset, such as --preset cifar10.",
            )
        from dynanoise.benchmark.stored_pool import stored_pool

        words = ["dynanoise", "tune", "STORE", "--preset", preset, *words]
        words += ["--size", size] if size else []
        return stored_pool(preset, source, size=size, folder=data, command=" ".join(words))
    if preset or size or data:
        raise InputError("--preset, --size and --data belong to a folder of models.", "Leave out.")
    from dynanoise.audits import outputs_file
    from dynanoise.evaluation.subject import Subject

    given = outputs_file.load(source)
    command = " ".join(["dynanoise", "tune", shlex.quote(source.name), *words])
    return given.pool(), Subject(given.name, "outputs as given", command)


def _digest(weights: Path | None, pool: Pool) -> str:
    """64 hexadecimal digits that tell these models from others."""
    if weights is None:
        return hashlib.sha256(pool.examples.logits.tobytes()).hexdigest()
    try:
        with weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{weights} cannot be read ({error.strerror}).", "Correct --weights."
        ) from error


def _tell(tuned: Tuned) -> None:
    from rich.console import Console

    from dynanoise.report.tuned import front_table
    from dynanoise.tuning.tuning_result import rows_of

    kept = sum(tuned.limits.kept(one) for one in tuned.tried)
    limits = [f"accuracy drop at most {tuned.limits.drop:g}"]
    limits += [f"NLL at most {tuned.limits.nll:.3f}"] if tuned.limits.nll is not None else []
    limits += [f"ECE at most {tuned.limits.ece:g}"] if tuned.limits.ece is not None else []
    typer.echo(
        f"{len(tuned.tried)} settings tried in {tuned.seconds:.0f} s, {kept} within the limits "
        f"({', '.join(limits)}). Undefended NLL {tuned.plain.nll:.3f}, ECE {tuned.plain.ece:.3f}."
    )
    typer.echo("Worst-case MIDPUT by attacker, on records that the search did not use:")
    console = Console()
    width = None if console.is_terminal else terminal.WIDE
    Console(width=width).print(front_table(rows_of(tuned), tuned.chosen))
    typer.echo(
        "The attackers know setting and shadow models, not the secret key or the noise; adaptive_Q "
        "asks each query Q times, adaptive_near near-duplicates, too. 95% intervals."
    )


def _write(tuned: Tuned, folder: Path) -> bool:
    """Records with their report, all settings, and the picture; True if all were written."""
    from dynanoise.report.tuned import search_plot
    from dynanoise.tuning.tuning_result import search_json, search_of, settings_json

    done = terminal.saved(list(tuned.records), folder)
    how = json.dumps(search_json(tuned), indent=1) + "\n"
    files = {"settings.json": settings_json(tuned).encode(), "search.json": how.encode()}
    picture = search_of(tuned)
    return terminal.written(files, folder, "tuned.svg", lambda: search_plot(picture)) and done


def _configure(chosen: Method, model: str, digest: str, key: Secret, folder: Path) -> None:
    """Writes defense.yaml."""
    from dynanoise.config.configuration import Configuration
    from dynanoise.noise.keyed import Keyed

    width = chosen.cell_width
    noise = "fresh" if width is None else Keyed(width, model, digest, key)
    path = folder / "defense.yaml"
    Configuration(chosen.defense, noise).write(path)
    typer.echo(f"Wrote {path}: {chosen.name}")
