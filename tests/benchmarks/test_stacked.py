"""The benchmark of stacked training; its times are never asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from benchmarks import stacked


def test_both_ways_train_the_same_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stacked, "CASES", (stacked.Case("digits", 100, 2),))
    out = tmp_path / "stacked.json"
    stacked.main(["--models", "3", "--rounds", "2", "--out", str(out)])
    (row,) = json.loads(out.read_text())["rows"]
    assert json.loads(capsys.readouterr().out)["rows"] == [row]
    assert row["models"] == 3 and len(row["times_as_fast"]) == 2
    assert row["largest_difference_of_logits"] < 1e-3 < row["largest_difference_of_two_models"]


def test_data_that_are_not_there_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DYNANOISE_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stacked, "CASES", (stacked.Case("cifar10", 512, 1),))
    stacked.main(["--models", "2", "--out", str(tmp_path / "stacked.json")])
    found = capsys.readouterr()
    assert json.loads(found.out)["rows"] == []
    assert "cifar10 is left out" in found.err
