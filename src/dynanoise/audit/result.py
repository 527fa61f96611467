"""What an audit found: Records, and what could not be measured."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from dynanoise.audit.conditions import Outcome
from dynanoise.record import Record

WIDTH = 100
"""Columns of `table`, where nobody says how wide the page is."""


@dataclass(frozen=True)
class AuditResult:
    """What was measured, under which threat model, and what was not.

    Attributes:
        records: one for each kind of answers, query budget and attack, one for the attacker's own
            choice among them, and one for utility where test data were given.
        notes: what could not be measured and what it takes, in sentences.
        outcomes: of the conditions of failure.
    """

    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()
    outcomes: tuple[Outcome, ...] = ()

    @property
    def failed(self) -> bool:
        """True if a condition of failure holds."""
        return any(one.holds for one in self.outcomes)

    @property
    def sentences(self) -> list[str]:
        """Verdicts, each with its threat model, query budget and interval; limits; notes."""
        from dynanoise.report.audit import sentences

        return [*sentences(self.records), *self.notes, *(one.sentence for one in self.outcomes)]

    def table(self, width: int = WIDTH) -> str:
        """The table as plain text, and the sentences.

        Args:
            width: columns of the page.
        """
        from dynanoise.report.audit import text_table

        lines = [f"- {sentence}" for sentence in self.sentences]
        return "\n".join([text_table(self.records, width), *lines])

    def to_markdown(self) -> str:
        """The same as a page of Markdown."""
        from dynanoise.report.audit import CAPTION, markdown_table

        head = f"# Audit of {self.records[0].dataset}\n\n`{self.records[0].command}`"
        lines = "\n".join(f"- {sentence}" for sentence in self.sentences)
        return "\n\n".join([head, markdown_table(self.records), CAPTION, lines]) + "\n"

    # The one place that calls the HTML report; there is no such method before there is that file.
    if importlib.util.find_spec("dynanoise.report.html") is not None:

        def to_html(self) -> str:
            """The same as one HTML page that needs nothing else."""
            report: Any = importlib.import_module("dynanoise.report.html")
            page: str = report.report_html(self)
            return page

    def __str__(self) -> str:
        return self.table()
