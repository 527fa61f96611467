"""`dynanoise audit` as its users meet it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import dynanoise as dn
from dynanoise.cli import app
from dynanoise.report.io.results import read_results
from dynanoise.report.io.samples import read_evidence
from tests.factories.audit_files import arrays


@pytest.fixture(autouse=True)
def few_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynanoise.evaluation.feasibility.STRONG", ("lira", "population"))
    monkeypatch.setattr("dynanoise.evaluation.feasibility.SINGLE", ("population", "loss"))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "outputs.npz"
    np.savez(path, **arrays(1, records=400))
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", *arguments])


def test_the_table_goes_to_stdout_and_progress_elsewhere(file: str) -> None:
    found = run(file)
    assert found.exit_code == 0
    assert "Attacker's choice: " in found.stdout and "Threat model: " in found.stdout
    assert "LiRA needs shadow models" in found.stdout and "Not covered" in found.stdout
    assert found.stderr == "Running audit of outputs: 4 steps.\n"


@pytest.mark.behaviour
def test_files_are_written_and_shown_again(file: str, tmp_path: Path) -> None:
    out, day = str(tmp_path / "out"), datetime.now(UTC).date()
    options = ["--defense", "temperature(temperature=4)", "--auditor", "Jo Example"]
    found = run(file, "--out", out, *options)
    assert found.exit_code == 0
    records = read_results(tmp_path / "out" / "results.json")
    assert records[0].command == (
        "dynanoise audit outputs.npz --defense 'temperature(temperature=4)' --queries 1 "
        "--queries 16"
    )
    assert {(one.method, one.threat.repeats) for one in records} == {
        ("none", 1),
        ("temperature", 1),
        ("temperature", 16),
    }
    report = (tmp_path / "out" / "report.md").read_text()
    assert report.startswith("# Audit of outputs\n") and "| Outputs | Level |" in report
    assert len(report.splitlines()) < 60 and "Audited by: Jo Example" in report
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    assert f"File: outputs.npz · SHA-256: {digest}" in report
    kept = read_evidence(tmp_path / "out").origin
    assert kept.auditor == "Jo Example" and date.fromisoformat(kept.date) >= day
    again = CliRunner().invoke(app, ["show", str(tmp_path / "out" / "results.json")])
    assert again.exit_code == 0 and again.stdout.splitlines()[0] in found.stdout


def test_json_is_all_of_stdout(file: str) -> None:
    found = run(file, "--json", "--fail-if", "auc>0.99")
    assert json.loads(found.stdout)["format"] == "dynanoise-results/1"
    assert "auc of the attacker's choice on undefended outputs" in found.stderr


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("auc>0.6", 1),
        ("asr>0.99", 0),
        ("tpr@0.2>0.01", 1),
        ("tpr@0.001>0.01", 3),
        ("auc<0.6", 2),
    ],
)
def test_exit_codes_of_conditions(file: str, condition: str, code: int) -> None:
    found = run(file, "--fail-if", "asr>0.999", "--fail-if", condition)
    assert found.exit_code == code, found.output
    assert (code != 2) == ("Threat model" in found.stdout)


@pytest.mark.behaviour
@pytest.mark.parametrize(
    ("conditions", "code", "untold"),
    [
        (["tpr@0.001>0.01"], 3, 1),
        (["asr>0.999", "tpr@0.001>0.01"], 3, 1),
        (["auc>0.6", "tpr@0.001>0.01"], 1, 1),
        (["tpr@0.001>0.01", "auc>0.6"], 1, 1),
        (["tpr@0.0005>0.9", "tpr@0.2>0.01", "tpr@0.01>0.9"], 1, 2),
        (["tpr@0.0005>0.9", "tpr@0.01>0.9"], 3, 2),
    ],
)
def test_what_can_be_told_is_told_and_written(
    file: str, tmp_path: Path, conditions: list[str], code: int, untold: int
) -> None:
    options = [text for condition in conditions for text in ("--fail-if", condition)]
    found = run(file, *options, "--out", str(tmp_path / "out"))
    assert found.exit_code == code, found.output
    assert found.stdout.replace("\n", " ").count("cannot be told: TPR at") == untold
    assert read_results(tmp_path / "out" / "results.json")
    report = (tmp_path / "out" / "report.md").read_text()
    assert report.count("cannot be told") == untold
    assert report.count("the attacker's choice on undefended outputs is") == (
        len(conditions) - untold
    )


def test_three_rows_cannot_be_resolved(tmp_path: Path) -> None:
    few = {"logits": np.ones((3, 2)), "labels": np.array([0, 1, 0]), "member": np.array([1, 0, 1])}
    np.savez(tmp_path / "few.npz", **few)  # type: ignore[arg-type]
    found = run(str(tmp_path / "few.npz"))
    assert found.exit_code == 3 and "has 2 members among 3 records" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Neither a file of outputs nor --model was given."),
        (["x.npz", "--model", "m.onnx"], "Both a file of outputs and --model were given."),
        (["x.npz"], "There is no file x.npz."),
        (
            ["x.npz", "--members", "a.csv"],
            "--members needs --model",
        ),
        (["--model", "m.onnx", "--members", "a.csv"], "--model needs tables of records"),
        (["x.npz", "--output", "y"], "--output and --input belong to an ONNX --model."),
        (["o.npz", "--workers", "0"], "--workers is 0"),
        (["--url", "http://a/v2/models/m", "--workers", "2"], "--workers is 2"),
        (["--url", "http://a/v2/models/m", "--input", "logits"], "--output and --input belong to"),
        (["x.npz", "--queries", "4"], "--queries was given without --defense."),
        (["x.npz", "--defense", "temperature", "--queries", "0"], "A query budget is 0."),
        (["x.npz", "--defense", "dynanois"], "Did you mean 'dynanoise'?"),
        (["x.npz", "--defense", "dynanoise(sigma=1)"], "'dynanoise' has no parameter 'sigma'."),
        (["x.npz", "--defense", "dynanoise(1)"], "The defense 'dynanoise(1)' cannot be read."),
        (["x.npz", "--fail-if", "auc"], "'auc' is not a condition."),
        (["x.npz", "--out", ""], "--out is empty."),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(arguments: list[str], says: str) -> None:
    found = run(*arguments)
    assert found.exit_code == 2
    assert found.stderr.startswith("Error: ") and says in found.stderr
    assert found.stderr.count("\n") == 1 and found.stdout == ""


@pytest.mark.parametrize(
    ("models", "options", "says"),
    [
        (1, ["--attack", "lira"], "LiRA needs shadow models: give the outputs of several models"),
        (8, ["--attack", "quantile_regression"], "Quantile regression needs inputs, and there"),
        (8, ["--attack", "boundary_distance"], "Boundary distance needs a query budget for chos"),
        (1, ["--defense", "hamp"], "HAMP learns from a model's outputs on random inputs, and th"),
    ],
)
def test_what_the_outputs_do_not_allow_is_refused_with_its_need(
    tmp_path: Path, models: int, options: list[str], says: str
) -> None:
    np.savez(tmp_path / "o.npz", **arrays(models))
    for conditions in ([], ["--fail-if", "auc>0.6"]):
        found = run(str(tmp_path / "o.npz"), *options, *conditions)
        assert found.exit_code == 2
        assert found.stderr.splitlines()[-1].startswith(f"Error: {says}")
        assert "or none." in found.stderr or "name another defense" in found.stderr


@pytest.mark.behaviour
def test_a_defense_yaml_is_taken_and_named_without_its_folder(file: str, tmp_path: Path) -> None:
    settings = tmp_path / "defense.yaml"
    dn.Configuration(dn.DynaNoise(), dn.Keyed(6.0, "m", "ab" * 32)).write(settings)
    out = tmp_path / "out"
    found = run(file, "--defense", str(settings), "--queries", "16", "--out", str(out))
    assert found.exit_code == 0
    record = read_results(out / "results.json")[-1]
    assert record.command == "dynanoise audit outputs.npz --defense defense.yaml --queries 16"
    assert record.defense["noise"] == {"name": "keyed", "cell_width": 6.0}
    settings.write_text("version: 1\nsecret: " + "5f" * 32)
    found = run(file, "--defense", str(settings))
    assert found.exit_code == 2 and "line 2: There is no setting 'secret'" in found.stderr
    assert "5f5f" not in found.stderr


@pytest.mark.parametrize(
    ("conditions", "line", "code", "kinds"),
    [
        (("auc>0.99", "asr>0.99"), "PASS: not auc>0.99, not asr>0.99", 0, [None, None]),
        (("auc>0.99", "auc>0.1"), "FAIL: auc>0.1", 1, [None, "failure"]),
        (("tpr@0.001>0.5",), "NOT EVALUABLE: tpr@0.001>0.5", 3, ["skipped"]),
        (("tpr@0.001>0.5", "asr>0.1"), "FAIL: asr>0.1", 1, ["skipped", "failure"]),
    ],
)
def test_outcomes_for_continuous_integration(
    file: str, tmp_path: Path, conditions: tuple[str, ...], line: str, code: int, kinds: list[str]
) -> None:
    """A line at the end, and a JUnit file: a case for each condition, failed or skipped."""
    junit = tmp_path / "new" / "junit.xml"
    options = [word for condition in conditions for word in ("--fail-if", condition)]
    found = run(file, *options, "--junit", str(junit))
    assert (found.exit_code, found.stdout.splitlines()[-1]) == (code, line)
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None and suite.get("name") == "audit of outputs"
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [f"not {each}" for each in conditions]
    for case, kind in zip(cases, kinds, strict=True):
        outcome = next((child for child in case if child.tag != "system-out"), None)
        assert (outcome is None) == (kind is None)
        assert outcome is None or (outcome.tag == kind and outcome.get("message"))
    counts = {name: int(suite.get(name, "")) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {
        "tests": len(kinds),
        "failures": kinds.count("failure"),
        "errors": 0,
        "skipped": kinds.count("skipped"),
    }


def test_json_is_all_of_standard_output(file: str) -> None:
    found = run(file, "--fail-if", "auc>0.99", "--json")
    assert json.loads(found.stdout) and found.stderr.splitlines()[-1] == "PASS: not auc>0.99"


def test_too_few_records_for_any_attack_are_a_skipped_case(tmp_path: Path) -> None:
    path, junit = tmp_path / "few.npz", tmp_path / "junit.xml"
    np.savez(path, **arrays(1, records=4))
    found = run(str(path), "--fail-if", "auc>0.6", "--junit", str(junit))
    assert found.exit_code == 3, found.output
    (case,) = ElementTree.parse(junit).getroot().iter("testcase")
    assert case[0].tag == "skipped" and "not evaluable" in case[0].get("message", "")


@pytest.mark.parametrize("refused", ["conditions", "a condition", "the file"])
def test_an_audit_that_ends_with_an_error_has_cases_with_errors(
    file: str, tmp_path: Path, refused: str
) -> None:
    """In place of the file of an earlier audit, which may have passed."""
    junit, files = tmp_path / "junit.xml", arrays(1, records=400)
    junit.write_text("passed")
    inverted = tmp_path / "inverted.npz"
    np.savez(inverted, **{**files, "member": 1 - files["member"]})
    path = {"conditions": str(inverted), "the file": "x.npz"}.get(refused, file)
    condition = "auc" if refused == "a condition" else "auc>0.6"
    found = run(path, "--fail-if", condition, "--junit", str(junit))
    assert found.exit_code == 2
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("errors")) == ("1", "1")
    (case,) = suite
    assert case.get("name") == f"not {condition}" and case[0].tag == "error"
    assert found.stderr.splitlines()[-1] == f"Error: {case[0].get('message')}"


def test_a_junit_file_without_conditions_has_a_skipped_case(file: str, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    assert run(file, "--junit", str(junit)).exit_code == 0
    (case,) = ElementTree.parse(junit).getroot().iter("testcase")
    assert case[0].tag == "skipped" and "Verdict: membership leaks" in case[0].get("message", "")


def test_a_junit_file_that_cannot_be_written_is_refused_before_the_work(
    file: str, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    found = run(file, "--fail-if", "auc>0.99", "--junit", str(tmp_path / "taken" / "junit.xml"))
    assert found.exit_code == 2 and "Pass another folder to --junit." in found.stderr
    assert "Running" not in found.stderr
