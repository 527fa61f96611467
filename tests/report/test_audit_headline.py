"""The one line in which an audit says how large the leak is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dynanoise.core.result import STRONGEST, Metric
from dynanoise.report.io.results import read_results
from dynanoise.report.tables.audit_table import audit_headline

RESULTS = Path(__file__).parents[2] / "results" / "audits" / "quickstart" / "results.json"


@pytest.mark.parametrize(
    ("auc", "tpr", "says"),
    [
        (Metric(0.95, 0.93, 0.97), Metric(0.89, 0.8, 0.93), "level high; of 100 members an"),
        (Metric(0.557, 0.53, 0.58), Metric(0.02, 0.01, 0.04), "leaks, level low; of 100 members"),
        (Metric(0.5, 0.48, 0.52), Metric(0.01, 0.0, 0.02), "Verdict: no leak was measured;"),
        (Metric(0.75, 0.7, 0.8), None, "leaks, level moderate (AUC 0.750 [0.700, 0.800])."),
    ],
)
def test_the_verdict_has_a_level_and_what_guessing_achieves(
    auc: Metric, tpr: Metric | None, says: str
) -> None:
    row = next(result for result in read_results(RESULTS) if result.attack == STRONGEST)
    metrics = {"auc": auc} if tpr is None else {"auc": auc, "tpr@0.01": tpr}
    text = audit_headline([replace(row, metrics=metrics)])
    assert says in text
    assert ("1 false alarm in 100 non-members (guessing: 1; AUC" in text) == (tpr is not None)
