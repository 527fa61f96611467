"""Every attack against every method under every protocol, in one metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.table import Table

from dynanoise.attacks.title import title_of
from dynanoise.core.errors import UnknownNameError
from dynanoise.core.result import STRONGEST, Metric, Result
from dynanoise.report.side_by_side import by_protocol
from dynanoise.report.summary import Summary


def by_attack(records: Sequence[Result], metric: str) -> dict[str, list[list[str]]]:
    """Rows of text for each protocol; the first row names the attacks.

    Args:
        records: of one preset.
        metric: of attacks, such as "auc" or "tpr@0.001".

    Raises:
        UnknownNameError: if no Result of an attack has it.
    """
    known = dict.fromkeys(name for one in records if one.attack for name in one.metrics)
    # How often an attack was chosen is told of the strongest alone, and is no measure of success.
    listed = [name for name in known if not name.startswith("chosen ")]
    if metric not in listed:
        raise UnknownNameError(
            f"No attack was measured by {metric!r}.", f"Known: {', '.join(listed)}."
        )
    return {name: _rows(one, metric) for name, one in by_protocol(records).items()}


def _rows(summary: Summary, metric: str) -> list[list[str]]:
    have = {(one.method, one.attack) for one in summary.records if metric in one.metrics}
    attacks = (*summary.attacks, *summary.special)
    header = ["", *(_title(name) for name in attacks)]
    rows = [header]
    for method in summary.methods:
        cells = [method]
        for attack in attacks:
            found = (method, attack) in have
            cells.append(_cell(summary.spread(method, attack, metric).interval) if found else "")
        rows.append(cells)
    return rows


def _title(attack: str) -> str:
    return "Strongest" if attack == STRONGEST else title_of(attack)


def _cell(found: Metric) -> str:
    """Such as ".814 [.802,.826]"; a value without an interval stands alone."""
    if found.low is None or found.high is None:
        return _short(found.value)
    return f"{_short(found.value)} [{_short(found.low)},{_short(found.high)}]"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def tables(rows: Mapping[str, list[list[str]]], metric: str) -> Iterable[Table]:
    """For a terminal: attacks in rows there, which are the longer of the two."""
    for protocol, (header, *body) in rows.items():
        table = Table(box=box.SIMPLE_HEAD, title=f"{protocol}: {metric}", title_justify="left")
        table.add_column("")
        for method, *_ in body:
            table.add_column(method, justify="right")
        for index, attack in enumerate(header[1:], start=1):
            table.add_row(attack, *(cells[index].replace(" ", "\n") for cells in body))
        yield table


def markdown(rows: Mapping[str, list[list[str]]], metric: str) -> str:
    """The same in Markdown, methods in rows."""
    parts = []
    for protocol, (header, *body) in rows.items():
        lines = [header, [":--", *["--:"] * (len(header) - 1)]]
        lines += [[cell.replace(" [", "<br>[") for cell in cells] for cells in body]
        text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"{protocol}: {metric}\n\n{text}")
    return "\n\n".join(parts)
