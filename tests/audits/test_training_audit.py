"""Audits of training functions, and what the report of any audit offers in Python."""

from __future__ import annotations

import inspect
import pydoc
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.neighbors import KNeighborsClassifier

import dynanoise
from dynanoise.audits.outputs_file import read_outputs
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.report import progress
from dynanoise.report.evidence_report import build_report
from dynanoise.report.io.samples import encode_run, read_evidence
from dynanoise.report.table import Table

X, Y = make_classification(300, n_classes=3, n_informative=4, flip_y=0.3, random_state=0)
NAMES = np.array(["bird", "cat", "dog"])[Y]


def train(inputs: Any, labels: Any, seed: int) -> Any:
    return KNeighborsClassifier(1).fit(inputs, labels).predict_proba


@pytest.fixture(scope="module")
def report() -> dynanoise.AuditReport:
    return dynanoise.audit_training(train, X, NAMES, models=8, attacks=("gap", "lira"))


def test_a_function_gives_the_numbers_of_the_same_estimator(report: dynanoise.AuditReport) -> None:
    """Nearest neighbours draw no random numbers, so both audits train the same models."""
    estimator = KNeighborsClassifier(1)
    same = dynanoise.audit(estimator, X, NAMES, models=8, attacks=("gap", "lira"))
    assert [r.metrics for r in report.results] == [r.metrics for r in same.results]
    assert report.results[0].command.startswith("dynanoise.audit_training(train, X, y, models=8")


@pytest.mark.behaviour
def test_torch_tensors_come_in_and_go_out() -> None:
    torch = pytest.importorskip("torch", reason="tensors need: pip install 'torch>=2.6,<3'")
    drawn = []

    def train_linear(inputs: Any, labels: Any, seed: int) -> Any:
        drawn.append(torch.rand(1).item())
        weights = torch.nn.functional.one_hot(labels, 3).double().T @ inputs
        return lambda queried: (queried @ weights.T).requires_grad_()

    arguments: dict[str, Any] = {"models": 8, "attacks": ("gap",)}
    tensors = torch.tensor(X), torch.tensor(Y)
    first = dynanoise.audit_training(train_linear, *tensors, **arguments)
    again = dynanoise.audit_training(train_linear, *tensors, **arguments)
    assert drawn[:8] == drawn[8:] and len(set(drawn)) == 8
    assert [r.metrics for r in first.results] == [r.metrics for r in again.results]


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (1, "train is of type int"),
        (lambda inputs, labels, seed: None, "returned an object of type NoneType"),
        (
            lambda inputs, labels, seed: lambda queried: np.ones((len(queried), 2)),
            r"shape \(300, 2",
        ),
        (lambda inputs, labels, seed: lambda queried: np.full((300, 3), np.nan), "nan"),
    ],
)
def test_what_is_no_training_function_is_refused(function: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        dynanoise.audit_training(function, X, Y, models=8)


def test_help_and_editors_see_the_real_signatures() -> None:
    for function in (dynanoise.audit, dynanoise.audit_training):
        assert list(inspect.signature(function).parameters)[1:4] == ["X", "y", "models"]
        assert re.search("models: .*int.* = 16", pydoc.render_doc(function))


def test_the_report_is_short_in_a_console_and_a_page_in_a_notebook(
    report: dynanoise.AuditReport,
) -> None:
    text = repr(report)
    assert len(text) < 400 and "8 models" in text and "Verdict: membership leaks" in text
    assert str(report).startswith(report.verdict)
    page = report._repr_html_()
    assert page.startswith("<iframe srcdoc=") and "sandbox" in page
    assert "What to do next" in page and "How it was made" not in page


def test_the_outputs_can_be_audited_again(report: dynanoise.AuditReport, tmp_path: Path) -> None:
    inputs = read_outputs(report.save_outputs(tmp_path / "outputs.npz"))
    assert report.inputs is not None
    np.testing.assert_array_equal(inputs.member, report.inputs.member)
    np.testing.assert_array_equal(inputs.logits, report.inputs.logits)
    np.testing.assert_array_equal(inputs.test_labels, report.inputs.test_labels)
    with pytest.raises(DataFileError, match=r"Use \.npz"):
        report.save_outputs(tmp_path / "outputs.csv")


def test_files_that_cannot_be_written(report: dynanoise.AuditReport, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written .* Name another folder\."):
        report.save(tmp_path / "file" / "audit")
    with pytest.raises(InputError, match=r"cannot be written .* Name another file\."):
        report.save_outputs(tmp_path / "missing" / "outputs.npz")


@pytest.mark.behaviour
def test_saved_files_are_those_of_the_command(
    report: dynanoise.AuditReport, tmp_path: Path
) -> None:
    folder = report.save(tmp_path / "new" / "audit")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["report.html", "report.md", "results.json", "samples.npz"]
    assert read_evidence(folder).results == report.results


def test_results_as_a_frame(report: dynanoise.AuditReport) -> None:
    pytest.importorskip("pandas", reason="frames of users")
    frame = report.to_dataframe()
    assert len(frame) == sum(len(result.metrics) for result in report.results)
    row = frame[(frame.attack == "strongest") & (frame.metric == "auc")].iloc[0]
    metric = next(r for r in report.results if r.attack == "strongest").metrics["auc"]
    assert (row.value, row.low, row.high) == (metric.value, metric.low, metric.high)
    assert frame[frame.metric == "accuracy"].attack.isna().all()


def test_curves_are_drawn_into_given_axes(report: dynanoise.AuditReport) -> None:
    pytest.importorskip("matplotlib", reason="charts need: pip install 'matplotlib>=")
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert report.plot_roc(axes) is axes
    sample = next(s for s in report.evidence.attacks if s.attack == "strongest")
    drawn = axes.get_lines()[-1].get_xydata()
    above = sample.tpr > 0
    np.testing.assert_array_equal(drawn, np.stack([sample.fpr, sample.tpr], axis=1)[above])


def test_progress_is_a_bar_for_people_and_silent_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress.steps_of(None, "audit", 2) as steps:
        steps("model 0")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.steps_of(None, "audit", 1) as steps:
        steps.expect(1)
        steps("model 0")
    shown = capsys.readouterr().err
    assert "1/2" in shown and "done: model 0" in shown
    heard: list[str] = []
    with progress.steps_of(heard.append, "audit", 1) as steps:
        steps("model 0")
    assert heard == ["model 0"] and capsys.readouterr().err == ""


def test_classes_keep_their_names_in_reports_and_files(
    report: dynanoise.AuditReport, tmp_path: Path
) -> None:
    assert report.evidence.class_names == ("bird", "cat", "dog")
    for name, content in encode_run(report.results, report.evidence).items():
        (tmp_path / name).write_bytes(content)
    assert read_evidence(tmp_path).class_names == ("bird", "cat", "dog")
    risk = next(risk for risk in report.evidence.risks if risk.method == "none")
    expected = f"record {risk.ids[0]}, class {('bird', 'cat', 'dog')[risk.labels[0]]}: "
    section = next(s for s in build_report(report.evidence).sections if s.key == "records")
    tables = [block for block in section.blocks if isinstance(block, Table)]
    assert tables[0].rows[0][1].text.startswith(expected)
    assert NAMES[risk.ids[0]] == ("bird", "cat", "dog")[risk.labels[0]]


def test_values_have_short_descriptions(report: dynanoise.AuditReport) -> None:
    for value in (report.results, report.evidence, report.inputs):
        assert len(repr(value)) < 200 * len(report.results)
    assert "lira on none" in repr(report.results)
