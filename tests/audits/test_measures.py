"""Groups, persons, precision, epsilon and agreement in audits of files and estimators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier
from typer.testing import CliRunner

import dynanoise
from dynanoise.audits.columns import ColumnNames, Columns
from dynanoise.audits.measures import epsilon_bounds
from dynanoise.audits.outputs_file import read_outputs
from dynanoise.audits.pool_audit import AuditPlan, audit_pool
from dynanoise.cli import app
from dynanoise.core.errors import DataFileError, InputError, TooFewRecordsError
from dynanoise.core.result import STRONGEST
from dynanoise.evaluation import shadow_pool
from dynanoise.evaluation.provenance import Provenance
from dynanoise.metrics.bootstrap import PoolScores
from dynanoise.report.io.results import from_json
from tests.factories.audit_files import Arrays, arrays

PLAN = AuditPlan(attacks=("lira", "threshold"))
ALONE = AuditPlan(attacks=("loss", "threshold"))


def planted(models: int, records: int = 600) -> Arrays:
    """Outputs that leak for the records of one ward alone; the ward is independent of the class."""
    leaking, silent = (arrays(models, records=records, leak=leak, tests=0) for leak in (5.0, 0.0))
    ward = np.arange(records) % 3
    axis = (slice(None),) if models > 1 else ()
    leaking["logits"][(*axis, ward != 0)] = silent["logits"][(*axis, ward != 0)]
    return {**leaking, "ward": np.array(["ICU", "north", "south"])[ward]}


def choice(report: Any) -> dict[str, Any]:
    return next(dict(r.metrics) for r in report.results if r.attack == STRONGEST)


def audited(path: Path, plan: AuditPlan, *by: str, groups: str | None = None) -> Any:
    inputs = read_outputs(path, ColumnNames(by, groups))
    provenance = Provenance("made up", "normal", "this test")
    return audit_pool(inputs.pool(), plan, provenance, columns=inputs.columns)


@pytest.mark.behaviour
@pytest.mark.parametrize(("models", "plan"), [(8, PLAN), (1, ALONE)])
def test_the_ward_that_leaks_alone_is_named(tmp_path: Path, models: int, plan: AuditPlan) -> None:
    np.savez(tmp_path / "outputs.npz", **planted(models))
    report = audited(tmp_path / "outputs.npz", plan, "ward")
    metrics = choice(report)
    leaking, other = metrics["ward=ICU auc"], metrics["ward=north auc"]
    assert leaking.low > metrics["auc"].value > 0.5 and other.low < 0.55
    sentences = [text for text in report.sentences if text.startswith("Groups that leak more")]
    assert len(sentences) == 1 and "ward=ICU has AUC" in sentences[0]
    assert "north" not in sentences[0] and "class=" not in sentences[0]
    page = report.to_html()
    assert "ward=ICU" in page and "class=1" in page and "Precision" in page


def test_precision_follows_from_the_rates_and_the_share_of_members(tmp_path: Path) -> None:
    np.savez(tmp_path / "outputs.npz", **arrays(8, records=400))
    report = audited(tmp_path / "outputs.npz", PLAN)
    for result in report.results:
        if result.attack is None:
            continue
        tpr, fpr = result.metrics["tpr"].value, result.metrics["fpr"].value
        assert result.metrics["asr"].value == pytest.approx((tpr + 1 - fpr) / 2, abs=0.01)
        for prior in (0.01, 0.1, 0.5):
            metric = result.metrics[f"ppv@{prior:g}"]
            expected = prior * tpr / (prior * tpr + (1 - prior) * fpr)
            assert metric.value == pytest.approx(expected)
            assert metric.low < metric.value < metric.high


def test_agreement_counts_the_members_that_attacks_find(tmp_path: Path) -> None:
    np.savez(tmp_path / "outputs.npz", **arrays(8, records=400, tests=0))
    report = audited(tmp_path / "outputs.npz", PLAN)
    by_attack = {result.attack: result.metrics for result in report.results}
    found = [by_attack[name]["found"].value for name in PLAN.attacks]
    alone = [by_attack[name]["found_alone"].value for name in PLAN.attacks]
    once, twice = (by_attack[STRONGEST][f"found_by_{n}"].value for n in (1, 2))
    assert once == pytest.approx(alone[0] + alone[1] + twice)
    assert sum(found) == pytest.approx(once + twice)
    assert 0 < twice < min(found)


def test_epsilon_is_reported_with_its_condition_and_zero_without_a_leak(tmp_path: Path) -> None:
    np.savez(tmp_path / "leak.npz", **arrays(8, records=600, leak=5.0, tests=0))
    np.savez(tmp_path / "none.npz", **arrays(8, records=600, leak=0.0, tests=0))
    plan = AuditPlan(attacks=("threshold",))
    leak, none = (audited(tmp_path / f"{name}.npz", plan) for name in ("leak", "none"))
    metrics = choice(leak)
    assert 0.5 < metrics["epsilon_delta"].value <= metrics["epsilon"].value
    assert metrics["epsilon_f_dp"].value > metrics["epsilon_delta"].value
    assert any("if a fair coin of its own decided" in text for text in leak.sentences)
    assert choice(none)["epsilon"].value == 0.0


def test_equal_scores_bound_epsilon_by_zero_however_rows_are_ordered() -> None:
    """Saturated outputs, members first: guesses among equal scores are no better than chance."""
    scores, members = np.ones((1, 2000)), np.arange(2000)[None] < 1000
    scores[0, [5, 1500]] = 2.0  # one member and one non-member stand out

    def bounds(order: slice, seed: int) -> list[float]:
        truth = members[:, order]
        saturated = PoolScores(scores[:, order], truth, truth, truth | True)
        return [metric.value for metric in epsilon_bounds(saturated, seed).values()]

    # Members first or last; at 95% a seed or two in twenty may guess well by chance.
    for order in (slice(None), slice(None, None, -1)):
        assert np.mean([bounds(order, seed) == [0.0] * 3 for seed in range(20)]) >= 0.9
    assert bounds(slice(None), 0) == [0.0] * 3
    assert bounds(slice(None), 3) == bounds(slice(None), 3)


def forest_data() -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 240)
    inputs = generator.normal(0, 1, (240, 5)) + labels[:, None] * 0.5
    return inputs, labels


@pytest.mark.behaviour
def test_five_rows_a_patient_have_the_verdict_of_one_row_a_patient() -> None:
    inputs, labels = forest_data()
    tree = DecisionTreeClassifier(max_leaf_nodes=40, random_state=0)
    rows = np.repeat(np.arange(240), 5)
    kept: dict[str, Any] = {"models": 8, "attacks": ("lira", "gap")}
    single = choice(dynanoise.audit(tree, inputs, labels, **kept))
    patients = dynanoise.audit(tree, inputs[rows], labels[rows], groups=rows, **kept)
    grouped = choice(patients)
    # The same patients are in the same models, and five equal rows make the same tree.
    for name in ("asr", "auc"):
        assert grouped[name].value == pytest.approx(single[name].value, abs=0.03)
        assert grouped[name].high - grouped[name].low == pytest.approx(
            single[name].high - single[name].low, rel=0.4
        )
    assert single["auc"].low > 0.5 and grouped["auc"].low > 0.5
    assert grouped["auc_largest"].value == pytest.approx(grouped["auc"].value, abs=0.03)
    assert patients.results[0].counts["persons"] == 168
    # Without groups each row has a coin of its own: twins of non-members are members.
    split = choice(dynanoise.audit(tree, inputs[rows], labels[rows], **kept))
    assert split["auc"].value < grouped["auc"].value - 0.1


def visits(models: int, each: int = 5) -> Arrays:
    """Predictions that are right for all visits of members, for two thirds of the others'."""
    files = arrays(models, records=200 * each, leak=0.0, tests=0)
    patient = np.arange(200 * each) // each
    member = np.atleast_2d(files["member"])[:, ::each][:, patient]
    right = (np.random.default_rng(1).random(member.shape) < 2 / 3) | (member == 1)
    said = np.where(right, files["labels"], (files["labels"] + 1) % 3)
    logits = 3.0 * np.eye(3)[said]
    of_one = models == 1
    return {
        "logits": logits[0] if of_one else logits,
        "labels": files["labels"],
        "member": member[0] if of_one else member,
        "patient": patient,
    }


@pytest.mark.parametrize("models", [8, 1])
def test_thresholds_and_the_choice_are_of_persons(tmp_path: Path, models: int) -> None:
    """A person is a member if all visits are right; most are right for most of the others too."""
    files = visits(models)
    np.savez(tmp_path / "outputs.npz", **files)
    plan = AuditPlan(attacks=("gap",))
    report = audited(tmp_path / "outputs.npz", plan, groups="patient")
    single = next(dict(r.metrics) for r in report.results if r.attack == "gap")
    # With one attack to choose from, the attacker's choice is that attack.
    for name in ("auc", "asr", "auc_largest"):
        assert choice(report)[name].value == pytest.approx(single[name].value, abs=1e-12), name
    right = files["logits"].reshape(models, -1, 3).argmax(axis=2) == files["labels"]
    all_right = right.reshape(models, 200, 5).all(axis=2)
    inside = files["member"].reshape(models, 200, 5)[:, :, 0] == 1
    found = (all_right[inside].mean() + (~all_right[~inside]).mean()) / 2
    # One model is attacked on half of the persons; of several, a few persons are in too few.
    assert single["asr"].value == pytest.approx(found, abs=0.005 if models > 1 else 0.06)
    assert found > 0.9


def test_few_large_persons_are_attacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Persons with more records than thresholds are chosen on, 50 of each other model."""
    monkeypatch.setattr(shadow_pool, "CALIBRATION", 350)
    files = visits(8, each=100)
    np.savez(tmp_path / "outputs.npz", **files)
    plan = AuditPlan(attacks=("loss",))
    assert choice(audited(tmp_path / "outputs.npz", plan, groups="patient"))["auc"].value > 0.9
    few = {name: values[:300] for name, values in visits(1, each=50).items()}
    np.savez(tmp_path / "few.npz", **few)
    with pytest.raises(TooFewRecordsError, match=r"persons would be scored .* over 1 model\."):
        audited(tmp_path / "few.npz", plan, groups="patient")


def test_persons_with_several_values_are_a_group_of_their_own(tmp_path: Path) -> None:
    files = visits(8)
    number = np.arange(1000) % 5
    files["visit"] = np.where(number == 0, "first", "later")
    files["ward"] = np.where(files["patient"] < 100, "ICU", "north")
    np.savez(tmp_path / "outputs.npz", **files)
    report = audited(
        tmp_path / "outputs.npz", AuditPlan(attacks=("gap",)), "visit", "ward", groups="patient"
    )
    metrics = choice(report)
    groups = {name.removesuffix(" auc") for name in metrics if name.endswith(" auc")}
    assert {"visit=several", "ward=ICU", "ward=north", "class=several"} <= groups
    assert not groups & {"visit=first", "visit=later"}
    assert metrics["visit=several auc"].value == metrics["auc"].value


def test_persons_of_one_model_are_known_or_scored_as_a_whole(tmp_path: Path) -> None:
    files = arrays(1, records=600, tests=0)
    files["patient"] = np.repeat(np.arange(200), 3)
    files["member"] = np.repeat(files["member"][::3], 3)
    np.savez(tmp_path / "outputs.npz", **files)
    report = audited(tmp_path / "outputs.npz", ALONE, groups="patient")
    counts = report.results[0].counts
    assert counts["persons"] == 200
    assert counts["scored_members"] + counts["scored_non_members"] == pytest.approx(100, abs=2)
    assert any("200 persons" in note for note in report.notes)


@pytest.mark.parametrize("suffix", ["npz", "csv"])
def test_the_command_reads_named_columns(tmp_path: Path, suffix: str) -> None:
    files = planted(1)
    path = tmp_path / f"outputs.{suffix}"
    if suffix == "npz":
        np.savez(path, **files)
    else:
        probs = np.exp(files["logits"]) / np.exp(files["logits"]).sum(axis=1, keepdims=True)
        lines = ["p0,p1,p2,label,member,ward"]
        columns = probs, files["labels"], files["member"], files["ward"]
        lines += [
            f"{row[0]:.6f},{row[1]:.6f},{row[2]:.6f},{label},{member},{ward}"
            for row, label, member, ward in zip(*columns, strict=True)
        ]
        path.write_text("\n".join(lines) + "\n")
    arguments = ["audit", str(path), "--by", "ward", "--attack", "threshold", "--json"]
    printed = CliRunner().invoke(app, arguments)
    assert printed.exit_code == 0, printed.output
    results = json.loads(printed.stdout)["results"]
    assert any("ward=ICU auc" in result["metrics"] for result in results)
    wrong = CliRunner().invoke(app, [*arguments[:3], "wart"])
    assert wrong.exit_code == 2 and "holds no 'wart'" in wrong.output


def test_columns_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError, match=r"ward has shape \(3,\) for 4 records"):
        Columns({"ward": np.arange(3)}).check(4)
    with pytest.raises(InputError, match="column is called 'class'"):
        Columns({"class": np.arange(4)}).check(4)


def test_a_column_that_nobody_named_is_refused_as_before(tmp_path: Path) -> None:
    np.savez(tmp_path / "outputs.npz", **planted(1))
    with pytest.raises(DataFileError, match="unknown arrays: 'ward'"):
        read_outputs(tmp_path / "outputs.npz")


@pytest.mark.behaviour
@pytest.mark.parametrize("names", [["bird", "cat", "dog"], [1, 2, 3], [0, 1, 2]])
def test_saved_outputs_have_the_persons_groups_and_classes_of_the_audit(
    tmp_path: Path, names: list[Any]
) -> None:
    generator = np.random.default_rng(0)
    persons = np.repeat(np.arange(300), 3)
    X = generator.normal(size=(300, 6))[persons] + generator.normal(0, 0.1, (900, 6))
    y = np.array(names)[generator.integers(0, 3, 300)[persons]]
    further: dict[str, Any] = {"groups": persons, "by": {"ward": np.array(["a", "b"])[persons % 2]}}
    tree = DecisionTreeClassifier(random_state=0)
    report = dynanoise.audit(tree, X, y, models=8, attacks=("lira", "gap"), **further)
    path = report.save_outputs(tmp_path / "outputs.npz")
    printed = {}
    for options in ([], ["--by", "ward"]):
        arguments = ["audit", str(path), *options, "--attack", "lira", "--attack", "gap", "--json"]
        found = CliRunner().invoke(app, arguments)
        assert found.exit_code == 0, found.output
        printed = {result.attack: result for result in from_json(found.stdout)}
        for result in report.results:
            again = printed[result.attack]
            assert again.counts == result.counts and "persons" in again.counts
            blind = {name for name in {**result.metrics, **again.metrics} if "blind" in name}
            kept = {name: m for name, m in again.metrics.items() if name not in blind}
            assert kept == {name: m for name, m in result.metrics.items() if name not in blind}
    assert "epsilon" in printed[STRONGEST].metrics
    assert "ward=b auc" in printed[STRONGEST].metrics
    by_persons = read_outputs(path, ColumnNames(("groups",))).columns
    assert by_persons.persons is not None and {"ward", "groups"} <= set(by_persons.by)
    inputs = read_outputs(path)
    assert inputs.class_names == (() if names == [0, 1, 2] else tuple(map(str, names)))
    assert report.inputs is not None
    np.testing.assert_array_equal(inputs.labels, report.inputs.labels)
