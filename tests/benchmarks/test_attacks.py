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
    assert "leakpro_seconds" not in row and row["auc"] > 0.5 and row["out_models"] == 2
    assert found["peak_memory_gib"] > 0 and found["versions"]["numpy"]


def test_functions_of_a_peer_are_read_without_its_imports(tmp_path: Path) -> None:
    path = tmp_path / attacks.PLOT
    path.parent.mkdir(parents=True)
    path.write_text(PLOT)
    found = measured(tmp_path, "--peers", str(tmp_path))
    assert found["lira"]["peer"]["file"] == "privacy/research/mi_lira_2021/plot.py"
    assert len([row for row in found["lira"]["rows"] if "peer_seconds" in row]) == 4
    missing = "there is no ml_privacy_meter/attacks.py in the folder of peers"
    assert found["rmia"]["privacy_meter"] == {"skipped": missing}
    assert str(tmp_path) not in found["command"]


LEAKPRO = """
import no_such_package
class AttackRMIA(no_such_package.AbstractMIA):
    def _run_attack(self: Self) -> None:
        logger.info("running")
        of_shadows = [softmax_logits(x, self.temperature) for x in self.logits_shadow_models]
        shadows = np.stack(of_shadows)[:, :, 0]
        assert shadows.shape == self.out_indices.shape == (4, 50) and self.ratio_z.shape == (1, 40)
        outside = np.nanmean(np.where(self.out_indices, shadows, np.nan), axis=0)
        marginal = 0.5 * ((self.offline_a + 1) * outside + 1 - self.offline_a)
        ratios = softmax_logits(self.logits_theta, self.temperature)[:, 0] / marginal
        self.in_member_signals = (ratios[:, None] > self.ratio_z).mean(axis=1)[:, None]
"""


def test_a_method_of_a_peer_is_run_with_the_state_that_it_needs(tmp_path: Path) -> None:
    path = tmp_path / attacks.LEAKPRO
    path.parent.mkdir(parents=True)
    path.write_text(LEAKPRO)
    (row,) = measured(tmp_path, "--peers", str(tmp_path))["rmia"]["rows"]
    assert row["leakpro_seconds"] > 0 and row["rank_correlation_with_leakpro"] > 0.99


def test_a_peer_that_has_changed_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / attacks.PLOT
    path.parent.mkdir(parents=True)
    path.write_text("def generate_theirs(): ...")
    found = measured(tmp_path, "--peers", str(tmp_path))["lira"]["peer"]
    assert found == {"skipped": f"{attacks.PLOT} has no function generate_ours"}
