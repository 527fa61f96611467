"""Report of an audit: results with their evidence, verdicts in words, outcomes of conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dynanoise.audits.conditions import Outcome
from dynanoise.audits.inputs import AuditInputs
from dynanoise.core.errors import InputError
from dynanoise.core.evidence import Evidence, Origin
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
        inputs: outputs of the models with membership and columns, where the audit trained them.
    """

    evidence: Evidence
    outcomes: tuple[Outcome, ...] = ()
    differences: tuple[str, ...] = ()
    inputs: AuditInputs | None = None

    @property
    def verdict(self) -> str:
        """The finding in one line: the attacker's choice, undefended and behind a defense."""
        from dynanoise.report.tables.audit_table import audit_headline

        return audit_headline(self.results)

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
        """Render the verdict, the table and the sentences as plain text.

        Args:
            width: columns of the page.

        Returns:
            Lines of text.
        """
        from dynanoise.report.render.console import table_text
        from dynanoise.report.tables.audit_table import audit_table
        from dynanoise.report.wording.warnings import split_warnings

        warnings, sentences = split_warnings(self.sentences)
        first = [*warnings, ""] if warnings else []
        lines = [f"- {sentence}" for sentence in sentences]
        table = table_text(audit_table(self.results), width)
        return "\n".join([*first, self.verdict, "", table, *lines])

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

    def named(self, classes: Sequence[str]) -> AuditReport:
        """Return the report with names of the classes.

        Args:
            classes: names in the order of the outputs; empty for numbers.
        """
        return replace(self, evidence=replace(self.evidence, class_names=tuple(classes)))

    def signed(
        self, auditor: str = "", date: str = "", file: str = "", sha256: str = ""
    ) -> AuditReport:
        """Return the report with the facts that its first page names.

        Args:
            auditor: name of the person or organisation that audits.
            date: day of the measurements, such as "2026-01-31".
            file: name of the audited file, without its folder.
            sha256: digest of the file, hexadecimal.
        """
        origin = Origin(date, auditor, file, sha256)
        return replace(self, evidence=replace(self.evidence, origin=origin))

    def to_dataframe(self) -> Any:
        """Make a data frame with one row for each metric of each result.

        Returns:
            A pandas frame with the columns dataset, model, method, protocol, queries, attack,
            seed, metric, value, low, high; attack is missing for utility, low and high where no
            interval was computed.

        Raises:
            MissingExtraError: if pandas is not installed.
        """
        from dynanoise.report.frames import results_frame

        return results_frame(self.results)

    def plot_roc(self, axes: Any = None) -> Any:
        """Draw log-log ROC curves of the attacker's choice, undefended and behind the defense.

        Args:
            axes: matplotlib axes to draw into; None for new ones.

        Returns:
            The axes.

        Raises:
            MissingExtraError: if matplotlib is not installed.
            InputError: if no curves were kept.
        """
        from dynanoise.report.charts.roc_curves import plot_roc

        return plot_roc(self.evidence, axes)

    def save(self, folder: str | Path) -> Path:
        """Write results.json, samples.npz, report.html and report.md, as `dynanoise audit --out`.

        Args:
            folder: made if it is not there.

        Returns:
            The folder, which `dynanoise show` and `dynanoise report` read.

        Raises:
            InputError: if the name is that of a file, or it cannot be written.
        """
        from dynanoise.core.files import write_atomically, writing
        from dynanoise.report.io.samples import encode_run

        folder = Path(folder)
        if folder.suffix.lower() in {".html", ".md", ".json", ".npz"}:
            raise InputError(
                f"{folder} names a file.",
                f"Name a folder, such as {folder.stem!r}: report.html is written there.",
            )
        with writing(folder, "Name another folder."):
            folder.mkdir(parents=True, exist_ok=True)
        files = encode_run(self.results, self.evidence)
        files["report.html"] = self.to_html().encode()
        files["report.md"] = self.to_markdown().encode()
        with writing(folder, "Name another folder."):
            for name, content in files.items():
                write_atomically(folder / name, content)
        return folder

    def save_outputs(self, path: str | Path) -> Path:
        """Write outputs and membership of the models that were trained, for `audit` and `tune`.

        Args:
            path: file that ends in ".npz". Protect it: it holds labels and membership, and the
                persons and groups of the audit.

        Returns:
            The path.

        Raises:
            InputError: if the audit trained no models, the path ends otherwise, or it cannot be
                written.
        """
        from dynanoise.audits.outputs_file import write_outputs
        from dynanoise.core.files import writing

        if self.inputs is None:
            raise InputError(
                "This audit trained no models, so that it has no outputs of its own.",
                "Use the file that it read.",
            )
        path = Path(path)
        with writing(path):
            write_outputs(self.inputs, path)
        return path

    def __repr__(self) -> str:
        """Name the audit and its finding; `str` is the whole table."""
        if not self.results:
            return "<AuditReport: no results>"
        from dynanoise.report.tables.audit_table import audit_subject, audit_title

        result = self.results[0]
        status = "; failed" if self.failed else ""
        return f"<{audit_title(result)}: {audit_subject(result)}. {self.verdict}{status}>"

    def _repr_html_(self) -> str:
        """The first page of the report, for notebooks."""
        from dynanoise.report.evidence_report import build_report
        from dynanoise.report.render.html import render_first_page

        return render_first_page(build_report(self.evidence))

    def __str__(self) -> str:
        return self.table()
