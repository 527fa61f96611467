"""The benchmark scripts run, say what was skipped, and need nothing that a peer imports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("resource", reason="peak memory is read from the resource module")
from benchmarks import attacks

SMALL = ["--models", "4", "--examples", "60", "--records", "50", "--population", "40"]
SMALL += ["--k", "2", "--repeats", "1"]

PLOT = """
import no_such_package
no_such_package.configure()
def helper(): ...
def generate_ours(keep, scores, check_keep, check_scores, fix_variance=False):
    assert scores.shape == (4, 60, 1) and keep.dtype == bool and check_scores.shape == (1, 60, 1)
    return np.zeros(60), check_keep
def generate_ours_offline(*arguments, **options):
    return generate_ours(*arguments, **options)
"""


def measured(folder: Path, *more: str) -> dict[str, Any]:
    attacks.main([*SMALL, "--out", str(folder / "new" / "attacks.json"), *more])
    found: dict[str, Any] = json.loads((folder / "new" / "attacks.json").read_text())
    return found


def test_without_peers_this_package_is_timed_alone(tmp_path: Path) -> None:
    found = measured(tmp_path)
    assert found["lira"]["peer"] == {"skipped": "no folder of peers was given: --peers DIR"}
    assert len(found["lira"]["rows"]) == 5
    assert all(row["dynanoise_seconds"] > 0 for row in found["lira"]["rows"])
    (row,) = found["rmia"]["rows"]
    assert "peer_seconds" not in row and row["auc"] > 0.5 and row["out_models"] == 2
    assert found["peak_memory_gib"] > 0 and found["versions"]["numpy"]


def test_functions_of_a_peer_are_read_without_its_imports(tmp_path: Path) -> None:
    path = tmp_path / attacks.PLOT
    path.parent.mkdir(parents=True)
    path.write_text(PLOT)
    found = measured(tmp_path, "--peers", str(tmp_path))
    assert found["lira"]["peer"]["file"] == "privacy/research/mi_lira_2021/plot.py"
    assert len([row for row in found["lira"]["rows"] if "peer_seconds" in row]) == 4
    missing = "there is no ml_privacy_meter/attacks.py in the folder of peers"
    assert found["rmia"]["peer"] == {"skipped": missing}
    assert str(tmp_path) not in found["command"]


def test_a_peer_that_has_changed_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / attacks.PLOT
    path.parent.mkdir(parents=True)
    path.write_text("def generate_theirs(): ...")
    found = measured(tmp_path, "--peers", str(tmp_path))["lira"]["peer"]
    assert found == {"skipped": f"{attacks.PLOT} has no function generate_ours"}
