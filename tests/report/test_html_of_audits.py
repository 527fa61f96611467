"""The HTML report of audits: whatever was given, its charts or why there are none."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.tree import DecisionTreeClassifier
from typer.testing import CliRunner

import dynanoise
from dynanoise.audits.audit_report import AuditReport
from dynanoise.audits.conditions import parse_condition
from dynanoise.audits.pool_audit import AuditPlan, audit_pool
from dynanoise.cli import app
from dynanoise.evaluation.provenance import Provenance
from dynanoise.report.document import Bullets, Finding, Text
from dynanoise.report.evidence_report import NO_RELIABILITY, NO_RISKS, build_report
from dynanoise.report.render.markdown import render_markdown
from dynanoise.report.table import Table
from dynanoise.report.tables.audit_table import (
    audit_summaries,
    audit_table,
    audit_utilities,
    audit_verdicts,
)
from dynanoise.sklearn import DefendedClassifier
from tests.factories.audit_files import arrays, given
from tests.report.render.test_html import Page

pytest.importorskip("matplotlib", reason="pictures need: pip install 'dynanoise[plot]'")

NOISE = AuditPlan(
    "dynanoise(base_variance=9, lambda_scale=0, temperature=10)",
    fail_if=(parse_condition("auc>0.6"),),
)


@pytest.fixture(autouse=True)
def few_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynanoise.evaluation.feasibility.STRONG", ("lira", "population"))
    monkeypatch.setattr("dynanoise.evaluation.feasibility.SINGLE", ("population", "loss"))


@cache
def result(plan: AuditPlan = NOISE, **choices: Any) -> AuditReport:
    """An audit, for all tests that ask for the same."""
    provenance = Provenance("made up", "three numbers", "by hand")
    return audit_pool(given(**choices).pool(), plan, provenance)


@pytest.mark.behaviour
def test_everything_of_several_models_behind_a_defense() -> None:
    found = result()
    page = Page(found.to_html())
    assert page.said("h1") == "Audit of made up"
    assert page.said("h2").split("\n") == [
        "Verdict",
        "Conditions and notes",
        "Attack success",
        "Findings in words",
        "Every attack",
        "Groups, precision, agreement",
        "Method by method",
        "Records most at risk",
        "Standards that ask for such an audit",
        "How it was made",
    ]
    captions = page.said("figcaption")
    for chart in (
        "repeated queries",
        "attacker's choice, 16 queries",
        "undefended: reliability",
        "by record",
    ):
        assert chart in captions
    said = page.said().replace("\n", " ")
    for sentence in found.sentences:  # the beginning of each is in bold
        assert all(part in said for part in sentence.split(": ", 1))
    assert "Time of training" not in said and "No scores were kept" not in said
    assert len(page.all("svg")) == 4 + 2 * 3 + 1


@pytest.mark.behaviour
@pytest.mark.parametrize(("tests", "charts"), [(100, 4 + 2 * 3), (0, 4 + 2 * 2)])
def test_charts_that_one_model_is_too_few_for_are_left_out(tests: int, charts: int) -> None:
    page = Page(result(models=1, records=400, tests=tests).to_html())
    assert len(page.all("svg")) == charts
    assert NO_RISKS in page.said("p") and "Success by record" not in page.said("figcaption")
    assert (NO_RELIABILITY in page.said("p")) == (tests == 0)
    assert "ROC of the attacker's choice, 1 query a record" in page.said("figcaption")
    assert "LiRA needs shadow models" in page.said("li", "strong")


def test_warnings_among_the_notes_stand_above_the_verdict() -> None:
    found = result(AuditPlan(), models=1, records=400).evidence
    document = build_report(replace(found, notes=("WARNING: inverted.", "A note.")))
    sections = {section.key: section for section in document.sections}
    warning, finding, *_ = sections["verdict"].blocks
    assert warning == Text("WARNING: inverted.", "warning") and isinstance(finding, Finding)
    assert sections["notes"].blocks == (Bullets((("A note.", ""),)),)
    # Few records: no column of TPR, and the sentence below the table says why.
    table, caption = sections["attacks"].blocks
    assert isinstance(table, Table) and isinstance(caption, Text)
    assert "TPR" not in " ".join(column.heading for column in table.columns)
    assert "records are too few" in caption.text
    assert render_markdown(document).count("WARNING") == 1


def test_query_budgets_with_equal_success_share_a_block() -> None:
    """Labels repeat, so that 16 outputs say what one says; fresh noise is averaged."""
    for defense, budgets in (("calibrated_label", {"1", "1, 16"}), (NOISE.defense, {"1", "16"})):
        results = result(replace(NOISE, defense=defense), models=1, records=400).results
        table, sentences = audit_table(results), audit_verdicts(results)
        assert {row[1].text for row in table.rows} == budgets
        shared = "1, 16" in budgets
        assert len(sentences) == (2 if shared else 3)
        assert ("1 or 16 queries a record: " in sentences[-1]) == shared
        assert len(table.group_ends) == len(sentences)
        assert audit_utilities(results)[-1].count("MIDPUT") == 1


def test_undefended_answers_stand_beside_every_query_budget() -> None:
    found = result(models=1, records=400)
    once, often = audit_summaries(found.results).values()
    assert once.methods == often.methods == ("none", "dynanoise")
    for attack in ("loss", "strongest"):
        assert once.spread("none", attack, "auc") == often.spread("none", attack, "auc")
        assert once.spread("dynanoise", attack, "auc") != often.spread("dynanoise", attack, "auc")


def test_what_is_kept_of_one_model_is_what_its_records_say() -> None:
    kept = result(AuditPlan(), models=1, records=400).evidence
    assert kept.rows is not None and kept.risks == ()
    scored = kept.results[0].counts
    for one in kept.attacks:
        auc = next(r for r in kept.results if r.attack == one.attack).metrics["auc"].value
        assert one.non_members == scored["scored_non_members"]
        area = np.trapezoid([0, *one.tpr], [0, *one.fpr])
        assert area == pytest.approx(auc, abs=0.02)


@pytest.mark.behaviour
def test_an_estimator_has_the_same_report() -> None:
    X, y = make_classification(300, n_classes=3, n_informative=4, flip_y=0.3, random_state=0)
    found = dynanoise.audit(DecisionTreeClassifier(), X, y, models=8)
    risk = found.evidence.risks[0]
    assert (risk.labels == y[risk.ids]).all() and risk.ids.max() > 210  # of all, not of 70%
    page = Page(found.to_html())
    assert page.said("h1") == "Audit of X, y" and len(page.all("svg")) == 2 + 3 + 1


@pytest.mark.behaviour
@pytest.mark.parametrize("models", [1, 8])
def test_the_command_writes_it_and_report_makes_it_again(tmp_path: Path, models: int) -> None:
    np.savez(tmp_path / "outputs.npz", **arrays(models, records=400))
    out = tmp_path / "out"
    options = ["--fail-if", "auc>0.999", "--out", str(out)]
    done = CliRunner().invoke(app, ["audit", str(tmp_path / "outputs.npz"), *options])
    assert done.exit_code == 0, done.output
    made = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(made) == {"results.json", "samples.npz", "report.html", "report.md"}
    assert b"of the attacker&#39;s choice on undefended outputs" in made["report.html"]
    again = CliRunner().invoke(app, ["report", str(out)])
    assert again.exit_code == 0, again.output
    assert {path.name: path.read_bytes() for path in out.iterdir()} == made


@pytest.mark.behaviour
@pytest.mark.parametrize(
    "kind", ["several models", "one model", "no test data", "a classifier", "its own defense"]
)
def test_without_matplotlib_the_page_has_the_numbers(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices: dict[str, dict[str, Any]] = {
        "several models": {},
        "one model": {"models": 1, "records": 400},
        "no test data": {"models": 1, "records": 400, "tests": 0},
    }
    if kind in choices:
        report = result(**choices[kind])
    else:
        model: Any = DecisionTreeClassifier(min_samples_leaf=5)
        X, y = make_classification(300, n_classes=3, n_informative=4, random_state=0)
        if kind == "its own defense":
            model = DefendedClassifier(model, noise="fresh")
        report = dynanoise.audit(model, X, y, models=8)
    drawn = Page(report.to_html())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = Page(report.to_html())
    assert drawn.all("svg") and not page.all("svg")
    assert "pip install 'matplotlib" in page.said() and "pip install" not in drawn.said()
    assert page.said("figcaption") == drawn.said("figcaption")
    assert len(page.all("table")) == len(drawn.all("table"))
