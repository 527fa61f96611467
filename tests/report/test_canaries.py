"""Canaries have a table of their own, with what it does and does not say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dynanoise.core.evidence import Evidence
from dynanoise.core.result import STRONGEST, Metric, Result
from dynanoise.report.canaries import cells, planted, table
from dynanoise.report.render.markdown import report_md
from dynanoise.report.render.pages import page_of
from dynanoise.report.side_by_side import by_protocol
from tests.report.test_side_by_side import pool_records


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
    header, rows = cells(by_protocol(canary_records()))
    assert header == [
        "Protocol", "Method", "AUC,\nall records", "AUC,\ncanaries", "TPR at\n1% FPR",
        "epsilon\nat least",
    ]  # fmt: skip
    auc = ["0.800\n[.700,.900]", "0.900\n[.800,1.000]"]
    assert rows == [
        ["adaptive", "none", *auc, "-", "1.25"],
        ["adaptive", "temperature", *auc, "-", "1.25"],
        ["adaptive", "dynanoise", *auc, "0.250\n[.125,.500]", "1.25"],
    ]


def test_every_page_has_them_with_their_threat_model() -> None:
    page = page_of(canary_records())
    assert "| adaptive | none | 0.800<br>[.700,.900] | 0.900<br>[.800,1.000] |" in page.markdown
    assert [len(page.tables(width)) for width in (80, 200)] == [2, 2]
    text = " ".join(page.sentences)
    assert "20 records of the pool got another class's label and 19 were mixed" in text
    assert "tuned to all records" in text and "It is at most 2.31" in text
    written = report_md(Evidence(tuple(canary_records())))
    assert "## Canaries, strongest attack" in written and "no sign of privacy" in written
    html = pytest.importorskip("dynanoise.report.render.html")
    pytest.importorskip("matplotlib", reason="pictures need: pip install 'dynanoise[plot]'")
    made = html.report_html(Evidence(tuple(canary_records())))
    assert 'id="canaries"' in made and "no sign of privacy" in made


def test_without_canaries_nothing_is_said() -> None:
    judged = by_protocol(pool_records())
    page = page_of(pool_records())
    assert not planted(judged) and len(page.tables(200)) == 1
    assert "anar" not in page.markdown + " ".join(page.sentences)
    assert "anar" not in report_md(Evidence(tuple(pool_records())))


def test_a_narrow_terminal_has_no_intervals() -> None:
    judged = by_protocol(canary_records())
    narrow, wide = ("".join(table(judged, w).columns[3].cells) for w in (80, 82))  # type: ignore[arg-type]
    assert "[" not in narrow and "[.800,1.000]" in wide
