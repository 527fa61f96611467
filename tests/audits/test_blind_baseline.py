"""The blind baseline fires where members and non-members differ without the model, else not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from typer.testing import CliRunner

import dynanoise
from benchmarks.blind import share_of_warnings
from dynanoise.audits.blind_baseline import blind_auc
from dynanoise.audits.columns import Columns
from dynanoise.audits.inputs import check_inputs
from dynanoise.audits.measures import Measures
from dynanoise.audits.pool_audit import AuditPlan, audit_pool
from dynanoise.cli import app
from dynanoise.core.result import STRONGEST
from dynanoise.evaluation.provenance import Provenance
from dynanoise.evaluation.trial import AttackScores
from dynanoise.metrics.bootstrap import PoolScores
from dynanoise.report.io.results import read_results
from tests.factories.audit_files import arrays


def test_labels_that_are_drawn_alike_are_not_told_apart() -> None:
    # 5 of 200 on average; more than 10 have a chance of 1%.
    assert share_of_warnings(200, 400, inputs=False) <= 10 / 200


def test_inputs_that_are_drawn_alike_are_not_told_apart() -> None:
    assert share_of_warnings(12, 300, inputs=True) <= 2 / 12


@pytest.mark.parametrize("inputs", [True, False])
def test_a_planted_shift_is_found(inputs: bool) -> None:
    assert share_of_warnings(4, 800, inputs=inputs, shift=0.8) == 1.0


def shifted(kind: str, member: Any, generator: Any) -> Any:
    """Inputs of which one in a few is another for members."""
    numbers = generator.normal(0, 1, (len(member), 4))
    numbers[:, 1] += 1.5 * member
    if kind == "wide":
        return generator.normal(0, 1, (len(member), 12, 12)) + 0.5 * member[:, None, None]
    if kind == "sparse":
        return csr_array(np.concatenate([numbers * 3, np.zeros((len(member), 120))], axis=1))
    if kind == "texts":
        words = np.where(member, "from the north", "from the south")
        return [f"a letter {word} {i % 7}" for i, word in enumerate(words)]
    if kind == "objects":
        table = numbers.astype(object)
        table[:, 2] = np.where(member, "north", "south")
        return table
    return [list(row) for row in numbers]


@pytest.mark.parametrize("kind", ["wide", "sparse", "texts", "objects", "lists"])
def test_inputs_of_any_form_are_seen(kind: str) -> None:
    generator = np.random.default_rng(0)
    member = generator.random(400) < 0.5
    inputs = shifted(kind, member, generator)
    auc = blind_auc(inputs, np.zeros(400, dtype=np.int64), member.astype(np.int8), 0)
    assert auc is not None and float(auc.low or 0) > 0.6


def test_rows_of_a_person_are_not_taken_for_a_shift() -> None:
    # A classifier that has seen a member's row would know the next one.
    generator = np.random.default_rng(0)
    person = np.repeat(np.arange(120), 5)
    member = (generator.random(120) < 0.5)[person].astype(np.int8)
    inputs = generator.normal(0, 1, (120, 4))[person]
    labels = np.zeros(600, dtype=np.int64)
    apart = blind_auc(inputs, labels, member, 0, person)
    together = blind_auc(inputs, labels, member, 0)
    assert apart is not None and together is not None
    assert float(apart.low or 0) < 0.5 < float(apart.high or 0)
    assert float(together.low or 0) > 0.9


def test_one_class_without_inputs_says_nothing() -> None:
    member = (np.arange(100) % 2).astype(np.int8)
    assert blind_auc(None, np.zeros(100, dtype=np.int64), member, 0) is None


@pytest.mark.behaviour
def test_the_warning_comes_first(tmp_path: Path) -> None:
    files = arrays(1, records=800, tests=0)
    # Members of class 0 are gathered: the labels alone tell them.
    files["labels"] = np.where(files["member"] == 1, files["labels"] % 2, files["labels"])
    np.savez(tmp_path / "outputs.npz", **files)
    arguments = ["audit", str(tmp_path / "outputs.npz"), "--attack", "threshold"]
    printed = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert printed.stdout.startswith("WARNING: members and non-members differ without the model")
    assert printed.stdout.count("WARNING") == 1
    shown = CliRunner().invoke(app, ["show", str(tmp_path / "out")])
    assert shown.stdout.startswith("WARNING: members")
    page = (tmp_path / "out" / "report.md").read_text()
    assert page.index("WARNING") < page.index("Level:")
    metrics = [result.metrics for result in read_results(tmp_path / "out" / "results.json")]
    [choice] = [one for one in metrics if "blind_auc_labels" in one]
    assert float(choice["blind_auc_labels"].low or 0) > 0.5
    assert "epsilon" not in choice  # no fair coin decided who is a member


def test_inputs_that_are_no_numbers_leave_the_labels() -> None:
    outputs = check_inputs("made up", **arrays(1, records=400, tests=0))
    ragged = [[0.0] * (i % 3) for i in range(400)]
    measures = Measures(Columns(inputs=ragged), (0.01,), outputs.pool())
    task: Any = SimpleNamespace(
        design=SimpleNamespace(records=outputs.pool().records),
        protocol=SimpleNamespace(name="single_model"),
        method=SimpleNamespace(name="none"),
    )
    members = outputs.member == 1
    scores = PoolScores(members * 1.0, members, members, np.ones_like(members))
    attack = AttackScores(STRONGEST, scores, np.array([1.0]))
    assert "blind_auc_labels" in measures(task, attack)


def test_missing_and_infinite_inputs_are_seen() -> None:
    generator = np.random.default_rng(0)
    member = generator.random(400) < 0.5
    inputs = generator.normal(0, 1, (400, 3)) + member[:, None]
    inputs[:5, 0], inputs[5:9, 1] = np.inf, np.nan
    auc = blind_auc(inputs, np.zeros(400, dtype=np.int64), member.astype(np.int8), 0)
    assert auc is not None and float(auc.low or 0) > 0.6


def test_audits_with_inputs_use_them() -> None:
    generator = np.random.default_rng(0)
    files = arrays(1, records=400, tests=0)
    inputs = generator.normal(0, 1, (400, 3)) + files["member"][:, None]
    outputs = check_inputs("made up", **files)
    provenance = Provenance("made up", "normal", "this test")
    plan = AuditPlan(attacks=("threshold",))
    report = audit_pool(outputs.pool(), plan, provenance, columns=Columns(inputs=inputs))
    assert report.table().startswith("WARNING: members and non-members differ")
    assert "inputs and labels" in report.sentences[0]


@pytest.mark.behaviour
def test_members_that_a_coin_drew_are_not_told_apart() -> None:
    from sklearn.tree import DecisionTreeClassifier

    generator = np.random.default_rng(0)
    inputs, labels = generator.normal(0, 1, (300, 4)), generator.integers(0, 2, 300)
    report = dynanoise.audit(DecisionTreeClassifier(), inputs, labels, models=8, attacks=("gap",))
    assert "WARNING" not in report.table() and "Blind baseline: a classifier" in report.table()
