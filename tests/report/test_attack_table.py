"""One metric of every attack, beside the results it comes from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dynanoise.cli import app
from dynanoise.core.errors import UnknownNameError
from dynanoise.core.result import Metric, Result
from dynanoise.report.io.results import to_json
from dynanoise.report.render.console import table_text
from dynanoise.report.render.markdown import captioned_markdown
from dynanoise.report.tables.attack_table import attack_tables
from tests.factories.results import records


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
    tables = attack_tables([*records(), *pool()], "asr")
    assert [table.caption for table in tables] == ["paper: asr", "adaptive: asr"]
    table = tables[1]
    attacks = list(dict.fromkeys(one.attack for one in records() if one.attack))
    assert len(table.columns) == 1 + len(attacks)
    assert [row[0].text for row in table.rows] == ["none", "temperature", "dynanoise"]
    lines = {cell.lines for row in table.rows for cell in row[1:]}
    assert lines == {("0.600", "[0.550, 0.650]")}
    (auc,) = attack_tables(pool(), "auc")
    assert {row[1].lines for row in auc.rows} == {("0.700",)}


def test_a_value_that_is_missing_leaves_its_cell_empty() -> None:
    (table,) = attack_tables(pool(), "tpr@0.01")
    rows = {row[0].text: row[1].lines for row in table.rows}
    measured = ("0.100", "[0.000, 0.200]")
    assert rows == {"none": measured, "temperature": measured, "dynanoise": ()}


def test_an_unknown_metric_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"'acu'\. Known: .*auc"):
        attack_tables(pool(), "acu")


def test_text_and_command_line(tmp_path: Path) -> None:
    tables = attack_tables(pool(), "asr")
    assert "| none | 0.600 [0.550, 0.650] |" in captioned_markdown(tables)
    assert "adaptive: asr" in table_text(tables[0], 120)
    path = tmp_path / "results.json"
    path.write_text(to_json(pool()))
    said = CliRunner().invoke(app, ["show", str(path), "--metric", "asr", "--markdown"])
    assert said.exit_code == 0 and said.output.strip() == captioned_markdown(tables)
    assert "[.550,.650]" in CliRunner().invoke(app, ["show", str(path), "--metric", "asr"]).output
    both = CliRunner().invoke(app, ["show", str(path), "--metric", "asr", "--json"])
    assert both.exit_code == 2
