"""All protocols of a run side by side, so that none is quoted without the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dynanoise.core.result import Metric
from dynanoise.report.numbers import change
from dynanoise.report.summary import Summary, method_names
from dynanoise.report.table import MISSING, Row, Table, make_table, number_cell
from dynanoise.report.wording import threats


def comparison_table(summaries: Mapping[str, Summary], *, accuracy: bool = True) -> Table:
    """Tabulate each method's strongest attack and MIDPUT under every protocol.

    Args:
        summaries: by protocol, of one preset.
        accuracy: False to leave the column of test accuracy out.

    Returns:
        A table with methods in rows. Its narrow layout is a table for each protocol.
    """
    result = next(iter(summaries.values())).results[0]
    headings = ["Method", *(["Test acc."] if accuracy else [])]
    for name in summaries:
        headings += [f"{name}: strongest", "MIDPUT", "worst"]
    rows: list[Row] = []
    for method in method_names(summaries.values()):
        row: Row = [method]
        if accuracy:
            first = next(s for s in summaries.values() if method in s.methods)
            row.append(f"{first.spread(method, None, 'accuracy').mean:.3f}")
        for summary in summaries.values():
            row += _cells(summary, method)
        rows.append(row)
    caption = f"{result.preset}: {result.model}, success of the strongest attack and MIDPUT"
    table = make_table(caption, headings, rows)
    if len(summaries) == 1:
        return table
    parts = ({name: summary} for name, summary in summaries.items())
    return replace(table, narrow=tuple(comparison_table(part, accuracy=accuracy) for part in parts))


def _cells(summary: Summary, method: str) -> Row:
    if method not in summary.methods:
        return ["not run", "", ""]
    title, success = summary.strongest(method)
    strongest = number_cell(_varying(success), note=title)
    if method == summary.methods[0]:
        return [strongest, MISSING, MISSING]
    # The mean over attacks decides nothing, so its interval would only take room.
    mean = Metric(summary.spread(method, None, "midput").interval.value)
    worst = summary.spread(method, None, "midput_worst_case").interval
    return [strongest, number_cell(mean, change), number_cell(_varying(worst), change)]


def _varying(metric: Metric) -> Metric:
    """The metric, without an interval of no length."""
    return Metric(metric.value) if metric.low == metric.high else metric


def comparison_notes(summaries: Mapping[str, Summary]) -> list[str]:
    """Write a sentence about each protocol's attacker, and one about methods that were not run."""
    sentences = []
    for name, summary in summaries.items():
        threat, counts = summary.threat, summary.results[0].counts
        knows, queries = threats.knowledge(threat), threats.queries(threat)
        if threat.knows_defense and "models" in counts:
            others = {row.counts["models"] for row in summary.results} - {counts["models"]}
            some = f" ({', '.join(map(str, sorted(others)))} for some)" if others else ""
            sentences.append(
                f"{name}: the attacker {knows}, {queries}, has {threats.shadow_models(threat)}, "
                f"and chooses attack and threshold on its own models. {counts['models']} "
                f"models{some} over {counts['pool']:,} records, each model the target once. In "
                "brackets 95% intervals over models and records."
            )
        else:
            models = f", has {threats.shadow_models(threat)}" if threat.knows_defense else ""
            sentences.append(
                f"{name}: the attacker {knows}{models} and {queries}; the strongest of its "
                f"{len(summary.attacks)} attacks in hindsight."
            )
    without_keys = [summary for summary in summaries.values() if not summary.threat.key_known]
    absent = [
        name
        for name in method_names(summaries.values())
        if any(name not in summary.methods for summary in without_keys)
    ]
    if absent:
        sentences.append(
            f"Not run under every protocol: {', '.join(absent)} (it would take hours)."
        )
    return sentences
