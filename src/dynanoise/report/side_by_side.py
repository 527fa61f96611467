"""The paper's and the honest protocols in one table, so that none is quoted without the others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from dynanoise.attacks.title import title_of
from dynanoise.core.result import STRONGEST, Metric, Result, ThreatModel
from dynanoise.report.summary import Summary, summarise
from dynanoise.report.wording.threats import asks, own_models, secret

_BEFORE_PROTOCOLS, _A_PROTOCOL = 24, 38
"""Columns of the names and the accuracy, and of each protocol with intervals."""

_LONG = len("adaptive_16")

_INTERVAL = re.compile(r"\n\[.*?\]")


def by_protocol(records: Sequence[Result]) -> dict[str, Summary]:
    """A summary for each protocol, in the order of the results."""
    names = dict.fromkeys(record.protocol for record in records)
    return {
        name: summarise([record for record in records if record.protocol == name]) for name in names
    }


def side_by_side(summaries: Mapping[str, Summary], width: int) -> Table:
    """Methods in rows; for each protocol the strongest attack's success and the trade-off.

    Intervals are left out where they would be broken across lines.

    Args:
        summaries: by protocol, of one preset.
        width: of the terminal.
    """
    roomy = width >= _BEFORE_PROTOCOLS + _A_PROTOCOL * len(summaries)
    table = Table(
        title=_title(summaries),
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title_justify="left",
    )
    for index, heading in enumerate(_headings(summaries)):
        table.add_column(
            heading, justify="right" if index else "left", overflow="fold", no_wrap=roomy
        )
    for row in _rows(summaries):
        cells = row if roomy else [_INTERVAL.sub("", cell) for cell in row]
        table.add_row(*cells)
    return table


def markdown_side_by_side(summaries: Mapping[str, Summary]) -> str:
    """The same table in Markdown."""
    header, rows = cells(summaries)
    lines = [header, [":--", *["--:"] * (len(header) - 1)]]
    lines += [[cell.replace("\n", "<br>") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cells(summaries: Mapping[str, Summary]) -> tuple[list[str], list[list[str]]]:
    """The headings and rows of the table as text; a cell's interval stands on a line of its own."""
    return [heading.replace("\n", " ") for heading in _headings(summaries)], _rows(summaries)


def notes(summaries: Mapping[str, Summary]) -> list[str]:
    """What the columns are, under which threat model, in sentences."""
    sentences = []
    for name, summary in summaries.items():
        record = summary.records[0]
        threat, counts = record.threat, record.counts
        if threat.knows_defense and "models" in counts:
            fewer = {one.counts["models"] for one in summary.records} - {counts["models"]}
            few = f" ({', '.join(map(str, sorted(fewer)))} for some)" if fewer else ""
            sentences.append(
                f"{name}: the attacker knows the defense and its parameters, {secret(threat)}; "
                f"has {own_models(threat)}; {asks(threat)}; "
                "chooses attack and threshold on models of its own. "
                f"{counts['models']} models{few} over {counts['pool']:,} records, each the target "
                "once. In brackets 95% intervals over models and records."
            )
        else:
            sentences.append(
                f"{name}: the attacker {_knows(threat)} and {asks(threat)}; "
                f"the strongest of its {len(summary.attacks)} attacks in hindsight."
            )
    everyone = dict.fromkeys(name for one in summaries.values() for name in one.methods)
    without_keys = [one for one in summaries.values() if not one.records[0].threat.key_known]
    absent = [name for name in everyone if any(name not in s.methods for s in without_keys)]
    if absent:
        sentences.append(
            f"Not run under every protocol: {', '.join(absent)} (it would take hours)."
        )
    return sentences


def _title(summaries: Mapping[str, Summary]) -> str:
    record = next(iter(summaries.values())).records[0]
    return f"{record.preset}: {record.model}, success of the strongest attack and MIDPUT"


def _headings(summaries: Mapping[str, Summary]) -> list[str]:
    headings = ["", "Test acc."]
    for name in summaries:
        # Where a long name may be broken in a narrow column.
        first, _, rest = name.partition("_") if len(name) > _LONG else (name, "", "")
        heading = f"{first}\n{rest}" if rest else first
        headings += [f"{heading}:\nstrongest", "MIDPUT", "worst"]
    return headings


def _rows(summaries: Mapping[str, Summary]) -> list[list[str]]:
    everyone = dict.fromkeys(name for one in summaries.values() for name in one.methods)
    rows = []
    for method in everyone:
        first = next(one for one in summaries.values() if method in one.methods)
        row = [method, f"{first.spread(method, None, 'accuracy').mean:.3f}"]
        for summary in summaries.values():
            if method not in summary.methods:
                row += ["not run", "", ""]
                continue
            name, found = strongest(summary, method)
            row.append(f"{_with_interval(found)}\n{name}")
            for metric in ("midput", "midput_worst_case"):
                spread = summary.spread(method, None, metric).interval
                if metric == "midput":  # the mean over attacks decides nothing; see the results
                    spread = Metric(spread.value)
                baseline = method == summary.methods[0]
                row.append("-" if baseline else _with_interval(spread, "+"))
        rows.append(row)
    return rows


def strongest(summary: Summary, method: str) -> tuple[str, Metric]:
    """The strongest attack's title and success: the attacker's own choice where it made one."""
    if STRONGEST in summary.attacks:
        record = next(
            one for one in summary.records if one.method == method and one.attack == STRONGEST
        )
        chosen = {
            name.removeprefix("chosen "): metric.value
            for name, metric in record.metrics.items()
            if name.startswith("chosen ")
        }
        most = max(chosen, key=lambda name: chosen[name])
        return title_of(most), summary.spread(method, STRONGEST, "asr").interval
    spreads = {name: summary.spread(method, name, "asr") for name in summary.attacks}
    most = max(spreads, key=lambda name: spreads[name].mean)
    return title_of(most), spreads[most].interval


def _with_interval(metric: Metric, sign: str = "") -> str:
    """Such as "0.566" above "[.557,.576]"."""
    if metric.low is None or metric.high is None or metric.low == metric.high:
        return f"{metric.value:{sign}.3f}"
    bounds = ",".join(f"{bound:.3f}".replace("0.", ".") for bound in (metric.low, metric.high))
    return f"{metric.value:{sign}.3f}\n[{bounds}]"


def _knows(threat: ThreatModel) -> str:
    if threat.knows_defense:
        return f"knows the defense, has {own_models(threat)}"
    return "does not know of the defense"
