"""`dynanoise audit`: its arguments, and what it runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynanoise.cli import terminal
from dynanoise.core.errors import InputError, TooFewRecordsError

if TYPE_CHECKING:
    from dynanoise.audits.audit_result import AuditResult
    from dynanoise.audits.inputs import Given
    from dynanoise.audits.pool_audit import Question

HOLDS, UNRESOLVED = 1, 3
"""Exit codes: a condition of --fail-if holds; the data are too few to tell."""


def audit(
    outputs: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUTPUTS",
            help="What models answered, as npz, parquet or csv: logits or probs, labels, member; "
            "docs/audit.md has the layout. Several models: each is attacked with the others.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Instead: a model to ask, .onnx or .safetensors."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Instead: a model that is served, http://HOST:PORT/v2/models/NAME, as its clients "
            "see it. With --defense FILE.yaml it says what is not as configured there; with "
            "--model, too, how the attacks do on that file.",
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="REFERENCE",
            help="Where the API key for --url is: env:NAME or file:PATH. "
            "Default: env:DYNANOISE_API_KEY if that is set.",
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(help="Queries that --url may be asked, repeated ones too. Default: 10000."),
    ] = None,
    factory: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Makes the torch model of a .safetensors file. It is imported and run.",
        ),
    ] = None,
    members: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="With --model or --url: records it was trained on."),
    ] = None,
    nonmembers: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="With --model or --url: records it was not trained on."),
    ] = None,
    defense: Annotated[
        str | None,
        typer.Option(
            metavar="DEFENSE",
            help="See its effect before it is deployed: NAME or NAME(PARAMETER=VALUE, ...), such "
            "as 'dynanoise(base_variance=0.3, lambda_scale=2, temperature=10)'; or a defense.yaml, "
            "with its noise, but keys of the audit's own.",
        ),
    ] = None,
    queries: Annotated[
        list[int] | None,
        typer.Option(
            help="How often the attacker asks each query of the defense; may be given again. "
            "Default: 1 and 16; of --url 1 and as often as the budget allows, at most 16."
        ),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ATTACK",
            help="Run this attack: NAME or NAME(PARAMETER=VALUE, ...), such as "
            "'lira(variance=example)'; may be given again. Default: all that the data allow.",
        ),
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit with 1 if the upper end of the 95% interval is above: 'auc>0.6', "
            "'asr>0.55' or 'tpr@0.001>0.01', of the strongest attack. May be given again.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the records' parts and of noise.")] = 0,
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder for results, samples, report.md and report.html."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results, not a table.")] = False,
) -> None:
    """Measure what a model of your own gives away about the records it was trained on.

    Exit codes: 0 fine, 1 a condition of --fail-if holds or a server is not as
    configured, 2 wrong use, 3 too few data to tell.
    """
    with terminal.friendly():
        if url is None and (api_key is not None or budget is not None):
            raise InputError("--api-key and --budget belong to --url.", "Leave them out.")
        asked = model, factory, members, nonmembers
        folder = terminal.folder_of(out)
        try:
            if url is not None:
                if outputs is not None:
                    raise InputError("Both a file of outputs and --url were given.", "Name one.")
                server = url, api_key, 10_000 if budget is None else budget
                result = _serve(server, asked, (defense, queries, attack, fail_if), seed, folder)
            else:
                question = _question(defense, queries, attack, fail_if)
                result = _run(outputs, asked, question, seed=seed, out=folder)
        except TooFewRecordsError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(UNRESOLVED) from None
        try:
            written = folder is None or terminal.saved(
                list(result.records), folder, result.evidence
            )
        finally:
            _show(result, as_json)
        if not written:
            raise typer.Exit(2)
        if result.failed:
            raise typer.Exit(HOLDS)


def _question(
    defense: str | None,
    queries: list[int] | None,
    attacks: list[str] | None,
    fail_if: list[str] | None,
) -> Question:
    if queries and defense is None:
        raise InputError(
            "--queries was given without --defense.",
            "Answers without noise are the same every time: leave it out, or name a defense.",
        )
    from dynanoise.audits.conditions import parsed
    from dynanoise.audits.pool_audit import QUERIES, Question

    conditions = tuple(parsed(text) for text in fail_if or ())
    return Question(defense, tuple(queries or QUERIES), conditions, tuple(attacks or ()))


def _run(
    outputs: Path | None,
    asked: tuple[Path | None, str | None, Path | None, Path | None],
    question: Question,
    *,
    seed: int,
    out: Path | None,
) -> AuditResult:
    given, words, kind = _given(outputs, asked)
    if out is not None:
        terminal.writable(out)
    from dynanoise.audits.pool_audit import audited, steps
    from dynanoise.evaluation.subject import Subject

    pool = given.pool(seed)
    if question.defense is not None:
        words += ["--defense", shlex.quote(question.shown)]
        words += [word for count in question.budgets for word in ("--queries", str(count))]
    words += [word for one in question.attacks for word in ("--attack", shlex.quote(one))]
    words += [word for one in question.fail_if for word in ("--fail-if", shlex.quote(str(one)))]
    words += ["--seed", str(seed)] if seed else []
    subject = Subject(given.name, kind, " ".join(words))
    with terminal.progress_bar(f"audit of {given.name}", steps(pool, question)) as advance:
        return audited(pool, question, subject, advance)


def _serve(
    server: tuple[str, str | None, int],
    asked: tuple[Path | None, str | None, Path | None, Path | None],
    how: tuple[str | None, list[int] | None, list[str] | None, list[str] | None],
    seed: int,
    out: Path | None,
) -> AuditResult:
    """The audit of a server."""
    from dynanoise.audits.conditions import parsed
    from dynanoise.audits.endpoint.client import Endpoint
    from dynanoise.audits.endpoint.endpoint_audit import Wanted, audited_server

    (url, api_key, budget), (model, factory, members, nonmembers) = server, asked
    defense, queries, attacks, fail_if = how
    if members is None or nonmembers is None:
        raise InputError(
            "--url needs tables of records that the model was trained on and of others.",
            "Pass --members TABLE and --nonmembers TABLE.",
        )
    if defense is not None and not defense.lower().endswith((".yaml", ".yml")):
        raise InputError(
            f"--defense is {defense!r}.",
            "With --url it is the defense.yaml that the server follows: nothing is put before it.",
        )
    if queries and len(set(queries) - {1}) > 1:
        raise InputError("--queries was given more than once.", "A server has one number of them.")
    wanted = Wanted(
        members,
        nonmembers,
        max(queries) if queries else None,
        None if defense is None else Path(defense),
        model,
        factory,
        tuple(parsed(text) for text in fail_if or ()),
        seed,
        tuple(attacks or ()),
    )
    endpoint = Endpoint(url, budget, api_key)
    if out is not None:
        terminal.writable(out)
    # The server's name is nobody's business in results, as folders are.
    words = ["dynanoise", "audit", "--url", shlex.quote(f"http://...{endpoint.path}")]
    words += ["--budget", str(budget), "--members", shlex.quote(members.name)]
    words += ["--nonmembers", shlex.quote(nonmembers.name)]
    words += ["--defense", shlex.quote(Path(defense).name)] if defense else []
    words += ["--model", shlex.quote(model.name)] if model else []
    words += ["--factory", shlex.quote(factory)] if factory else []
    words += ["--queries", str(wanted.queries)] if wanted.queries else []
    words += [word for one in wanted.attacks for word in ("--attack", shlex.quote(one))]
    words += [word for one in wanted.fail_if for word in ("--fail-if", shlex.quote(str(one)))]
    words += ["--seed", str(seed)] if seed else []
    return audited_server(endpoint, wanted, " ".join(words), terminal.progress_bar)


def _given(
    outputs: Path | None, asked: tuple[Path | None, str | None, Path | None, Path | None]
) -> tuple[Given, list[str], str]:
    """What is audited, the beginning of the command, and what the models are called."""
    model, factory, members, nonmembers = asked
    if (outputs is None) == (model is None):
        raise InputError(
            f"{'Neither' if outputs is None else 'Both'} a file of outputs "
            f"{'nor' if outputs is None else 'and'} --model {'was' if outputs is None else 'were'} "
            "given.",
            "Name one: dynanoise audit outputs.npz, or dynanoise audit --model m.onnx ...",
        )
    if outputs is not None:
        if factory or members or nonmembers:
            raise InputError(
                "--factory, --members and --nonmembers belong to --model.", "Leave them out."
            )
        from dynanoise.audits import outputs_file

        # Names of files only: folders are nobody's business in results.
        words = ["dynanoise", "audit", shlex.quote(outputs.name)]
        return outputs_file.load(outputs), words, "outputs as given"
    if model is None or members is None or nonmembers is None:
        raise InputError(
            "--model needs tables of records it was trained on and of others.",
            "Pass --members TABLE and --nonmembers TABLE.",
        )
    from dynanoise.audits.model_file import model_file

    words = ["dynanoise", "audit", "--model", shlex.quote(model.name)]
    words += ["--factory", shlex.quote(factory)] if factory else []
    words += ["--members", shlex.quote(members.name)]
    words += ["--nonmembers", shlex.quote(nonmembers.name)]
    return model_file.load(model, factory, members, nonmembers), words, model.suffix[1:]


def _show(result: AuditResult, as_json: bool) -> None:
    """The table with its sentences on standard output; with --json what is no Result elsewhere."""
    terminal.show(list(result.records), as_json)
    for sentence in result.notes:
        typer.echo(f"{'' if as_json else '• '}{sentence}", err=as_json)
