"""The benchmark of the whole suite runs on a small pool and says what it timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="peak memory is read from the resource module")
from benchmarks import suite


@pytest.mark.behaviour
def test_every_attack_has_a_time(tmp_path: Path) -> None:
    out = tmp_path / "new" / "suite.json"
    small = ["--models", "10", "--records", "120", "--classes", "3", "--near", "3"]
    suite.main([*small, "--queries", "1", "2", "--out", str(out)])
    found = json.loads(out.read_text())
    assert [row["protocol"] for row in found["rows"]] == ["adaptive", "adaptive_2", "adaptive_near"]
    assert [row["inputs"] for row in found["rows"]] == [1, 1, 3]
    for row in found["rows"]:
        assert {"lira", "learned", "strongest", "utility"} <= row["each"].keys()
        # Each to 1/100 s; what remains is the pool's arrangement, whatever else the machine does.
        steps = sum(row["each"].values())
        assert row["seconds"] / 2 < steps < row["seconds"] + 0.01 * len(row["each"])
    assert found["command"].endswith("--near 3 --seed 0 --queries 1 2")
