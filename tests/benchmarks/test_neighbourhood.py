"""Figures of the limit on queries close to each other, of a run that was cut short as well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="the circumstances are read from the resource module")
from benchmarks.neighbourhood import SETTINGS, average

RESULTS = Path(__file__).parents[2] / "results" / "benchmarks" / "neighbourhood.json"


def test_means_are_those_of_the_rows_and_missing_settings_are_named() -> None:
    measured = json.loads(RESULTS.read_text())
    summary = average(measured["rows"])
    assert summary == {name: measured[name] for name in summary}
    first = [row for row in measured["rows"] if row["near"] == 0]
    other = [{**row, "target": 1, "auc": row["auc"] - 0.1} for row in first]
    summary = average(first + other)
    assert len(summary["not_measured"]) == len(SETTINGS) - 1
    (means,) = summary["mean"].values()
    for row in first:
        assert abs(means[row["attack"]] - (row["auc"] - 0.05)) < 1e-12
