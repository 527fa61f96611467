"""The report of a run: results and their evidence become a document of sections."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from dynanoise.attacks.base import title_of
from dynanoise.core.evidence import AttackSample, Evidence
from dynanoise.core.result import STRONGEST, Result
from dynanoise.report.charts.attack_success import budget_chart, protocol_chart, with_budgets
from dynanoise.report.charts.histograms import reliability_chart, risk_chart, score_chart
from dynanoise.report.charts.roc_curves import attacks_roc_chart, methods_roc_chart
from dynanoise.report.document import (
    Block,
    Bullets,
    Details,
    Document,
    Figures,
    Heading,
    Section,
    Text,
)
from dynanoise.report.first_page import audit_price, facts, first_page
from dynanoise.report.summary import Summary, method_names
from dynanoise.report.table import MISSING, Cell, Column, Row, Table, make_table, number_cell
from dynanoise.report.tables import audit_table, canary_table, measures_table
from dynanoise.report.tables.comparison import comparison_table
from dynanoise.report.tables.paper_table import MIDPUT_NOTE
from dynanoise.report.wording import standards
from dynanoise.report.wording.outputs import method_title
from dynanoise.report.wording.threats import budget, threat_sentence
from dynanoise.report.wording.verdict import (
    NET_GAIN_NOTE,
    Verdict,
    honest,
    rank_protocols,
    verdict,
)
from dynanoise.report.wording.warnings import split_warnings

NO_SCORES = (
    "No scores were kept beside these results, so ROC curves, histograms, reliability and records "
    "at risk are not shown; `dynanoise bench --out` keeps them where a pool of models is attacked, "
    "`dynanoise audit --out` always."
)
RELIABILITY = (
    "Reliability is that of single outputs for test data: on the dotted line, confidence is "
    "accuracy."
)
NO_RELIABILITY = "Reliability is not shown: that takes test data, and there are none."
NO_RISKS = (
    "Success by record is not shown: that takes several models, some trained on a record and some "
    "not."
)
RISKS = (
    "Averages hide records that are found nearly always. A record's success is how often the "
    "attacker is right about it over the models that were trained on it, and over the others; 0.5 "
    "is guessing. Over {models} models some records stand out by chance alone: compare with the "
    "dashed line, the histogram if all records were alike."
)

_UTILITY = {
    "accuracy": "Test accuracy",
    "train_accuracy": "Accuracy on members",
    "ece": "Calibration error",
    "nll": "NLL (nats)",
    "label_flips": "Changed labels",
}
_ATTACK = {
    "asr": "Balanced accuracy",
    "auc": "AUC",
    "tpr@0.001": "TPR at 0.1% FPR",
    "tpr@0.01": "TPR at 1% FPR",
}

_MOST_AT_RISK = 10


def build_report(evidence: Evidence) -> Document:
    """Build the report of a benchmark or an audit.

    Its first page is for a reader who decides: the level of the leak, the best defense and its
    price, what to do next. ROC curves follow, then every number and the circumstances. Charts
    of what was not measured are left out, and a sentence says so.

    Args:
        evidence: that of one run; results alone give a report without curves and histograms.

    Returns:
        A document for `render_html` and `render_markdown`. Nothing is drawn yet.

    Raises:
        InputError: if the results are not all those of one run, or measure no attack.
    """
    results = evidence.results
    if audit_table.is_audit(results):
        summaries = audit_table.audit_summaries(results)
        title = audit_table.audit_title(results[0])
        subtitle = f"Model: {results[0].model}"
        sections = _AUDIT
    else:
        summaries = rank_protocols(results)
        title = f"Membership inference on {results[0].preset}, {results[0].model}"
        names = [f"{name} ({budget(summary.threat)})" for name, summary in summaries.items()]
        subtitle = f"Protocols: {', '.join(names)}"
        sections = _BENCHMARK
    run = _Run(evidence, summaries)
    return Document(
        title,
        f"{subtitle}.",
        results[0].command,
        tuple(section for build in sections for section in build(run)),
        facts(results, evidence.origin),
    )


class _Run:
    """One run's evidence with the summaries and names that its sections share.

    Args:
        evidence: that of one run.
        summaries: its results by protocol; those of audits may lack utility.
    """

    def __init__(self, evidence: Evidence, summaries: Mapping[str, Summary]) -> None:
        self.evidence, self.results, self.summaries = evidence, evidence.results, summaries
        self.pools = honest(summaries)
        kept = {sample.protocol for sample in evidence.attacks}
        main = self.pools or summaries
        self.sampled = {name: summary for name, summary in main.items() if name in kept}
        self.methods = method_names(summaries.values())
        self.baseline = self.methods[0]

    @cached_property
    def words(self) -> Verdict:
        """The verdict of a benchmark in words."""
        return verdict(self.summaries)

    def largest_budget(self) -> tuple[str, Summary]:
        """The protocol with samples and the largest query budget, an honest one if there is one."""
        return list(self.sampled.items())[-1]

    def sample(self, protocol: str, method: str, attack: str) -> AttackSample | None:
        """Curves and histograms of an attack; None where they were not kept."""
        samples = self.evidence.attacks_on(protocol, method)
        return next((sample for sample in samples if sample.attack == attack), None)


def _first_page(run: _Run) -> Iterator[Section]:
    words = run.words
    summary = list((run.pools or run.summaries).values())[-1]
    best = words.best_defense, words.best
    attacker = threat_sentence(summary.threat)
    warnings = [words.warning] if words.warning else []
    yield first_page(summary, best=best, warnings=warnings, attacker=attacker, scope=words.scope)


def _audit_first_page(run: _Run) -> Iterator[Section]:
    summary = list(run.summaries.values())[-1]
    blind = measures_table.blind_warning(run.results)
    warnings, _ = split_warnings([*([blind] if blind else []), *run.evidence.notes])
    best, scope = audit_price(summary), audit_table.out_of_scope(run.results)
    # The last result is of a defended method where one was measured: its attacker knows the most.
    attacker = audit_table.audit_threat(run.results[-1])
    yield first_page(summary, best=best, warnings=warnings, attacker=attacker, scope=scope)


def _findings(run: _Run) -> Iterator[Section]:
    words = run.words
    blocks: list[Block] = [Heading("What leaks"), *_leaks(words.leaks)]
    blocks += _list("To whom", words.attackers)
    if words.defenses:
        blocks.append(Heading("What it would cost to fix"))
        blocks.append(Bullets(tuple(words.defenses.values())))
        blocks.append(Text(NET_GAIN_NOTE, "faint"))
    yield Section("findings", "Findings in words", tuple(blocks))


def _audit_findings(run: _Run) -> Iterator[Section]:
    blocks: list[Block] = [Heading("What leaks")]
    blocks += _leaks(audit_table.audit_verdicts(run.results))
    blocks += _list("What outputs are worth", audit_table.audit_utilities(run.results))
    yield Section("findings", "Findings in words", tuple(blocks))


def _notes(run: _Run) -> Iterator[Section]:
    _, notes = split_warnings(run.evidence.notes)
    if notes:
        bullets = Bullets(tuple((note, "") for note in notes))
        yield Section("notes", "Conditions and notes", (bullets,), brief=True)


def _leaks(sentences: Sequence[str]) -> list[Text]:
    """Paragraphs, the first of them large."""
    return [Text(text, "" if index else "lead", led=True) for index, text in enumerate(sentences)]


def _list(heading: str, sentences: Sequence[str]) -> list[Block]:
    """A heading and sentences; nothing where there are none."""
    if not sentences:
        return []
    return [Heading(heading), Bullets(tuple((sentence, "") for sentence in sentences))]


def _protocols(run: _Run) -> Iterator[Section]:
    # Accuracy stands in the next table, of one protocol and with its interval.
    comparison = comparison_table(run.summaries, accuracy=False)
    comparison = replace(comparison, caption="Balanced accuracy of attacks, and MIDPUT")
    blocks = (comparison, Text(MIDPUT_NOTE, "faint"), _utility_table(run))
    yield Section("protocols", "The protocols side by side", blocks)


def _utility_table(run: _Run) -> Table:
    utilities = [result for result in run.results if result.attack is None]
    names = [name for name in _UTILITY if any(name in result.metrics for result in utilities)]

    def cell(method: str, metric: str) -> Cell:
        # That of the protocol with the most models that was run for the method.
        for summary in reversed(list(run.summaries.values())):
            if summary.has(method, None, metric):
                return number_cell(summary.metric(method, None, metric))
        return Cell(MISSING)

    rows: list[Row] = [[method, *(cell(method, name) for name in names)] for method in run.methods]
    headings = ["Method", *(_UTILITY[name] for name in names)]
    return make_table("Utility of outputs, with 95% intervals", headings, rows)


def _canaries(run: _Run) -> Iterator[Section]:
    if canary_table.planted(run.summaries):
        table = replace(canary_table.canary_table(run.summaries), caption="AUC with 95% intervals")
        notes = [Text(note, "faint") for note in canary_table.canary_notes(run.summaries)]
        yield Section("canaries", canary_table.TITLE, (table, *notes))


def _success(run: _Run) -> Iterator[Section]:
    charts = [
        methods_roc_chart(run.evidence, name, run.methods, budget(summary.threat))
        for name, summary in run.sampled.items()
    ]
    charts.append(protocol_chart(run.summaries, run.methods))
    charts += [
        budget_chart(run.pools, run.methods, chosen=chosen)
        for chosen in (False, True)
        if len(with_budgets(run.pools, chosen)) > 1
    ]
    missing = [] if run.sampled else [Text(NO_SCORES, "note")]
    yield Section("charts", "Attack success", (*missing, Figures(tuple(charts))))


def _by_method(run: _Run) -> Iterator[Section]:
    if not run.sampled:
        return
    protocol, summary = run.largest_budget()
    names = [name for name in summary.attacks if name != STRONGEST]
    # The attack that its owner expects most of, undefended.
    attack = max(names, key=lambda name: summary.spread(run.baseline, name, "asr").mean)
    before = run.sample(protocol, run.baseline, attack)
    calibrated = {reliability.method: reliability for reliability in run.evidence.reliability}
    blocks: list[Block] = [
        Text(
            f"ROC curves are those of an attacker with {budget(summary.threat)}. Histograms show "
            f"scores of {title_of(attack)}; the outermost bins hold the scores beyond them. "
            f"{RELIABILITY if calibrated else NO_RELIABILITY}",
            "faint",
        )
    ]
    for method in run.methods:
        title = method_title(method)
        blocks.append(Heading(title))
        samples = run.evidence.attacks_on(protocol, method)
        if not samples or before is None:
            blocks.append(Text("Not run on a pool of models, so there are no curves."))
            continue
        panels = {method_title(run.baseline): before}
        if method != run.baseline:
            for name, pool in run.sampled.items():
                sample = run.sample(name, method, attack)
                panels |= {} if sample is None else {f"{method}, {budget(pool.threat)}": sample}
        charts = [attacks_roc_chart(samples, title), score_chart(panels, title)]
        charts += [reliability_chart(calibrated[method])] if method in calibrated else []
        blocks.append(Figures(tuple(charts), small=True))
    yield Section("methods", "Method by method", tuple(blocks))


def _risks(run: _Run) -> Iterator[Section]:
    if not run.sampled:
        return
    protocol, summary = run.largest_budget()
    risks = [risk for risk in run.evidence.risks if risk.protocol == protocol]
    blocks: tuple[Block, ...] = (Text(NO_RISKS),)
    if risks:
        about, name = budget(summary.threat), run.evidence.class_name
        rows = [
            [
                str(place + 1),
                *(
                    f"record {risk.ids[place]}, class {name(risk.labels[place])}: "
                    f"{risk.success[place]:.2f}"
                    if place < len(risk.ids)
                    else ""
                    for risk in risks
                ),
            ]
            for place in range(_MOST_AT_RISK)
        ]
        blocks = (
            Text(RISKS.format(models=risks[0].models)),
            Figures((risk_chart(risks, about),)),
            make_table(
                f"The records with the greatest success by method, {about}",
                ["Rank", *(method_title(risk.method) for risk in risks)],
                rows,
            ),
        )
    yield Section("records", "Records most at risk", blocks)


def _attacks(run: _Run) -> Iterator[Section]:
    details = []
    for name, summary in run.summaries.items():
        rows: list[Row] = [
            [
                f"{method}, {title_of(attack)}",
                *(number_cell(summary.metric(method, attack, metric)) for metric in _ATTACK),
            ]
            for method in summary.methods
            for attack in (*summary.attacks, *summary.special)
            if summary.has(method, attack)
        ]
        caption = f"{name}: {budget(summary.threat)}, 95% intervals"
        details.append(Details(make_table(caption, ["Method, attack", *_ATTACK.values()], rows)))
    yield Section("numbers", "Every attack", tuple(details))


def _audit_attacks(run: _Run) -> Iterator[Section]:
    table = replace(
        audit_table.audit_table(run.results), caption="Attacks by outputs and query budget"
    )
    blocks = (table, Text(audit_table.audit_caption(run.results), "faint"))
    yield Section("attacks", "Every attack", blocks)


def _measures(run: _Run) -> Iterator[Section]:
    precision = measures_table.precision_table(run.results)
    agreement = measures_table.agreement_table(run.results)
    choices = measures_table.choices(run.results)
    sentences = measures_table.blind_sentences(run.results)
    sentences += [text for choice in choices for text in measures_table.measure_sentences(choice)]
    if precision is None:
        return
    blocks: list[Block] = [Bullets(tuple((sentence, "") for sentence in sentences))]
    for table in map(measures_table.group_table, choices):
        blocks += [table] if table is not None else []
    blocks += [Text(measures_table.GROUPS_NOTE, "faint"), precision]
    blocks += [Text(measures_table.PRECISION_NOTE, "faint")]
    if agreement is not None:
        blocks += [agreement, Text(measures_table.AGREEMENT_NOTE, "faint")]
    yield Section("measures", "Groups, precision, agreement", tuple(blocks))


def _standards(run: _Run) -> Iterator[Section]:
    blocks = (Bullets(standards.STANDARDS), Text(standards.NOTE, "faint"))
    yield Section("standards", "Standards that ask for such an audit", blocks)


def _circumstances(run: _Run) -> Iterator[Section]:
    results, first = run.results, run.results[0]
    rows = []
    for method in run.methods:
        result = next(row for row in results if row.method == method)
        rows.append([method, result.recipe, _json(result.recipe_parameters), _json(result.defense)])
    facts = {
        "Command": first.command,
        "Data": first.dataset,
        "Model": f"{first.model} {_json(first.model_parameters)}",
        "Seeds": ", ".join(map(str, sorted({result.seed for result in results}))),
        "Splits": ", ".join(dict.fromkeys(result.split for result in results)),
        "Records": "; ".join(dict.fromkeys(_json(result.counts) for result in results)),
        "Hardware": _json(first.hardware),
        "Versions": _json(first.versions),
    }
    if any(result.training for result in results):
        facts["Time of training"] = f"{_training_seconds(results):,.0f} s"
    names = ("Method", "Recipe", "Recipe parameters", "Defense")
    methods = make_table("Methods", [Column(name, "left") for name in names], rows)
    headings = ("Fact", Column("Value", "left"))
    circumstances = make_table("Circumstances", headings, list(facts.items()))
    yield Section("how", "How it was made", (methods, circumstances))


def _training_seconds(results: Sequence[Result]) -> float:
    """The time of training, counted once for all results that share models."""
    return sum(
        {
            (result.protocol == "paper", result.recipe, result.seed): result.training.get(
                "seconds", 0.0
            )
            for result in results
        }.values()
    )


def _json(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in values.items())


_Build = Callable[[_Run], Iterator[Section]]

_BENCHMARK: tuple[_Build, ...] = (
    _first_page,
    _success,
    _findings,
    _protocols,
    _canaries,
    _by_method,
    _risks,
    _attacks,
    _circumstances,
)
_AUDIT: tuple[_Build, ...] = (
    _audit_first_page,
    _notes,
    _success,
    _audit_findings,
    _audit_attacks,
    _measures,
    _by_method,
    _risks,
    _standards,
    _circumstances,
)
