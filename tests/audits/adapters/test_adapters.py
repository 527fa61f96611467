"""Audits in other tools: GridSearchCV, model cards, CycloneDX, and steps of the GitHub Action."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from dynanoise.audits.adapters.model_metadata import cyclonedx_metrics, model_card_metadata
from dynanoise.audits.adapters.scorer import MembershipScorer
from dynanoise.core.errors import InputError
from dynanoise.core.result import STRONGEST
from dynanoise.metrics.roc import roc
from tests.factories.audit_files import arrays
from tests.factories.results import record
from tests.factories.waiting import LONG

ACTION = Path(__file__).parents[3] / ".github" / "actions" / "audit" / "action.yml"


def test_the_scorer_prefers_a_tree_that_memorises_less() -> None:
    X, y = make_classification(240, flip_y=0.3, random_state=0)
    search = GridSearchCV(
        DecisionTreeClassifier(random_state=0),
        {"max_depth": [1, None]},
        scoring=MembershipScorer(X, y),
        cv=KFold(3),
    ).fit(X, y)
    assert search.best_params_ == {"max_depth": 1}
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] > 0.45 and scores[1] < 0.4


def test_the_score_is_that_of_the_loss_attack_on_both_parts() -> None:
    X, y = make_classification(120, random_state=1)
    model = GaussianNB().fit(X[:80], y[:80])
    probs = model.predict_proba(X)[np.arange(120), y]
    expected = 1 - roc(np.log(probs), np.arange(120) < 80).auc
    assert MembershipScorer(X, y)(model, X[80:], y[80:]) == pytest.approx(expected)
    with pytest.raises(InputError, match="40 records were passed, and 0 of 80 records"):
        MembershipScorer(X[:80], y[:80])(model, X[80:], y[80:])


def test_metadata_hold_the_attackers_choice_alone() -> None:
    counts = {"models": 8, "pool": 400}
    results = [
        replace(record("none", name, 0, auc=0.61, asr=0.58), counts=counts)
        for name in ("lira", STRONGEST)
    ]
    card = model_card_metadata(results, "my model")
    (entry,) = card["model-index"][0]["results"]
    assert {metric["type"]: metric["value"] for metric in entry["metrics"]} == {
        "asr": 0.58,
        "auc": 0.61,
    }
    assert yaml.safe_load(yaml.safe_dump(card)) == card
    metrics = cyclonedx_metrics(results)
    assert [metric["value"] for metric in metrics] == ["0.5800", "0.6100"]
    assert all("8 models, 400 records" in metric["slice"] for metric in metrics)
    with pytest.raises(InputError, match="attacker's choice"):
        model_card_metadata(results[:1], "my model")


@pytest.mark.process
@pytest.mark.parametrize(("limit", "code"), [("0.99", 0), ("0.5", 1)])
def test_the_action_audits_fails_and_writes_its_summary(
    tmp_path: Path, limit: str, code: int
) -> None:
    np.savez(tmp_path / "outputs.npz", **arrays(1, records=400))
    action = yaml.safe_load(ACTION.read_text())
    step = next(step for step in action["runs"]["steps"] if step.get("id") == "audit")
    values = {name: entry.get("default", "") for name, entry in action["inputs"].items()}
    values |= {"outputs": "outputs.npz", "fail-if": f"auc>{limit}\n"}
    values["arguments"] = "--attack\nthreshold\n"
    named = {
        name: values[text.removeprefix("${{ inputs.").removesuffix(" }}")]
        for name, text in step["env"].items()
    }
    command = tmp_path / "bin" / "dynanoise"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m dynanoise "$@"\n')
    command.chmod(0o755)
    source = Path(__file__).parents[3] / "src"
    environment = {
        **os.environ,
        **named,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(source),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert done.returncode == code, done.stderr
    assert (tmp_path / "output").read_text() == f"exit-code={code}\n"
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("**FAIL: auc>0.5**" if code else "**PASS: not auc>0.99**")
    assert "# Audit of outputs" in summary and "report.html" in summary
    suites = ElementTree.parse(tmp_path / "dynanoise-audit" / "junit.xml").getroot()
    assert len(suites.findall(".//testcase")) == 1
    assert len(suites.findall(".//failure")) == code
