"""Canaries have a table of their own, with what it does and does not say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dynanoise.core.evidence import Evidence
from dynanoise.core.result import STRONGEST, Metric, Result
from dynanoise.report.evidence_report import build_report
from dynanoise.report.pages import build_page
from dynanoise.report.render.html import render_html
from dynanoise.report.render.markdown import render_markdown
from dynanoise.report.summary import by_protocol
from dynanoise.report.tables.canary_table import canary_table, planted
from tests.report.test_comparison import pool_records


def canary_records() -> list[Result]:
    """Those of three methods; the last has a TPR."""
    rows = []
    for row in pool_records():
        metrics, counts = dict(row.metrics), dict(row.counts)
        counts |= {"canaries_mislabelled": 20, "canaries_atypical": 19}
        if row.attack is not None:
            best = 0.9 if row.attack == STRONGEST else 0.95
            metrics |= {"canary_auc": Metric(best, best - 0.1, 1.0), "canary_epsilon": Metric(1.25)}
            if row.method == "dynanoise":
                metrics["canary_tpr@0.01"] = Metric(0.25, 0.125, 0.5)
        rows.append(replace(row, metrics=metrics, counts=counts))
    return rows


def test_the_attackers_choice_is_shown_and_what_nobody_has_is_left_out() -> None:
    table = canary_table(by_protocol(canary_records()))
    assert [column.heading for column in table.columns] == [
        "Protocol", "Method", "AUC, all records", "AUC, canaries", "TPR at 1% FPR",
        "epsilon at least",
    ]  # fmt: skip
    auc = ["0.800 [0.700, 0.900]", "0.900 [0.800, 1.000]"]
    assert [[" ".join(cell.lines) for cell in row] for row in table.rows] == [
        ["adaptive", "none", *auc, "-", "1.25"],
        ["adaptive", "temperature", *auc, "-", "1.25"],
        ["adaptive", "dynanoise", *auc, "0.250 [0.125, 0.500]", "1.25"],
    ]


def test_every_page_has_them_with_their_threat_model() -> None:
    page = build_page(canary_records())
    assert "| adaptive | none | 0.800 [0.700, 0.900] | 0.900 [0.800, 1.000] |" in page.markdown
    assert len(page.tables) == 2
    text = " ".join(page.sentences)
    assert "20 records of the pool got another class's label and 19 were mixed" in text
    assert "tuned to all records" in text and "It is at most 2.31" in text
    report = build_report(Evidence(tuple(canary_records())))
    pytest.importorskip("matplotlib", reason="pictures need: pip install 'dynanoise[plot]'")
    made = render_html(report)
    assert 'id="canaries"' in made and "does not show privacy" in made


def test_without_canaries_nothing_is_said() -> None:
    judged = by_protocol(pool_records())
    page = build_page(pool_records())
    assert not planted(judged) and len(page.tables) == 1
    assert "anar" not in page.markdown + " ".join(page.sentences)
    assert "anar" not in render_markdown(build_report(Evidence(tuple(pool_records()))))
