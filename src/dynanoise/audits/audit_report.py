"""Report of an audit: results with their evidence, verdicts in words, outcomes of conditions."""

from __future__ import annotations

from dataclasses import dataclass

from dynanoise.audits.conditions import Outcome
from dynanoise.core.evidence import Evidence
from dynanoise.core.result import Result

WIDTH = 100
"""Columns of `AuditReport.table`, unless another width is passed."""


@dataclass(frozen=True, repr=False)
class AuditReport:
    """The results of one audit, ready to be read, printed or written to files.

    Attributes:
        evidence: results, curves, histograms and sampled rows, and notes.
        outcomes: outcomes of the conditions of failure.
        differences: sentences on responses of a server that are not as configured.
    """

    evidence: Evidence
    outcomes: tuple[Outcome, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[Result, ...]:
        """One result for each method, query budget and attack, and for the attacker's choice.

        One more for the utility of each method, where test data were given.
        """
        return self.evidence.results

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on attacks that were not run, with the reason, and on conditions of failure."""
        return self.evidence.notes

    @property
    def failed(self) -> bool:
        """True if a condition of failure holds, or a server is not as configured."""
        return bool(self.differences) or any(outcome.holds for outcome in self.outcomes)

    @property
    def unresolved(self) -> bool:
        """True if the records or models are too few to tell whether a condition holds."""
        return any(outcome.holds is None for outcome in self.outcomes)

    @property
    def sentences(self) -> list[str]:
        """Verdicts, each with its threat model, query budget and interval; limits; notes."""
        from dynanoise.report.tables.audit_table import audit_sentences

        return [*audit_sentences(self.results), *self.notes]

    def table(self, width: int = WIDTH) -> str:
        """Render the table and the sentences as plain text.

        Args:
            width: columns of the page.

        Returns:
            Lines of text.
        """
        from dynanoise.report.render.console import table_text
        from dynanoise.report.tables.audit_table import audit_table

        lines = [f"- {sentence}" for sentence in self.sentences]
        return "\n".join([table_text(audit_table(self.results), width), *lines])

    def to_markdown(self) -> str:
        """Render the report as Markdown.

        Returns:
            A page.
        """
        from dynanoise.report.evidence_report import build_report
        from dynanoise.report.render.markdown import render_markdown

        return render_markdown(build_report(self.evidence))

    def to_html(self) -> str:
        """Render the report with charts as one HTML page without external files.

        Returns:
            A page; without matplotlib it has the charts' numbers alone.
        """
        from dynanoise.report.evidence_report import build_report
        from dynanoise.report.render.html import render_html

        return render_html(build_report(self.evidence))

    def __repr__(self) -> str:
        """Name the numbers of results, outcomes and differences; `str` is the table."""
        counts = f"{len(self.results)} results, {len(self.outcomes)} conditions"
        return f"<AuditReport: {counts}, {'failed' if self.failed else 'not failed'}>"

    def __str__(self) -> str:
        return self.table()
