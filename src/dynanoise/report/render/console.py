"""Tables for a terminal of a width, by rich."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import rich.table
from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

from dynanoise.report.numbers import compact
from dynanoise.report.table import Cell, Column, Table

_LONG = 12
"""Columns of a word that is not broken, and of the first column where names are."""


def console_table(table: Table, width: int) -> Group:
    """Lay a table out for a terminal.

    Intervals stand beside their numbers, or below them where that is too wide. Where that is too
    wide as well, the narrow tables take the table's place, or intervals are left out; only where
    nothing fits are words broken.

    Args:
        table: with numbers written in full; leading zeros of intervals are left out.
        width: columns of the terminal.

    Returns:
        One table, or the narrow ones below each other.
    """
    layouts = list(_layouts(table))
    fitting = (parts for parts in layouts if _width(parts) <= width)
    parts = next(fitting, None) or min(layouts, key=_width)
    laid_out = [_rich_table(part, width) for part in parts]
    return Group(*laid_out)


def _rich_table(table: Table, width: int) -> rich.table.Table:
    room = width - _width([table])
    laid_out = rich.table.Table(
        title=Text(table.caption),
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0) if room >= len(table.columns) else 0,
        title_justify="left",
    )
    for column in table.columns:
        laid_out.add_column(
            Text(column.heading), justify=column.align, overflow="fold", no_wrap=room >= 0
        )
    for index, row in enumerate(table.rows):
        cells = [Text(cell.text) for cell in row]
        laid_out.add_row(*cells, end_section=index in table.group_ends)
    return laid_out


def table_text(table: Table, width: int) -> str:
    """Write a table as plain text.

    Args:
        table: see `console_table`.
        width: columns of the page.
    """
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(console_table(table, width))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _layouts(table: Table) -> Iterator[list[Table]]:
    """Layouts of the same content, in the order of preference; text alone is left in a cell."""
    candidates = [[table], *([list(table.narrow)] if table.narrow else [])]
    for parts in candidates:
        yield [_inline(part) for part in parts]
        yield [_stacked(part) for part in parts]
        yield [_stacked(part, _LONG) for part in parts]
    for parts in candidates:
        yield [_stacked(part.without_intervals(), _LONG) for part in parts]


def _inline(table: Table) -> Table:
    rows = tuple(tuple(Cell(" ".join(_lines(cell))) for cell in row) for row in table.rows)
    return replace(table, rows=rows)


def _stacked(table: Table, names: int | None = None) -> Table:
    """The lines of each cell below each other, and headings broken to the width of the cells.

    Args:
        table: with cells of several lines.
        names: columns of the first column, where it is broken as well.
    """
    rows = []
    for row in table.rows:
        texts = ["\n".join(_lines(cell)) for cell in row]
        texts[0] = texts[0] if names is None else _broken(texts[0], names)
        rows.append(tuple(map(Cell, texts)))
    columns = []
    for index, column in enumerate(table.columns):
        heading = column.short or column.heading
        widest = max((_line_width(row[index].text) for row in rows), default=0)
        columns.append(Column(_broken(heading, widest), column.align))
    return replace(table, columns=tuple(columns), rows=tuple(rows))


def _lines(cell: Cell) -> list[str]:
    first, *others = cell.lines or ("",)
    return [first, *map(compact, others)]


def _broken(heading: str, width: int) -> str:
    r"""Break a heading at spaces, and long words at hyphens and underscores.

    >>> _broken("adaptive_recipe: strongest", 11), _broken("adaptive_16: worst", 9)
    ('adaptive_\nrecipe:\nstrongest', 'adaptive_16:\nworst')
    """
    lines = [""]
    for word in heading.split(" "):
        long = cell_len(word) > max(width, _LONG)
        for index, piece in enumerate(re.findall(r"[^_-]+[_-]*|[_-]+", word) if long else [word]):
            joined = lines[-1] + (" " if index == 0 and lines[-1] else "") + piece
            if cell_len(joined) <= width or not lines[-1]:
                lines[-1] = joined
            else:
                lines.append(piece)
    return "\n".join(lines)


def _line_width(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _width(tables: Sequence[Table]) -> int:
    """Columns that the widest table takes without breaking any line: one between two columns."""

    def width(table: Table) -> int:
        widths = [
            max(map(_line_width, (column.heading, *(row[index].text for row in table.rows))))
            for index, column in enumerate(table.columns)
        ]
        return sum(widths) + len(widths) - 1

    return max(map(width, tables))
