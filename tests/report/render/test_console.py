"""Numbers on terminals of 60, 80 and 100 columns: all of them, and none broken over two lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from docs.generate import ROOT
from dynanoise.core.result import Metric, Result
from dynanoise.evaluation.protocols import ADAPTIVE, ADAPTIVE_16, ADAPTIVE_NEAR, KEY_KNOWN
from dynanoise.report.io.results import read_results, to_json
from dynanoise.report.numbers import change, compact
from dynanoise.report.pages import build_page
from dynanoise.report.render.console import table_text
from dynanoise.report.table import Table, make_table, number_cell
from dynanoise.report.tables.attack_table import attack_tables
from dynanoise.report.tables.audit_table import audit_table
from dynanoise.report.tables.settings_table import MeasuredSetting, settings_table
from dynanoise.report.tables.sweep_table import sweep_table
from tests.factories.audit_files import arrays
from tests.factories.commands import made_up_run, run
from tests.factories.evidence import paper_records, pool_records
from tests.factories.results import records

WIDTHS = (60, 80, 100)
RUNS = sorted((ROOT / "results").glob("*/results.json"))
LONG = "dynanoise_with_a_very_long_name_from_elsewhere(base_variance=1e-05,temperature=10)"
NAMES = (
    "none",
    LONG,
    "Ω" * 30,
    "0123456789abcdef0123456789",
    "a-b-c" * 9,
    *map("m{}".format, range(15)),
)


def numbers_of(table: Table) -> Counter[str]:
    """Every number of a table as a terminal writes it, with its interval."""
    texts = [
        token
        for row in table.rows
        for cell in row[table.names :]
        for line in (*cell.lines[:1], *map(compact, cell.lines[1:]))
        if not re.search(r"[^\W\d]", line)
        for token in line.split()
    ]
    return Counter(texts)


def check(text: str, tables: Iterable[Table], width: int) -> None:
    assert max(map(len, text.splitlines())) <= width
    missing = sum(map(numbers_of, tables), Counter[str]()) - Counter(text.split())
    assert not missing


def under(protocols: Sequence[object], methods: Sequence[str] = NAMES) -> list[Result]:
    """Results of these methods in the paper's layout and under protocols over a pool."""
    rows = paper_records(methods)
    for protocol in (ADAPTIVE, ADAPTIVE_16, ADAPTIVE_NEAR, KEY_KNOWN):
        if protocol in protocols:
            pool = pool_records(1, methods)
            rows += [replace(r, protocol=protocol.name, threat=protocol.threat) for r in pool]
    return rows


@pytest.mark.behaviour
@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.parent.name)
def test_committed_results(path: Path) -> None:
    results = read_results(path)
    tables = list(build_page(results).tables)
    if "asr" in results[0].metrics:
        tables += [table for metric in ("asr", "auc") for table in attack_tables(results, metric)]
    for table in tables:
        for width in WIDTHS:
            check(table_text(table, width), [table], width)


@pytest.mark.behaviour
@pytest.mark.parametrize(
    "protocols", [(), (ADAPTIVE,), (ADAPTIVE, ADAPTIVE_16, ADAPTIVE_NEAR, KEY_KNOWN)]
)
def test_many_methods_with_long_names(protocols: Sequence[object]) -> None:
    rows = under(protocols)
    for table in (*build_page(rows).tables, *attack_tables(rows, "auc")):
        for width in (*WIDTHS, 44):
            check(table_text(table, width), [table], width)


def test_a_protocol_has_a_narrow_table_of_its_own() -> None:
    [_, table] = build_page(under((ADAPTIVE, ADAPTIVE_16), ("none", "noise"))).tables
    assert table_text(table, 140).count("Method") == 1
    for width in (60, 72):
        lines = table_text(table, width).splitlines()
        headings = [line for line in lines if line.startswith("Method")]
        assert len(headings) == 3 and all("MIDPUT" in line for line in headings)
        assert sum(line.startswith("none") for line in lines) == 3


@pytest.mark.parametrize("width", WIDTHS)
def test_settings_of_a_search_against_many_attackers(width: int) -> None:
    gains = {f"adaptive_near_{q}": Metric(0.1 + q / 1000, 0.08, 0.12) for q in (1, 4, 16, 64)}
    values = {"variance": "0.0123", "scale": "12.5", "temperature": "10", "cells": "keyed, 16.5"}
    settings = [
        MeasuredSetting(f"setting_{i}", values, gains, -0.01, 1.2345, 0.05) for i in range(6)
    ]
    table = settings_table(settings, "setting_3")
    text = table_text(table, width)
    check(text, [table], width)
    assert all(text.split().count(number) >= 6 for number in ("0.0123,", "12.5,", "16.5"))
    assert "> setting_3" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_sweep(width: int) -> None:
    rows = [
        replace(
            row,
            method={"temperature": "temperature=1.5", "dynanoise": "temperature=10"}.get(
                row.method, "none"
            ),
        )
        for row in records()
    ]
    table = sweep_table(rows)
    check(table_text(table, width), [table], width)


@pytest.mark.behaviour
@pytest.mark.parametrize("width", WIDTHS)
def test_commands(width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bench and show print the page's tables; audit its own."""
    monkeypatch.setattr("dynanoise.cli.output.terminal.WIDE", width)
    made_up_run(monkeypatch)
    check(run("bench", "digits").stdout, build_page(records()).tables, width)
    rows = under((ADAPTIVE, ADAPTIVE_16))
    (tmp_path / "results.json").write_text(to_json(rows))
    check(run("show", str(tmp_path)).stdout, build_page(rows).tables, width)
    metric = run("show", str(tmp_path), "--metric", "tpr@0.01").stdout
    check(metric, attack_tables(rows, "tpr@0.01"), width)


@pytest.mark.behaviour
@pytest.mark.parametrize("models", [1, 8])
def test_audits(models: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`audit` prints its table, and `show` prints it as wide as the terminal."""
    monkeypatch.setattr("dynanoise.cli.output.terminal.WIDE", WIDTHS[0])
    monkeypatch.setattr("dynanoise.evaluation.feasibility.STRONG", ("lira", "population", "gap"))
    np.savez(tmp_path / "outputs.npz", **arrays(models, records=300))
    defense = ["--defense", "dynanoise(base_variance=0.5, temperature=2.5)", "--queries", "16"]
    done = run("audit", str(tmp_path / "outputs.npz"), *defense, "--out", str(tmp_path / "out"))
    table = audit_table(read_results(tmp_path / "out" / "results.json"))
    check(done.stdout, [table], WIDTHS[0])
    for width in WIDTHS[1:]:
        monkeypatch.setattr("dynanoise.cli.output.terminal.WIDE", width)
        check(run("show", str(tmp_path / "out")).stdout, [table], width)


def test_a_number_that_is_wider_than_its_heading_is_whole() -> None:
    cells = [number_cell(Metric(-123.4567, -1234.5, 0.001), change) for _ in range(7)]
    table = make_table("wide", ["Method", *"abcdefg"], [["none", *cells]])
    for width in (30, *WIDTHS):
        check(table_text(table, width), [table], width)
