"""A table of results as a value; `dynanoise.report.render` writes it in several formats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from dynanoise.core.errors import InputError
from dynanoise.core.result import Metric
from dynanoise.report import numbers

MISSING = "-"
"""Text of a cell whose value was not measured, or does not exist."""

Emphasis = Literal["", "strong", "code"]


@dataclass(frozen=True)
class Cell:
    """One cell: a text, and what belongs below it.

    Attributes:
        text: the value, or words.
        interval: 95% interval or standard deviation of the value; empty without one.
        note: further lines, such as the name of an attack.
        number: the value with its interval at full precision, where the text is a number.
        emphasis: how the text stands out; a terminal leaves it out.
    """

    text: str
    interval: str = ""
    note: str = ""
    number: Metric | None = None
    emphasis: Emphasis = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """Text, interval and note, without those that are empty."""
        return tuple(filter(None, (self.text, self.interval, *self.note.split("\n"))))


def number_cell(metric: Metric | None, write: numbers.Write = numbers.rate, note: str = "") -> Cell:
    """A metric with its interval as a cell; `MISSING` for None.

    >>> number_cell(Metric(0.5661, 0.5571, 0.5759), note="LiRA").lines
    ('0.566', '[0.557, 0.576]', 'LiRA')
    >>> number_cell(None).text
    '-'
    """
    if metric is None:
        return Cell(MISSING)
    return Cell(write(metric.value), numbers.interval(metric, write), note, metric)


@dataclass(frozen=True)
class Column:
    """A column's heading and alignment.

    Attributes:
        heading: on one line.
        align: side on which heading and cells stand.
        short: a heading for narrow terminals; empty to use `heading`.
        group: columns of one group stand in one table where a terminal needs several.
    """

    heading: str
    align: Literal["left", "right"] = "right"
    short: str = ""
    group: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows with a caption; the first cell of a row names it.

    Attributes:
        caption: description of the content.
        columns: one for each cell of a row.
        rows: cells, as many in each as there are columns.
        group_ends: rows after which a line is drawn, counted from 0.
        names: number of first columns that name a row, repeated where a table is divided.

    Raises:
        InputError: if a row has more or fewer cells than there are columns.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    group_ends: frozenset[int] = field(default_factory=frozenset)
    names: int = 1

    def __post_init__(self) -> None:
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise InputError(
                    f"Row {index} of the table {self.caption!r} has {len(row)} cells for "
                    f"{len(self.columns)} columns.",
                    "Give every column a cell.",
                )

    def select(self, places: Sequence[int]) -> Table:
        """The names of the rows and some other columns.

        >>> table = make_table("", ["Method", "ASR", "AUC"], [["none", "0.6", "0.7"]])
        >>> [cell.text for cell in table.select([2]).rows[0]]
        ['none', '0.7']
        """
        kept = [*range(self.names), *places]
        columns = tuple(self.columns[place] for place in kept)
        rows = tuple(tuple(row[place] for place in kept) for row in self.rows)
        return replace(self, columns=columns, rows=rows)


Row = list[str | Cell]
"""A row as `make_table` takes it: a text stands for a plain cell."""


def make_table(
    caption: str,
    headings: Sequence[str | Column],
    rows: Iterable[Sequence[str | Cell]],
    names: int = 1,
) -> Table:
    """Build a table from texts, columns and cells.

    Args:
        caption: description of the content.
        headings: a column, or its heading: the first is then aligned left, the others right.
        rows: a text for a plain cell.
        names: number of first columns that name a row.

    Raises:
        InputError: if a row has more or fewer cells than there are headings.
    """
    columns = tuple(
        Column(heading, "right" if index else "left") if isinstance(heading, str) else heading
        for index, heading in enumerate(headings)
    )
    cells = (tuple(Cell(cell) if isinstance(cell, str) else cell for cell in row) for row in rows)
    return Table(caption, columns, tuple(cells), names=names)
