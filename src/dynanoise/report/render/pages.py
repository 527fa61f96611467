"""What a set of results looks like, by the kind of results they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from dynanoise.core.result import OVERHEAD, Result
from dynanoise.report import canaries, overhead, side_by_side
from dynanoise.report.charts.overhead_plot import overhead_plot
from dynanoise.report.charts.plots import success_plot
from dynanoise.report.render import table
from dynanoise.report.wording import audit, findings

PAPER = "paper"

_PROTOCOLS = 3
"""Side by side on a terminal; with more of them a table would be of single letters."""


@dataclass(frozen=True)
class Page:
    """Everything that is printed or written of results.

    Attributes:
        tables: for a terminal of a width.
        markdown: the same.
        caption: what the tables' cells are.
        brackets: what stands in brackets on a terminal only, or "".
        sentences: what they say.
        picture_name: of its file; None where there is no picture.
        picture: draws it, as SVG; raises MissingExtraError without matplotlib.
    """

    tables: Callable[[int], list[Table]]
    markdown: str
    caption: str
    brackets: str
    sentences: list[str]
    picture_name: str | None = None
    picture: Callable[[], bytes] | None = None


def page_of(records: Sequence[Result]) -> Page:
    """The page of attacks, of an audit, or of time and memory.

    Raises:
        InputError: if the results are not all those of one run.
    """
    if any(record.protocol == OVERHEAD for record in records):
        measured = overhead.summarise(records)
        return Page(
            tables=lambda width: [overhead.overhead_table(measured, width)],
            markdown=overhead.markdown_table(measured),
            caption=overhead.caption(measured),
            brackets="",
            sentences=overhead.findings(measured),
            picture_name="overhead.svg",
            picture=lambda: overhead_plot(measured),
        )
    if audit.of_audit(records):
        return Page(
            tables=lambda width: [audit.table(records)],
            markdown=audit.markdown_table(records),
            caption=audit.CAPTION,
            brackets="",
            sentences=audit.sentences(records),
        )
    return _attacks(records)


def _attacks(records: Sequence[Result]) -> Page:
    """The paper's table, if its protocol was run; and all protocols side by side, if others were.

    So nobody can quote the one without the other. Canaries follow, where there are some.
    """
    judged = side_by_side.by_protocol(records)
    paper = judged.get(PAPER)
    several = set(judged) != {PAPER}
    texts, captions, sentences = [], [], []
    if paper is not None:
        texts.append(table.markdown_table(paper))
        captions.append(table.caption(paper))
        sentences += findings.findings(paper)
    if several:
        texts.append(side_by_side.markdown_side_by_side(judged))
        sentences += side_by_side.notes(judged)
    if canaries.planted(judged):
        texts.append(canaries.markdown(judged))
        sentences += canaries.notes(judged)

    def tables(width: int) -> list[Table]:
        shown = [] if paper is None else [table.success_table(paper, width)]
        names = list(judged) if several else []
        for start in range(0, len(names), _PROTOCOLS):
            part = {name: judged[name] for name in names[start : start + _PROTOCOLS]}
            shown.append(side_by_side.side_by_side(part, width))
        if canaries.planted(judged):
            shown.append(canaries.table(judged, width))
        return shown

    return Page(
        tables=tables,
        markdown="\n\n".join(texts),
        caption=" ".join([*captions, findings.MIDPUT_NOTE]),
        brackets=table.BRACKETS if paper is not None and table.published_of(paper).rows else "",
        sentences=sentences,
        picture_name="attack_success.svg",
        picture=lambda: success_plot(next(iter(judged.values())) if paper is None else paper),
    )
