"""All protocols of a run side by side, so that none is quoted without the others."""

from __future__ import annotations

from collections.abc import Mapping

from dynanoise.core.result import Metric
from dynanoise.report.numbers import change, rate
from dynanoise.report.summary import Summary, method_names
from dynanoise.report.table import MISSING, Column, Row, Table, make_table, number_cell
from dynanoise.report.wording import threats


def comparison_table(summaries: Mapping[str, Summary], *, accuracy: bool = True) -> Table:
    """Tabulate the deciding attack's success and MIDPUT of each method under every protocol.

    Args:
        summaries: by protocol, of one preset.
        accuracy: False to leave the columns of test accuracy out.

    Returns:
        A table with methods in rows, and a group of columns for each protocol, whose accuracy is
        that of the models it attacks.
    """
    result = next(iter(summaries.values())).results[0]
    headings: list[str | Column] = ["Method"]
    for name, summary in summaries.items():
        titles: tuple[str, ...] = (f"{name}: {summary.deciding}", "MIDPUT", "worst")
        titles = ("Test acc.", *titles) if accuracy else titles
        headings += [Column(title, group=name) for title in titles]
    rows: list[Row] = []
    for method in method_names(summaries.values()):
        row: Row = [method]
        for summary in summaries.values():
            if accuracy:
                row.append(_accuracy(summary, method))
            row += _cells(summary, method)
        rows.append(row)
    caption = f"{result.preset}: {result.model}, success of attacks and MIDPUT"
    return make_table(caption, headings, rows)


def _accuracy(summary: Summary, method: str) -> str:
    """The test accuracy of the models that a protocol attacks; "" for a method not run."""
    if method not in summary.methods:
        return ""
    return rate(summary.spread(method, None, "accuracy").mean)


def _cells(summary: Summary, method: str) -> Row:
    if method not in summary.methods:
        return ["not run", "", ""]
    title, success = summary.success(method)
    better = summary.better(method)
    note = title if better is None else f"{title};\nbest single {better[0]} {rate(better[1].value)}"
    deciding = number_cell(_varying(success), note=note)
    if method == summary.methods[0]:
        return [deciding, MISSING, MISSING]
    # The mean over attacks decides nothing, so its interval would only take room.
    mean = Metric(summary.spread(method, None, "midput").interval.value)
    worst = summary.spread(method, None, "midput_worst_case").interval
    return [deciding, number_cell(mean, change), number_cell(_varying(worst), change)]


def _varying(metric: Metric) -> Metric:
    """The metric, without an interval of no length."""
    return Metric(metric.value) if metric.low == metric.high else metric


def comparison_notes(summaries: Mapping[str, Summary]) -> list[str]:
    """Describe each protocol's attacker, and name methods that were not run."""
    sentences = [threats.attacker_sentence(summary) for summary in summaries.values()]
    if any(s.better(method) for s in summaries.values() for method in s.methods):
        sentences.append(
            "Best single: an attack with more success on the targets than the attacker's choice; "
            "the attacker cannot know which it is."
        )
    without_keys = [summary for summary in summaries.values() if not summary.threat.key_known]
    absent = [
        name
        for name in method_names(summaries.values())
        if any(name not in summary.methods for summary in without_keys)
    ]
    if absent:
        sentences.append(f"Not run under every protocol: {', '.join(absent)}.")
    return sentences
