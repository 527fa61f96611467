"""One metric of every attack, beside the results it comes from."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from dynanoise.cli import app
from dynanoise.core.errors import UnknownNameError
from dynanoise.core.result import Metric, Result
from dynanoise.report.by_attack import by_attack, markdown, tables
from dynanoise.report.io.results import to_json
from tests.build_records import records


def pool() -> list[Result]:
    """One seed of the made-up results, with intervals, and an attack that resolves no TPR."""
    rows = [one for one in records() if one.seed == 0]
    within = {"asr": Metric(0.6, 0.55, 0.65), "auc": Metric(0.7), "tpr@0.01": Metric(0.1, 0, 0.2)}
    changed = []
    for one in rows:
        extra = within if one.attack is not None else {}
        if one.method == "dynanoise":
            extra = {name: value for name, value in extra.items() if name != "tpr@0.01"}
        changed.append(replace(one, protocol="adaptive", metrics={**one.metrics, **extra}))
    return changed


def test_every_attack_and_method_has_its_value() -> None:
    found = by_attack([*records(), *pool()], "asr")
    assert list(found) == ["paper", "adaptive"]
    header, *rows = found["adaptive"]
    attacks = list(dict.fromkeys(one.attack for one in records() if one.attack))
    assert len(header) == 1 + len(attacks)
    assert [row[0] for row in rows] == ["none", "temperature", "dynanoise"]
    assert all(cell == ".600 [.550,.650]" for row in rows for cell in row[1:])
    assert {row[1] for row in by_attack(pool(), "auc")["adaptive"][1:]} == {".700"}


def test_a_value_that_is_missing_leaves_its_cell_empty() -> None:
    rows = {row[0]: row[1] for row in by_attack(pool(), "tpr@0.01")["adaptive"][1:]}
    assert rows == {"none": ".100 [.000,.200]", "temperature": ".100 [.000,.200]", "dynanoise": ""}


def test_an_unknown_metric_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"'acu'\. Known: .*auc"):
        by_attack(pool(), "acu")


def test_text_and_command_line(tmp_path: Path) -> None:
    found = by_attack(pool(), "asr")
    assert "| none | .600<br>[.550,.650] |" in markdown(found, "asr")
    console = Console(width=120, record=True, file=io.StringIO())
    for table in tables(found, "asr"):
        console.print(table)
    assert "adaptive: asr" in console.export_text()
    path = tmp_path / "results.json"
    path.write_text(to_json(pool()))
    said = CliRunner().invoke(app, ["show", str(path), "--metric", "asr", "--markdown"])
    assert said.exit_code == 0 and said.output.strip() == markdown(found, "asr")
    assert "[.550,.650]" in CliRunner().invoke(app, ["show", str(path), "--metric", "asr"]).output
    both = CliRunner().invoke(app, ["show", str(path), "--metric", "asr", "--json"])
    assert both.exit_code == 2
