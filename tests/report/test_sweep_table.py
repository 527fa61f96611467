"""A sweep's CSV and picture say what the results say."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET

import pytest

from dynanoise.core.result import Result
from dynanoise.report.charts.parameter_lines import sweep_plot
from dynanoise.report.render.csv_file import table_csv
from dynanoise.report.tables.sweep_table import sweep_table
from tests.factories.results import record, utility


def rows() -> list[Result]:
    found = []
    for name, asr in (("none", 0.6), ("base_variance=0.5", 0.52), ("base_variance=0.1", 0.55)):
        for seed in (0, 1):
            found.append(record(name, "loss", seed, asr=asr + 0.01 * seed, auc=asr))
            found.append(utility(name, seed, 0.9, 0.0 if name == "none" else 0.6 - asr))
    return found


def test_every_value_and_seed_is_a_line() -> None:
    read = list(csv.DictReader(io.StringIO(table_csv(sweep_table(rows())))))
    assert [(row["method"], row["value"], row["seed"]) for row in read] == [
        ("none", "", "0"), ("none", "", "1"),
        ("dynanoise", "0.5", "0"), ("dynanoise", "0.5", "1"),
        ("dynanoise", "0.1", "0"), ("dynanoise", "0.1", "1"),
    ]  # fmt: skip
    assert [float(row["asr_loss"]) for row in read] == [0.6, 0.61, 0.52, 0.53, 0.55, 0.56]
    assert {row["parameter"] for row in read} == {"", "base_variance"}
    assert all(float(row["auc_loss"]) and float(row["accuracy"]) == 0.9 for row in read)


@pytest.mark.behaviour
def test_the_picture_is_an_svg_and_always_the_same() -> None:
    pytest.importorskip("matplotlib", reason="pictures need: pip install 'dynanoise[plot]'")
    first = sweep_plot(rows())
    assert ET.fromstring(first).tag.endswith("svg")
    assert sweep_plot(rows()) == first
    assert sweep_plot(list(reversed(rows()))[::-1]) == first
