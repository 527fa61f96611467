"""What an audit found: results, what stands behind them, and what could not be measured."""

from __future__ import annotations

from dataclasses import dataclass

from dynanoise.audits.conditions import Outcome
from dynanoise.core.evidence import Evidence
from dynanoise.core.result import Result

WIDTH = 100
"""Columns of `table`, where nobody says how wide the page is."""


@dataclass(frozen=True)
class AuditResult:
    """What was measured, under which threat model, and what was not.

    Attributes:
        evidence: results, curves, histograms and sampled rows, and notes.
        outcomes: of the conditions of failure.
        differences: how answers of a server are not what its configuration says.
    """

    evidence: Evidence
    outcomes: tuple[Outcome, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def records(self) -> tuple[Result, ...]:
        """One for each kind of answers, query budget and attack.

        One more for the attacker's own choice among them, and one for utility where test data were
        given.
        """
        return self.evidence.results

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be measured and what it takes; what became of conditions of failure."""
        return self.evidence.notes

    @property
    def failed(self) -> bool:
        """True if a condition of failure holds, or a server is not as configured."""
        return bool(self.differences) or any(one.holds for one in self.outcomes)

    @property
    def sentences(self) -> list[str]:
        """Verdicts, each with its threat model, query budget and interval; limits; notes."""
        from dynanoise.report.tables.audit_table import audit_sentences

        return [*audit_sentences(self.records), *self.notes]

    def table(self, width: int = WIDTH) -> str:
        """The table as plain text, and the sentences.

        Args:
            width: columns of the page.
        """
        from dynanoise.report.render.console import table_text
        from dynanoise.report.tables.audit_table import audit_table

        lines = [f"- {sentence}" for sentence in self.sentences]
        return "\n".join([table_text(audit_table(self.records), width), *lines])

    def to_markdown(self) -> str:
        """The same as a page of Markdown."""
        from dynanoise.report.evidence_report import build_report
        from dynanoise.report.render.markdown import render_markdown

        return render_markdown(build_report(self.evidence))

    def to_html(self) -> str:
        """The same with charts, as one HTML page that needs nothing else.

        Raises:
            MissingExtraError: if matplotlib is not installed.
        """
        from dynanoise.report.evidence_report import build_report
        from dynanoise.report.render.html import render_html

        return render_html(build_report(self.evidence))

    def __str__(self) -> str:
        return self.table()
