"""The page of a run: its tables, sentences and picture, by the kind of results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dynanoise.core.result import OVERHEAD, Result
from dynanoise.report.charts.attack_success import success_plot
from dynanoise.report.charts.time_ratios import time_plot
from dynanoise.report.render.markdown import table_markdown
from dynanoise.report.summary import by_protocol
from dynanoise.report.table import Table
from dynanoise.report.tables import (
    audit_table,
    canary_table,
    comparison,
    paper_table,
    time_table,
)
from dynanoise.report.tables.measures_table import blind_warning

PAPER = "paper"


@dataclass(frozen=True)
class Page:
    """The report of a run: tables, sentences and a picture, for terminals and files.

    Attributes:
        tables: for a terminal.
        markdown: the same tables as Markdown, without published values.
        caption: explanation of the cells, in sentences.
        brackets: sentence on the numbers in brackets in `tables`, which are published values;
            empty where there are none. Files have no such numbers, so it is not part of `caption`.
        sentences: findings and threat models.
        warning: the first of them, if it makes every number doubtful; else empty.
        picture_name: file name; None where there is no picture.
        picture: draws it as SVG; raises MissingExtraError without matplotlib.
        headline: the finding in one line; empty where there is none.
    """

    tables: tuple[Table, ...]
    markdown: str
    caption: str
    sentences: list[str]
    warning: str = ""
    brackets: str = ""
    picture_name: str | None = None
    picture: Callable[[], bytes] | None = None
    headline: str = ""


def build_page(results: Sequence[Result]) -> Page:
    """Build the page of attacks, of an audit, or of time and memory.

    Raises:
        InputError: if the results are not all those of one run.
    """
    if any(result.protocol == OVERHEAD for result in results):
        times = time_table.collect_times(results)
        table = time_table.time_table(times)
        return Page(
            tables=(table,),
            markdown=table_markdown(table),
            caption=time_table.time_caption(times),
            sentences=time_table.time_findings(times),
            picture_name="overhead.svg",
            picture=lambda: time_plot(times),
        )
    if audit_table.is_audit(results):
        table = audit_table.audit_table(results)
        return Page(
            tables=(table,),
            markdown=table_markdown(table),
            caption=audit_table.audit_caption(results),
            sentences=audit_table.audit_sentences(results),
            headline=audit_table.audit_headline(results),
            warning=blind_warning(results),
        )
    return _attacks(results)


def _attacks(results: Sequence[Result]) -> Page:
    """The paper's table, if its protocol was run, and all protocols side by side, if others were.

    So neither can be quoted without the other. Canaries follow, where there are some.
    """
    summaries = by_protocol(results)
    paper = summaries.get(PAPER)
    tables: list[Table] = []
    caption, sentences, brackets = paper_table.MIDPUT_NOTE, [], ""
    if paper is not None:
        tables.append(paper_table.paper_table(paper))
        caption = f"{paper_table.paper_caption(paper)} {caption}"
        sentences += paper_table.findings(paper)
    if set(summaries) != {PAPER}:
        tables.append(comparison.comparison_table(summaries))
        sentences += comparison.comparison_notes(summaries)
    if canary_table.planted(summaries):
        tables.append(canary_table.canary_table(summaries))
        sentences += canary_table.canary_notes(summaries)
    sentences += paper_table.guarantees(results)
    markdown = "\n\n".join(map(table_markdown, tables))
    if paper is not None and (beside := paper_table.published_values(paper)).rows:
        tables[0] = paper_table.paper_table(paper, beside)
        brackets = paper_table.BRACKETS
    return Page(
        tables=tuple(tables),
        markdown=markdown,
        caption=caption,
        brackets=brackets,
        sentences=list(dict.fromkeys(sentences)),
        picture_name="attack_success.svg",
        picture=lambda: success_plot(next(iter(summaries.values())) if paper is None else paper),
    )
