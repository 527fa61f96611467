"""What a set of Records looks like, by the kind of Records they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from dynanoise.record import OVERHEAD, Record
from dynanoise.report import findings, overhead, summary, table
from dynanoise.report.overhead_plot import overhead_plot
from dynanoise.report.plots import success_plot


@dataclass(frozen=True)
class Page:
    """Everything that is printed or written of Records.

    Attributes:
        table: for a terminal of a width.
        markdown: the same.
        caption: what the table's cells are.
        sentences: what they say.
        picture_name: of its file.
        picture: draws it, as SVG; raises MissingExtraError without matplotlib.
    """

    table: Callable[[int], Table]
    markdown: str
    caption: str
    sentences: list[str]
    picture_name: str
    picture: Callable[[], bytes]


def page_of(records: Sequence[Record]) -> Page:
    """The page of attacks, or of time and memory.

    Raises:
        InputError: if the Records are not all those of one run.
    """
    if any(record.protocol == OVERHEAD for record in records):
        measured = overhead.summarise(records)
        return Page(
            table=lambda width: overhead.overhead_table(measured, width),
            markdown=overhead.markdown_table(measured),
            caption=overhead.caption(measured),
            sentences=overhead.findings(measured),
            picture_name="overhead.svg",
            picture=lambda: overhead_plot(measured),
        )
    judged = summary.summarise(records)
    return Page(
        table=lambda width: table.success_table(judged, width),
        markdown=table.markdown_table(judged),
        caption=f"{table.caption(judged)} {findings.MIDPUT_NOTE}",
        sentences=findings.findings(judged),
        picture_name="attack_success.svg",
        picture=lambda: success_plot(judged),
    )
