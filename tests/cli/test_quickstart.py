"""`dynanoise quickstart`, and the committed results that the README shows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dynanoise.audits.outputs_file import read_outputs
from dynanoise.cli.quickstart import DEFENSE, quickstart_text
from dynanoise.core.result import STRONGEST
from dynanoise.report.io.results import read_results
from tests.factories.commands import run

COMMITTED = Path(__file__).parents[2] / "results" / "audits" / "quickstart" / "results.json"


@pytest.mark.behaviour
def test_quickstart_gives_the_committed_numbers_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("quickstart", "--out", str(tmp_path))
    assert done.exit_code == 0, done.stderr
    results, committed = read_results(tmp_path / "results.json"), read_results(COMMITTED)
    assert [r.command for r in results] == [r.command for r in committed]
    for new, old in zip(results, committed, strict=True):
        for name in {"auc", "asr", "accuracy"} & set(old.metrics):
            # Other versions of the libraries grow slightly other forests.
            assert new.metrics[name].value == pytest.approx(old.metrics[name].value, abs=0.03)
    text = " ".join(done.stdout.split())  # lines end where the terminal does
    assert "Verdict: membership leaks" in text and f"Behind {DEFENSE}" in text
    assert read_outputs(tmp_path / "outputs.npz").models == 16
    assert (tmp_path / "report.html").exists()


def test_the_text_has_the_numbers_of_the_results() -> None:
    results = read_results(COMMITTED)
    text = quickstart_text(results, Path("folder"))
    choice = next(r for r in results if (r.method, r.attack) == ("none", STRONGEST))
    assert f"AUC {choice.metrics['auc'].value:.3f}" in text
    assert f"finds {100 * choice.metrics['tpr@0.01'].value:.0f} [" in text
    assert "folder/report.html" in text
