"""Tables and documents as Markdown, short enough for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dynanoise.report.document import (
    Block,
    Bullets,
    Details,
    Document,
    Figures,
    Finding,
    Heading,
    Text,
)
from dynanoise.report.table import Cell, Table

_SIDE_BY_SIDE = 2
"""Groups of columns in one table: a page shows no more without scrolling sideways."""

_EMPHASIS = {"": "{}", "strong": "**{}**", "code": "`{}`"}


def table_markdown(table: Table) -> str:
    r"""Write a table as Markdown, without its caption; over two groups of columns as one each.

    >>> from dynanoise.report.table import make_table
    >>> print(table_markdown(make_table("", ["Method", "AUC"], [["a|b", "0.6"]])))
    | Method | AUC |
    | :-- | --: |
    | a\|b | 0.6 |
    """
    groups: dict[str, list[int]] = {}
    for place, column in enumerate(table.columns[table.names :], table.names):
        groups.setdefault(column.group, []).append(place)
    if len(groups) > _SIDE_BY_SIDE:
        return "\n\n".join(table_markdown(table.select(places)) for places in groups.values())
    lines = [
        [escape(column.heading) for column in table.columns],
        [":--" if column.align == "left" else "--:" for column in table.columns],
        *([_cell(cell) for cell in row] for row in table.rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def captioned_markdown(tables: Iterable[Table]) -> str:
    """Write tables as Markdown, each below its caption."""
    return "\n\n".join(f"{escape(table.caption)}\n\n{table_markdown(table)}" for table in tables)


def _cell(cell: Cell) -> str:
    text = escape(" ".join(filter(None, (cell.text, cell.interval)))).replace("\n", "<br>")
    note = escape(f"\n{cell.note}").replace("\n", "<br>") if cell.note else ""
    return _EMPHASIS[cell.emphasis].format(text) + note


def escape(text: str) -> str:
    r"""Escape text, so that names from users' files become no markup; code spans stay.

    >>> escape("a|b <i> lira_by_class _x_ `y`")
    'a\\|b &lt;i&gt; lira_by_class \\_x\\_ `y`'
    """
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|*#~]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9]))", r"\\\1", plain)


def render_markdown(document: Document) -> str:
    """Write the brief sections of a document and its command as Markdown, without charts."""
    facts = (f"{name}: {value}" for name, value in document.facts)
    parts = [f"# {escape(document.title)}", escape(document.subtitle), escape(" · ".join(facts))]
    for section in document.sections:
        if section.brief:
            parts.append(f"## {escape(section.title)}")
            parts += [_block(block) for block in section.blocks]
    parts.append("`" + document.command.replace("`", "'") + "`")
    parts.append("Charts, every attack and the circumstances: report.html.")
    return "\n\n".join(filter(None, parts)) + "\n"


def _block(block: Block) -> str:
    match block:
        case Finding():
            return f"**Level: {escape(block.level)}.** {escape(block.text)}"
        case Heading():
            return f"### {escape(block.text)}"
        case Text(role="warning"):
            return f"> **{escape(block.text)}**"
        case Text():
            return escape(block.text)
        case Bullets():
            return "\n".join(
                f"- {escape(text)}" + (f"\n  {escape(more)}" if more else "")
                for text, more in block.items
            )
        case Table() | Details() | Figures():
            return captioned_markdown([block] if isinstance(block, Table) else [])
