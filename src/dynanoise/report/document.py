"""A report as a value: sections of headings, sentences, tables and charts, for any renderer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dynanoise.report.table import Table


@dataclass(frozen=True)
class Chart:
    """A picture with its text alternative and its numbers.

    Attributes:
        alternative: description for readers who cannot see the picture, in a sentence.
        caption: how to read the picture, in plain words below it.
        picture: draws an SVG file; raises MissingExtraError without matplotlib.
        numbers: the numbers as a table, whose caption is the chart's title.
    """

    alternative: str
    caption: str
    picture: Callable[[], bytes]
    numbers: Table

    @property
    def title(self) -> str:
        """Heading."""
        return self.numbers.caption


@dataclass(frozen=True)
class Finding:
    """The level of a leak, large.

    Attributes:
        level: in a word or three.
        text: the number behind it, in sentences.
        count: members among 100 that are drawn as found; None to draw none.
    """

    level: str
    text: str
    count: int | None


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: in sentences.
        role: its look: "lead" is large, "note" and "warning" are boxes, "faint" is small print.
        led: True to set the beginning in bold, up to the first colon.
    """

    text: str
    role: Literal["", "lead", "note", "warning", "faint"] = ""
    led: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of sentences, their beginnings in bold up to the first colon.

    Attributes:
        items: pairs of a sentence and a further one below it, which may be empty.
    """

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Details:
    """A table behind its caption, to be opened."""

    table: Table


@dataclass(frozen=True)
class Figures:
    """Charts beside each other.

    Attributes:
        charts: one or more.
        small: True for many charts in a row.
    """

    charts: tuple[Chart, ...]
    small: bool = False


Block = Finding | Heading | Text | Bullets | Table | Details | Figures


@dataclass(frozen=True)
class Section:
    """A part of a document.

    Attributes:
        key: its address within the page, lower-case letters.
        title: its heading.
        blocks: in the order of reading.
        brief: True if the short report in Markdown has it as well.
    """

    key: str
    title: str
    blocks: tuple[Block, ...]
    brief: bool = False


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: its heading.
        subtitle: a sentence below it.
        command: the command that measures the same again.
        sections: in the order of reading; the first of them is the page that is printed.
        facts: pairs of a name and a value, beside the heading.
    """

    title: str
    subtitle: str
    command: str
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...] = ()
