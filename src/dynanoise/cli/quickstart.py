"""`dynanoise quickstart`: a forest on bundled data is audited, defended and reported."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynanoise.cli.output import terminal
from dynanoise.cli.output.folder import check_writable, read_folder, write_results
from dynanoise.core.options import Option

if TYPE_CHECKING:
    from dynanoise.audits.audit_report import AuditReport
    from dynanoise.core.result import Result

DEFENSE = "calibrated_label"
"""The defense that the first audit compares with the undefended model."""


def quickstart(
    *,
    out: Annotated[
        Path,
        Option("Folder for outputs.npz and the report.", metavar="DIR", read=read_folder),
    ] = Path("quickstart"),
) -> None:
    """Audit a random forest on bundled data, undefended and defended, and write a report.

    It trains 16 forests on random halves of scikit-learn's breast cancer table and attacks each
    with the others. It takes less than a minute, and needs neither data nor torch.

    Examples:
        dynanoise quickstart
        dynanoise audit quickstart/outputs.npz
    """
    check_writable(out)
    typer.echo("Training and attacking 16 random forests ...", err=True)
    report = audit_forest().signed(date=datetime.now(UTC).date().isoformat())
    report.save_outputs(out / "outputs.npz")
    written = write_results(list(report.results), out, report.evidence)
    terminal.print_text(quickstart_text(report.results, out))
    if not written:
        raise typer.Exit(1)


def audit_forest() -> AuditReport:
    """Audit a random forest on scikit-learn's breast cancer table, also behind `DEFENSE`."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    from dynanoise.audits.estimator import audit

    table = load_breast_cancer()
    names = table.target_names[table.target]
    return audit(RandomForestClassifier(), table.data, names, defense=DEFENSE)


def quickstart_text(results: Sequence[Result], out: Path) -> str:
    """Write what `quickstart` prints.

    Args:
        results: those of `audit_forest`.
        out: the folder of its files.

    Returns:
        Sentences.
    """
    from dynanoise.report.numbers import rate
    from dynanoise.report.tables.audit_table import audit_headline

    counts = results[0].counts
    utilities = [result.metrics for result in results if result.attack is None]
    accuracies = [metrics["accuracy"].value for metrics in utilities]
    members = utilities[0]["train_accuracy"].value
    return "\n".join(
        [
            f"{counts['models']} random forests were trained on random halves of {counts['pool']} "
            "records (tumours) and attacked.",
            audit_headline(results),
            f"Accuracy on {counts['test']} other records: {rate(accuracies[0])} (on members "
            f"{rate(members)}), behind {DEFENSE} {rate(accuracies[-1])}.",
            "",
            f"Open {out}/report.html. Then audit your own model:",
            f"  dynanoise audit outputs.npz       # a file like {out}/outputs.npz",
            "  dynanoise.audit(estimator, X, y)  # in Python, any scikit-learn classifier",
        ]
    )
