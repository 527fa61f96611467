"""`dynanoise audit`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynanoise.audits.options import INTEGRATION, AuditOptions
from dynanoise.cli.exit_codes import ExitCode
from dynanoise.cli.output import terminal
from dynanoise.cli.output.folder import Out, check_writable, write_results
from dynanoise.core.errors import DynaNoiseError, InputError, TooFewRecordsError
from dynanoise.core.files import write_atomically
from dynanoise.core.options import Option, command_line
from dynanoise.report.progress import progress_bar

if TYPE_CHECKING:
    from dynanoise.audits.audit_report import AuditReport
    from dynanoise.audits.conditions import Outcome
    from dynanoise.audits.inputs import AuditInputs
    from dynanoise.audits.layouts.arrays import BroughtPool

_BUDGET = 10_000


def audit(
    options: AuditOptions,
    *,
    out: Out = None,
    junit: Annotated[
        Path | None,
        Option(
            "JUnit file to write with a test case for each --fail-if, for systems of continuous "
            "integration; a condition that cannot be told is skipped, and all are errors if the "
            "audit ends with one.",
            metavar="FILE",
            panel=INTEGRATION,
        ),
    ] = None,
    workers: Annotated[
        int,
        Option(
            "Number of processes, which measure the outputs and --defense at each query budget at "
            "the same time, or parts of a large folder."
        ),
    ] = 1,
    auditor: Annotated[
        str,
        Option("Name of the person or organisation that audits, for the report.", metavar="NAME"),
    ] = "",
    as_json: Annotated[bool, Option("Print results as JSON.", flag="--json")] = False,
) -> None:
    """Measure membership leakage of your own model.

    Exit codes: 0 success, 1 a condition of --fail-if holds or a server is not as configured, 2
    wrong use, 3 too few data to tell, 70 an error of dynanoise itself.

    Examples:
        dynanoise audit outputs.npz
        dynanoise audit outputs.npz --defense calibrated_label --out audit
        dynanoise audit --model m.onnx --members a.parquet --nonmembers b.parquet
        dynanoise audit outputs.npz --fail-if 'auc>0.6' --junit audit.xml
    """
    from dynanoise.audits.adapters.junit import junit_error, junit_xml, verdict_line

    if junit is not None:
        check_writable(junit.parent, "--junit")
        junit.unlink(missing_ok=True)  # so that no file of an earlier run is taken for this one's
    try:
        _check_queries(options, workers)
        if options.url is None:
            report = _audit_outputs(options, out, workers)
        else:
            report = _audit_server(options, out)
    except TooFewRecordsError as error:
        outcomes = _unresolved(options, str(error))
        _write_junit(junit, junit_xml("audit", outcomes, verdict=str(error)))
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(ExitCode.UNRESOLVED) from None
    except DynaNoiseError as error:
        _write_junit(junit, junit_error("audit", options.fail_if, str(error)))
        raise
    date = datetime.now(UTC).date().isoformat()
    report = report.signed(auditor, date, *_audited_file(options))
    results = list(report.results)
    try:
        configured = options.url is not None and options.defense is not None
        differences = report.differences if configured else None
        name = f"audit of {results[0].dataset}"
        _write_junit(junit, junit_xml(name, report.outcomes, differences, report.verdict))
        written = out is None or write_results(results, out, report.evidence)
    finally:
        terminal.print_results(results, as_json, notes=report.notes)
        if report.outcomes or report.differences:
            typer.echo(verdict_line(report.outcomes, report.differences), err=as_json)
    if not written:
        raise typer.Exit(ExitCode.WRONG_USE)
    if report.failed:
        raise typer.Exit(ExitCode.HOLDS)
    if report.unresolved:
        raise typer.Exit(ExitCode.UNRESOLVED)


def _audited_file(options: AuditOptions) -> tuple[str, str]:
    """Name and SHA-256 of the audited file; empty for folders and servers."""
    path = options.outputs or options.model
    if path is None or options.url is not None or not path.is_file():
        return "", ""
    with path.open("rb") as file:
        return path.name, hashlib.file_digest(file, "sha256").hexdigest()


def _check_queries(options: AuditOptions, workers: int) -> None:
    """Check that options of a served model are given with one, and --workers without."""
    served = {"--api-key": options.api_key, "--budget": options.budget}
    flags = [name for name, value in served.items() if value is not None]
    if options.url is None and flags:
        raise InputError(f"{_need(flags)} --url.", "Name the server, or leave the option out.")
    if options.url is None and options.model is None and options.chosen is not None:
        raise InputError(
            "--chosen belongs to --model or --url: outputs in files answer no further inputs.",
            "Leave it out, name the model, or audit the way of training: "
            "dynanoise.audit(..., chosen=64).",
        )
    if workers < 1 or (workers > 1 and options.url is not None):
        raise InputError(
            f"--workers is {workers}.", "Use an integer of at least 1; with --url leave it out."
        )


def _write_junit(file: Path | None, text: str) -> None:
    if file is not None:
        write_atomically(file, f"{text}\n".encode())


def _unresolved(options: AuditOptions, reason: str) -> list[Outcome]:
    """Outcomes of an audit that had too few records or models for any attack."""
    from dynanoise.audits.conditions import Outcome, parse_condition

    return [Outcome(parse_condition(text), None, reason) for text in options.fail_if]


def _audit_outputs(options: AuditOptions, out: Path | None, workers: int) -> AuditReport:
    """Audit a file of outputs, or the outputs of a model file."""
    if options.queries and options.defense is None:
        raise InputError(
            "--queries was given without --defense.",
            "Outputs without noise are the same every time: leave it out, or name a defense.",
        )
    from dynanoise.audits.chosen.own_model import target_of
    from dynanoise.audits.conditions import parse_condition
    from dynanoise.audits.pool_audit import (
        QUERIES,
        AuditPlan,
        audit_pool,
        count_steps,
        with_inputs,
    )
    from dynanoise.audits.random_halves import check_numbers
    from dynanoise.evaluation.evidence import Gatherer
    from dynanoise.evaluation.provenance import Provenance

    conditions = tuple(map(parse_condition, options.fail_if))
    queries = options.queries or QUERIES
    plan = AuditPlan(options.defense, queries, conditions, options.attacks, options.chosen)
    folder = _read_folder(options)
    inputs, kind = (None, "") if folder else _read_inputs(options)
    if out is not None:
        check_writable(out)
    private = replace(
        options,
        defense=None if options.defense is None else plan.defense_text,
        queries=() if options.defense is None else plan.budgets,
        fail_if=tuple(map(str, conditions)),
    )
    command = command_line("dynanoise audit", private)
    if folder is not None:
        from dynanoise.audits.layouts.folder_audit import FolderAudit

        audit = FolderAudit(folder, plan, options.seed)
        with progress_bar(f"audit of {folder.name}", audit.steps()) as advance:
            return audit.run(Provenance(folder.name, folder.kind, command), advance, workers)
    assert inputs is not None
    provenance = Provenance(inputs.name, kind, command)
    pool = with_inputs(inputs.pool(options.seed), plan, inputs.columns)
    target = None
    if options.chosen is not None and inputs.query is not None:
        target = target_of(inputs.query, check_numbers(inputs.columns.inputs), options.chosen)
    with progress_bar(f"audit of {inputs.name}", count_steps(pool, plan)) as advance:
        report = audit_pool(
            pool,
            plan,
            provenance,
            advance,
            Gatherer(curves=out is not None),
            notes=inputs.notes,
            workers=workers,
            columns=inputs.columns,
            target=target,
        )
    return report.named(inputs.class_names)


def _read_folder(options: AuditOptions) -> BroughtPool | None:
    """A folder of another tool; None for other outputs."""
    path = options.outputs
    if path is None or options.model is not None or not path.is_dir():
        if options.labels is not None:
            raise InputError("--labels belongs to a folder of LiRA.", "Leave it out.")
        return None
    from dynanoise.audits.outputs_file import train_test_files

    _check_outputs_alone(options)
    if train_test_files(path):
        return None
    from dynanoise.audits.layouts.folder_audit import read_folder

    return read_folder(path, options.labels, options.columns)


def _check_outputs_alone(options: AuditOptions) -> None:
    _check_placement(options)
    flags = [
        f"--{name}"
        for name in ("factory", "members", "nonmembers", "label")
        if getattr(options, name)
    ]
    if flags:
        raise InputError(
            f"{_need(flags)} --model or --url, and {options.outputs} was named.",
            "Leave out one or the other.",
        )


def _read_inputs(options: AuditOptions) -> tuple[AuditInputs, str]:
    """Outputs to audit, and the kind of model in results."""
    outputs, model = options.outputs, options.model
    if outputs is None and model is None:
        raise InputError(
            "Neither a file of outputs nor --model was given.",
            "Name one: dynanoise audit outputs.npz, or dynanoise audit --model m.onnx ...",
        )
    if outputs is not None and model is not None:
        raise InputError(
            "Both a file of outputs and --model were given.",
            "Name one: dynanoise audit outputs.npz, or dynanoise audit --model m.onnx ...",
        )
    members, nonmembers = options.members, options.nonmembers
    if outputs is not None:
        _check_outputs_alone(options)
        from dynanoise.audits.outputs_file import read_outputs

        return read_outputs(outputs, options.columns), "outputs as given"
    _check_placement(options)
    if model is None or members is None or nonmembers is None:
        raise InputError(
            "--model needs tables of records it was trained on and of others.",
            "Pass --members TABLE and --nonmembers TABLE.",
        )
    from dynanoise.audits.model_file import query_model
    from dynanoise.config.configuration import Configuration
    from dynanoise.evaluation.methods import is_file

    placement = options.placement
    if options.defense is not None and is_file(options.defense) and options.factory is None:
        placement = {**Configuration.read(options.defense).placement, **placement}
    tables = members, nonmembers, options.label
    inputs = query_model(model, options.factory, *tables, **placement, named=options.columns)
    return inputs, model.suffix[1:]


def _need(flags: Sequence[str]) -> str:
    """Begin a sentence on what some options need.

    >>> _need(["--members", "--label"]), _need(["--budget"])
    ('--members and --label need', '--budget needs')
    """
    return f"{' and '.join(flags)} need{'s' if len(flags) == 1 else ''}"


def _check_placement(options: AuditOptions) -> None:
    if options.placement and (options.model is None or options.factory is not None):
        raise InputError("--output and --input belong to an ONNX --model.", "Leave them out.")


def _audit_server(options: AuditOptions, out: Path | None) -> AuditReport:
    """Audit a served model."""
    from dynanoise.audits.conditions import parse_condition
    from dynanoise.audits.endpoint.client import Endpoint
    from dynanoise.audits.endpoint.endpoint_audit import EndpointPlan, audit_endpoint

    assert options.url is not None
    _check_placement(options)
    if options.outputs is not None:
        raise InputError("Both a file of outputs and --url were given.", "Name one.")
    if options.members is None or options.nonmembers is None:
        raise InputError(
            "--url needs tables of records that the model was trained on and of others.",
            "Pass --members TABLE and --nonmembers TABLE.",
        )
    defense = options.defense
    if defense is not None and not defense.lower().endswith((".yaml", ".yml")):
        raise InputError(
            f"--defense is {defense!r}.",
            "With --url name the server's defense.yaml; no other defense can be tried there.",
        )
    if len(set(options.queries) - {1}) > 1:
        raise InputError(
            "--queries was given several times.", "With --url give only one --queries above 1."
        )
    plan = EndpointPlan(
        options.members,
        options.nonmembers,
        max(options.queries, default=None),
        None if defense is None else Path(defense),
        options.model,
        options.factory,
        tuple(map(parse_condition, options.fail_if)),
        options.seed,
        options.attacks,
        options.label,
        options.placement,
        options.chosen,
        named=options.columns,
    )
    budget = _BUDGET if options.budget is None else options.budget
    endpoint = Endpoint(options.url, budget, options.api_key)
    if out is not None:
        check_writable(out)
    # Names of servers are private, as folders are.
    private = replace(
        options,
        url=f"http://...{endpoint.path}",
        budget=budget,
        defense=None if defense is None else Path(defense).name,
        queries=() if plan.queries is None else (plan.queries,),
        fail_if=tuple(map(str, plan.fail_if)),
    )
    command = command_line("dynanoise audit", private)
    return audit_endpoint(endpoint, plan, command, progress_bar)
