"""Tables for a terminal of a width, by rich."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace

import rich.table
from rich import box
from rich.cells import cell_len, chop_cells
from rich.console import Console, Group, RenderableType
from rich.text import Text

from dynanoise.report.numbers import compact
from dynanoise.report.table import Cell, Table

_LONG = 13
"""Columns that words get where there is little room; none of the package's words is longer."""


def console_table(table: Table, width: int) -> Group:
    """Lay a table out for a terminal.

    Intervals stand beside their numbers, or below them where that is too wide. Where that is too
    wide as well, the columns are distributed over several tables, one for each group of columns,
    which all begin with the names of the rows. Names are broken where they must be; a number is
    never broken, nor left out.

    Args:
        table: with numbers written in full; leading zeros of intervals are left out.
        width: columns of the terminal.

    Returns:
        The caption, and one table or several below each other.
    """
    layouts = list(_layouts(table, width))
    fitting = (parts for parts in layouts if max(map(_width, parts)) <= width)
    parts = next(fitting, layouts[-1])
    lines: list[RenderableType] = [Text(table.caption, "italic")] if table.caption else []
    for part in parts:
        lines += [*([""] if part is not parts[0] else []), _rich_table(part, width)]
    return Group(*lines)


def _rich_table(table: Table, width: int) -> rich.table.Table:
    room = width - _width(table)
    laid_out = rich.table.Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0) if room >= len(table.columns) else 0,
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


def _layouts(table: Table, width: int) -> Iterator[list[Table]]:
    """Layouts of the same content, in the order of preference; text alone is left in a cell."""
    yield [_inline(table)]
    yield [_stacked(table)]
    yield [_stacked(table, _LONG)]
    for words in (None, _LONG):
        parts = _parts(table, width, words)
        yield [_inline(part) for part in parts]
        yield [_stacked(part, words) for part in parts]


def _parts(table: Table, width: int, words: int | None) -> list[Table]:
    """Tables of as many neighbouring columns as fit beside the names; a group begins a new one."""
    places: list[list[int]] = []
    for index in range(table.names, len(table.columns)):
        joined = [*places[-1], index] if places else []
        together = joined and len({table.columns[place].group for place in joined}) == 1
        if together and _width(_stacked(table.select(joined), words)) <= width:
            places[-1] = joined
        else:
            places.append([index])
    return [table.select(part) for part in places]


def _inline(table: Table) -> Table:
    rows = tuple(tuple(Cell(" ".join(_lines(cell))) for cell in row) for row in table.rows)
    return replace(table, rows=rows)


def _stacked(table: Table, words: int | None = None) -> Table:
    """The lines of each cell below each other, and headings broken to the width of the cells.

    Args:
        table: with cells of several lines.
        words: columns to which names, notes and other words are broken; None leaves them whole.
    """
    rows = tuple(
        tuple(Cell("\n".join(_fold(line, words) for line in _lines(cell))) for cell in row)
        for row in table.rows
    )
    columns = []
    for index, column in enumerate(table.columns):
        widest = max((_line_width(row[index].text) for row in rows), default=0)
        heading = _broken(column.short or column.heading, widest)
        columns.append(replace(column, heading=heading))
    return replace(table, columns=tuple(columns), rows=rows)


def _lines(cell: Cell) -> list[str]:
    first, *others = cell.lines or ("",)
    return [first, *map(compact, others)]


def _fold(line: str, words: int | None) -> str:
    """A line of words, broken; a line of numbers is left alone."""
    return _broken(line, words) if words and re.search(r"[^\W\d]", line) else line


def _broken(text: str, width: int) -> str:
    r"""Break a text at spaces, and long words between their parts, or anywhere if they have none.

    >>> _broken("adaptive_recipe: best attack", 11), _broken("adaptive_16: worst", 9)
    ('adaptive_\nrecipe:\nbest attack', 'adaptive_16:\nworst')
    >>> _broken("dynanoise(base_variance=1e-05)", 12)
    'dynanoise(\nbase_\nvariance=\n1e-05)'
    """
    width = max(width, 1)
    lines = [""]
    for word in text.split(" "):
        long = cell_len(word) > max(width, _LONG)
        for index, piece in enumerate(_pieces(word) if long else [word]):
            joined = lines[-1] + (" " if index == 0 and lines[-1] else "") + piece
            if cell_len(joined) <= width or not lines[-1]:
                lines[-1] = joined
            else:
                lines.append(piece)
    return "\n".join(lines)


def _pieces(word: str) -> Iterator[str]:
    """The parts of a long word; the sign of a number is none of its joints."""
    for part in re.split(r"(?<=[_=(,/])(?=.)|(?<=[^\W\d_]-)(?=[^\W\d_])", word):
        yield from chop_cells(part, _LONG) if cell_len(part) > _LONG else [part]


def _line_width(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _width(table: Table) -> int:
    """Columns that a table takes without breaking any line: one between two columns."""
    widths = [
        max(map(_line_width, (column.heading, *(row[index].text for row in table.rows))))
        for index, column in enumerate(table.columns)
    ]
    return sum(widths) + len(widths) - 1
