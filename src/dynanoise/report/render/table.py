"""The paper-shaped table, on a terminal and in Markdown."""

from __future__ import annotations

from rich import box
from rich.table import Table

from dynanoise.attacks.title import title_of
from dynanoise.report.io.published import Published, published
from dynanoise.report.summary import Spread, Summary

_TRADE_OFF = {
    "midput": "MIDPUT",
    "midput_leakage": "MIDPUT leak",
    "midput_worst_case": "MIDPUT worst",
}

_ROOM_FOR_WORDS = 112
_ROOM_FOR_COLUMNS = 80

_HYPHENATED = {
    "Confidence": "Confi-\ndence",
    "Entropy": "En-\ntropy",
    "Mod. entropy": "Mod.\nen-\ntropy",
    "LiRA by class": "LiRA\nby\nclass",
}
"""Headings for a terminal of 80 columns, so that no word is broken elsewhere."""


def success_table(summary: Summary, width: int) -> Table:
    """Methods in rows; accuracy, each attack's success and MIDPUT in columns.

    Cells are the mean over seeds, the sample standard deviation and, in brackets, the published
    value where there is one. On less than 80 columns
    methods and measures change places, so that nothing is cut off.

    Args:
        summary: what to show.
        width: of the terminal.
    """
    rows = [[name, *cells] for name, cells in _cells(summary, published_of(summary)).items()]
    header = ["", *_headings(summary)]
    narrow = width < _ROOM_FOR_COLUMNS
    if narrow:
        header, *rows = (list(column) for column in zip(header, *rows, strict=True))
    record = summary.records[0]
    table = Table(
        title=f"{record.preset}: {record.model}, {record.protocol} protocol",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        title_justify="left",
    )
    for index, heading in enumerate(header):
        shown = heading if width >= _ROOM_FOR_WORDS else _HYPHENATED.get(heading, heading)
        table.add_column(
            shown, justify="right" if index else "left", no_wrap=index == 0, overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    return table


def published_of(summary: Summary) -> Published:
    """What the paper says of the same data, by its protocol; empty for others."""
    record = summary.records[0]
    return published(record.preset if record.protocol == "paper" else "")


BRACKETS = "In brackets the published value."
"""Under the table of a terminal, where there are such values."""


def caption(summary: Summary) -> str:
    """What the cells of the table are, in sentences."""
    several = len(summary.seeds) > 1
    seeds = f"{len(summary.seeds)} seeds: mean over ± standard deviation" if several else "One seed"
    scored = summary.records[0].counts.get("scored", "equal numbers of")
    trained = summary.spread(summary.methods[0], None, "train_accuracy").mean
    return (
        f"{seeds}. Attack success is balanced accuracy on {scored} records, half of them members. "
        f"The undefended model's accuracy on its members is {trained:.3f}."
    )


def markdown_table(summary: Summary) -> str:
    """The same table in Markdown, cells "mean ± standard deviation"."""
    header = ["", *_headings(summary)]
    lines = [header, [":--", *["--:"] * (len(header) - 1)]]
    for name, cells in _cells(summary, published("")).items():
        inline = [cell.replace("\n±.", " ± 0.").replace("\n±", " ± ") for cell in cells]
        lines.append([name, *inline])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _headings(summary: Summary) -> list[str]:
    attacks = [title_of(name) for name in summary.attacks]
    return ["Test acc.", *attacks, *_TRADE_OFF.values()]


def _cells(summary: Summary, theirs: Published) -> dict[str, list[str]]:
    """What each method's row says: means, and below them deviations and published values."""
    rows = {}
    for method in summary.methods:
        columns = [(None, "accuracy"), *((name, "asr") for name in summary.attacks)]
        cells = [
            _cell(summary.spread(method, attack, metric), theirs.value(method, attack, metric))
            for attack, metric in columns
        ]
        for name in _TRADE_OFF:
            first = method == summary.methods[0]
            published_value = theirs.value(method, None, name)
            spread = summary.spread(method, None, name)
            cells.append("-" if first else _cell(spread, published_value, "+"))
        rows[method] = cells
    return rows


def _cell(spread: Spread, theirs: float | None, sign: str = "") -> str:
    """Such as "0.566" above "±.012" above "(.612)": without its zero the table fits 80 columns."""
    lines = [f"{spread.mean:{sign}.3f}"]
    if spread.sd is not None:
        lines.append(f"±{spread.sd:.3f}".replace("±0.", "±."))
    if theirs is not None:
        lines.append(f"({theirs:{sign}.3f})".replace("(0.", "(.").replace("(+0.", "(+."))
    return "\n".join(lines)
