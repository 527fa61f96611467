"""`dynanoise show` and `dynanoise report`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from dynanoise.cli.output.folder import write_results
from dynanoise.report.io.results import to_json
from dynanoise.report.io.samples import encode_run
from tests.factories.commands import made_up_run, run
from tests.factories.evidence import evidence
from tests.factories.results import records


@pytest.mark.behaviour
def test_report_makes_both_files_from_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="charts need: pip install 'matplotlib>=")
    made = evidence(queries=(1,))
    for name, content in encode_run(made.results, made).items():
        (tmp_path / name).write_bytes(content)
    found = run("report", str(tmp_path))
    assert found.exit_code == 0 and found.stderr.count("Wrote") == 2 and found.stdout == ""
    assert (tmp_path / "report.html").read_text().count("<svg") == 2 + 2 * 3 + 1
    assert (tmp_path / "report.md").read_text().startswith("# Membership inference on made up")
    assert "Replaced" in run("report", str(tmp_path)).stderr


def test_a_report_without_matplotlib_has_the_numbers_and_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results.json").write_text(to_json(records()))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = run("report", str(tmp_path))
    assert found.exit_code == 0 and "pip install 'matplotlib>=" in found.stderr
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["report.html", "report.md", "results.json"]
    page = (tmp_path / "report.html").read_text()
    assert "Charts are left out" in page and "pip install" in page
    assert "<svg" not in page and "<details open>" in page


def test_report_of_no_folder_is_refused(tmp_path: Path) -> None:
    found = run("report", str(tmp_path / "nowhere"))
    assert found.exit_code == 2 and "results.json cannot be read" in found.stderr


def test_reports_of_an_earlier_run_do_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside results of the paper's protocol alone they would be those of another run."""
    made_up_run(monkeypatch)
    for name in ("samples.npz", "report.html", "report.md"):
        (tmp_path / name).write_text("old")
    assert run("bench", "digits", "--out", str(tmp_path)).exit_code == 0
    assert not {"samples.npz", "report.html", "report.md"} & {p.name for p in tmp_path.iterdir()}


def test_the_report_of_an_earlier_run_is_replaced_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").write_text("old")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    made = evidence(queries=(1,))
    assert write_results(list(made.results), tmp_path, made)
    assert "report.html: Charts are left out" in capsys.readouterr().err
    page = (tmp_path / "report.html").read_text()
    assert page.count("<details open>") == page.count("<figure>") > 3 and "<svg" not in page
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["report.html", "report.md", "results.json", "samples.npz"]


def test_show_prints_tables_json_and_markdown(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(to_json(records()))
    table = run("show", str(tmp_path / "results.json"))
    assert table.exit_code == 0 and "0.610" in table.stdout and "Threat model" in table.stdout
    as_json = run("show", "--json", str(tmp_path / "results.json"))
    assert as_json.stdout == (tmp_path / "results.json").read_text()
    markdown = run("show", "--markdown", str(tmp_path / "results.json"))
    assert markdown.stdout.startswith("| Method | Test acc. |")
    assert run("show", str(tmp_path)).stdout == table.stdout  # the folder does as well


def test_results_as_csv_and_as_latex(tmp_path: Path) -> None:
    results = records()
    (tmp_path / "results.json").write_text(to_json(results))
    rows = list(csv.DictReader(run("show", str(tmp_path), "--csv").stdout.splitlines()))
    assert len(rows) == sum(len(result.metrics) for result in results)
    first = results[0]
    name, metric = next(iter(first.metrics.items()))
    assert (rows[0]["method"], rows[0]["metric"]) == (first.method, name)
    assert float(rows[0]["value"]) == metric.value
    latex = run("show", str(tmp_path), "--latex", "--metric", "auc").stdout
    assert latex.count(r"\toprule") == latex.count(r"\end{tabular}") >= 1
    assert all(line.endswith(r"\\") for line in latex.splitlines() if " & " in line)


def test_one_format_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(to_json(records()))
    done = run("show", str(tmp_path), "--csv", "--latex")
    assert done.exit_code == 2 and "--latex and --csv were given. Choose one" in done.stderr
    done = run("show", str(tmp_path), "--csv", "--metric", "auc")
    assert done.exit_code == 2 and "--csv prints every metric" in done.stderr


@pytest.mark.parametrize("place", [".", "results.json"])
def test_show_and_report_take_a_folder_or_its_file(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (tmp_path / "results.json").write_text(to_json(records()))
    for name in ("show", "report"):
        assert run(name, str(tmp_path / place)).exit_code == 0
    assert (tmp_path / "report.md").exists()
