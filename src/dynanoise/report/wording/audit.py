"""Audits of models that the user brought: the table, and verdicts that say whose they are."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rich import box
from rich.console import Console
from rich.table import Table

from dynanoise.attacks.title import title_of
from dynanoise.core.result import AUDIT, SERVED, STRONGEST, Metric, Result
from dynanoise.report.summary import Summary

CAPTION = (
    "Success is balanced accuracy of the attack's decisions, 0.5 is chance; TPR is the share of "
    "members found at a false positive rate. In brackets 95% intervals. The strongest attack is "
    "the attacker's own choice, made on what it knows before it asks."
)

OUT_OF_SCOPE = (
    "Not covered by this audit: white-box access to the weights, observation of the training, "
    "extraction of the model or of its data, earlier versions of the model."
)


def sentences(records: Sequence[Result]) -> list[str]:
    """A verdict for each kind of answers and query budget, utility, and what is out of scope.

    Args:
        records: of one audit.
    """
    return [*verdicts(records), *utilities(records), OUT_OF_SCOPE]


def of_audit(records: Sequence[Result]) -> bool:
    """True for results of models that the user brought."""
    return bool(records) and all(record.preset == AUDIT for record in records)


def title(record: Result) -> str:
    """Of a page."""
    return f"Audit of {record.dataset}"


def summaries_of(records: Sequence[Result]) -> dict[str, Summary]:
    """A summary for each query budget, of the attacks that were run on everything.

    Undefended answers are the same every time, so they stand in all of them. There is no utility
    where no test data were given.
    """
    baseline = [one for one in records if one.method == records[0].method]
    found = {}
    for name in dict.fromkeys(record.protocol for record in records):
        rows = [one for one in records if one.protocol == name]
        if rows[0].method != baseline[0].method:
            threat = rows[0].threat
            rows = [*(replace(one, protocol=name, threat=threat) for one in baseline), *rows]
        methods = tuple(dict.fromkeys(one.method for one in rows))
        run = [{one.attack for one in rows if one.method == each} for each in methods]
        attacks = dict.fromkeys(one.attack for one in rows if one.attack is not None)
        everywhere = tuple(one for one in attacks if all(one in each for each in run))
        found[name] = Summary(tuple(rows), methods, everywhere, (records[0].seed,))
    return found


def table(records: Sequence[Result]) -> Table:
    """Attacks in rows, the strongest of each kind of answers and query budget last."""
    record = records[0]
    shown = Table(
        title=f"{record.dataset}: {subtitle(record)}",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title_justify="left",
    )
    header, rows = cells(records)
    for index, heading in enumerate(header):
        shown.add_column(heading, justify="left" if index in (0, 2) else "right", overflow="fold")
    for row in rows:
        shown.add_row(*row, end_section=row[2].startswith("Strongest"))
    return shown


def text_table(records: Sequence[Result], width: int) -> str:
    """The table as plain text.

    Args:
        records: of one audit.
        width: columns of the page.
    """
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(table(records))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def markdown_table(records: Sequence[Result]) -> str:
    """The table in Markdown."""
    header, rows = cells(records)
    lines = [header, [":--" if index in (0, 2) else "--:" for index in range(len(header))], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown_page(records: Sequence[Result], notes: Sequence[str]) -> str:
    """Table, sentences and notes as a page of Markdown."""
    head = f"# {title(records[0])}\n\n`{records[0].command}`"
    lines = "\n".join(f"- {sentence}" for sentence in (*sentences(records), *notes))
    return "\n\n".join([head, markdown_table(records), CAPTION, lines]) + "\n"


def cells(records: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """The headings and rows of the table as text."""
    return _headings(records), _rows(records)


def _attacks(records: Iterable[Result]) -> list[Result]:
    return [record for record in records if record.attack is not None]


def _rates(records: Sequence[Result]) -> list[str]:
    names = {name for one in _attacks(records) for name in one.metrics if name.startswith("tpr@")}
    return sorted(names, key=lambda name: float(name[4:]))


def _headings(records: Sequence[Result]) -> list[str]:
    rates = [f"TPR at {_percent(name)} FPR" for name in _rates(records)]
    return ["Answers", "Queries", "Attack", "Success", "AUC", *rates]


def _percent(name: str) -> str:
    return f"{100 * float(name[4:]):g}%"


def _rows(records: Sequence[Result]) -> list[list[str]]:
    rows = []
    for record in _attacks(records):
        cells = [_interval(record.metrics[name]) for name in ("asr", "auc")]
        for name in _rates(records):
            found = record.metrics.get(name)
            cells.append("-" if found is None else _interval(found))
        rows.append([record.method, str(record.threat.repeats), _title(record), *cells])
    return rows


def _title(record: Result) -> str:
    if record.attack != STRONGEST:
        return title_of(str(record.attack))
    return f"Strongest: {_choice(record)}"


def _choice(record: Result) -> str:
    """Such as "LiRA (14 of 16), Gap (2 of 16)"."""
    chosen = {
        name.removeprefix("chosen "): int(metric.value)
        for name, metric in record.metrics.items()
        if name.startswith("chosen ")
    }
    total = sum(chosen.values())
    ranked = sorted(chosen.items(), key=lambda pair: -pair[1])
    if len(ranked) == 1:
        return title_of(ranked[0][0])
    return ", ".join(f"{title_of(name)} ({count} of {total})" for name, count in ranked)


def _interval(metric: Metric) -> str:
    """Such as "0.566 [.557,.576]".

    >>> _interval(Metric(0.5661, 0.5571, 0.5759)), _interval(Metric(1.0))
    ('0.566 [.557,.576]', '1.000')
    """
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f}"
    low, high = (f"{bound:.3f}".removeprefix("0") for bound in (metric.low, metric.high))
    return f"{metric.value:.3f} [{low},{high}]"


def subtitle(record: Result) -> str:
    """Such as "outputs as given, 16 models, 400 records"."""
    count, records = record.counts["models"], record.counts["pool"]
    return f"{record.model}, {count} model{'' if count == 1 else 's'}, {records:,} records"


def verdicts(records: Sequence[Result]) -> list[str]:
    """What the strongest attack achieves, a sentence for each kind of answers and budget."""
    found = []
    for record in records:
        if record.attack != STRONGEST:
            continue
        metrics = record.metrics
        low = [
            f"{_interval(metrics[name])} of the members at {_percent(name)} false positives"
            for name in _rates([record])
        ]
        finds = f", and finds {' and '.join(low)}" if low else ""
        found.append(
            f"{_answers(record)}, {_queries(record)}: {_choice(record)}, the strongest attack by "
            f"the attacker's own choice, has success {_interval(metrics['asr'])} (0.5 is chance) "
            f"and AUC {_interval(metrics['auc'])}{finds}. {_threat(record)}"
        )
    return found


def _answers(record: Result) -> str:
    if record.method == "none":
        return "Undefended answers"
    if record.method == SERVED:
        return "Answers of the server"
    values = [f"{k}={v}" for k, v in record.defense.items() if k != "name" and _plain(v)]
    return f"Answers behind {record.method}({', '.join(values)})"


def _plain(value: object) -> bool:
    return isinstance(value, int | float | str)


def _queries(record: Result) -> str:
    count = record.threat.repeats
    return "1 query a record" if count == 1 else f"{count} queries a record, averaged"


def _threat(record: Result) -> str:
    """The threat model, and what the interval is of."""
    knows = ""
    if record.method == SERVED and not record.threat.knows_defense:
        knows = "does not know what the server does to them, "
    elif record.method != "none":
        knows = "knows the defense and its parameters, not its random draws, "
    models = record.counts["models"]
    if models == 1:
        return (
            f"Threat model: an attacker who sees all probabilities, {knows}knows of half of the "
            "records whether they are members, and has no models of its own; one who has may "
            "find more. 95% intervals over the records of this one model."
        )
    return (
        f"Threat model: an attacker who sees all probabilities, {knows}and has {models - 1} shadow "
        "models trained on random parts of the same records, here the other models. "
        "95% intervals over models and records."
    )


def utilities(records: Sequence[Result]) -> list[str]:
    """What answers are worth, and what a defense gains beyond what it costs."""
    rows = {record.method: record for record in records if record.attack is None}
    found = []
    for method, record in rows.items():
        metrics = record.metrics
        answers = "undefended" if method == "none" else f"behind {method}"
        said = f"Accuracy {answers}: {_interval(metrics['accuracy'])} on {record.counts['test']:,} "
        said += f"test records, {metrics['train_accuracy'].value:.3f} on members"
        if method != "none":
            said += f"; {metrics['label_flips'].value:.3f} of the labels are not the model's own"
            said += _trade(records, method)
        found.append(f"{said}.")
    return found


def _trade(records: Sequence[Result], method: str) -> str:
    budgets = [one for one in records if one.attack is None and one.method == method]
    values = [
        f"{_signed(one.metrics['midput'])} at {_queries(one).removesuffix(', averaged')}"
        for one in budgets
    ]
    return f"; MIDPUT {', '.join(values)}"


def _signed(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return f"{metric.value:+.3f}"
    return f"{metric.value:+.3f} [{metric.low:+.3f},{metric.high:+.3f}]"
