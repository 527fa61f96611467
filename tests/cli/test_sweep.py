"""`dynanoise sweep`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.factories.commands import FEW, run, torch_missing


@pytest.mark.behaviour
@torch_missing
def test_a_sweep_uses_stored_models_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("sweep", "temperature", "--seeds", "1", "--values", "10,1", "--attack", "loss")
    before = run(*arguments)
    assert before.exit_code == 2 and before.stdout == ""
    assert (
        "no target of this run. Train it first: `dynanoise bench digits --seeds 1" in before.stderr
    )
    bench = run("bench", "digits", "--seeds", "1", *FEW, "--attack", "loss", "--json")
    never = "dynanoise.training.execution.outputs.train_and_query"
    monkeypatch.setattr(never, None)  # training would fail
    out = tmp_path / "out"
    found = run(*arguments, "--out", str(out))
    assert found.exit_code == 0, found.stderr
    lines = [line.split(",") for line in found.stdout.splitlines()]
    assert lines[0][:5] == ["method", "parameter", "value", "seed", "accuracy"]
    assert [line[:4] for line in lines[1:]] == [
        ["none", "", "", "0"],
        ["dynanoise", "temperature", "10", "0"],
        ["dynanoise", "temperature", "1", "0"],
    ]
    assert sorted(path.name for path in out.iterdir()) == ["results.json", "sweep.csv", "sweep.svg"]
    assert (out / "sweep.csv").read_text() == found.stdout
    rows = json.loads(bench.stdout)["results"]
    undefended = next(r for r in rows if r["method"] == "none" and r["attack"] is None)
    assert float(lines[1][4]) == undefended["metrics"]["accuracy"]["value"]
    shared = json.loads((out / "results.json").read_text())["shared"]
    assert shared["command"] == (
        "dynanoise sweep temperature digits --values 10,1 --seeds 1 --attack loss"
    )
