"""What a plan would take, and that nothing happens while it is found out."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from dynanoise.benchmark.benchmark import Plan, bench
from dynanoise.benchmark.dry_run import Needed, dry_run
from dynanoise.benchmark.execution import Cluster, How
from dynanoise.cli import app
from dynanoise.cli.commands import needed
from dynanoise.report.io.results import load
from dynanoise.training.store.store import Store

PLAN = Plan("digits", 2, methods=("dynanoise",), protocols=("paper",))


def test_models_are_counted_by_kind_and_stored_ones_are_found(tmp_path: Path) -> None:
    (before,) = dry_run(PLAN, store=tmp_path / "store")
    assert (before.kind, before.models, before.stored) == ("paper, plain", 8, 0)
    assert before.seconds > 0 and not (tmp_path / "store").exists()
    one = Plan("digits", 1, methods=("dynanoise",), protocols=("paper",))
    list(bench(one, store=tmp_path / "store"))
    sizes = [entry.size for entry in Store(tmp_path / "store").entries()]
    (after,) = dry_run(PLAN, store=tmp_path / "store")
    assert (after.models, after.stored) == (8, 4)
    assert after.size == pytest.approx(sum(sizes), rel=0.1)
    assert len(list(Store(tmp_path / "store").entries())) == 4
    (nothing,) = dry_run(one, store=tmp_path / "store")
    assert nothing == Needed("paper, plain", 4, 4, 0.0, 1, 0)


def test_a_damaged_entry_is_left_alone(tmp_path: Path) -> None:
    list(bench(PLAN, store=tmp_path))
    damaged = next(tmp_path.glob("??/*/answers.npz"))
    damaged.write_bytes(b"")
    list(dry_run(PLAN, store=tmp_path))
    assert damaged.exists()


def test_nothing_is_removed_for_a_cluster_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What killed runs left is swept by runs alone."""
    pytest.importorskip("ray", reason="a cluster needs ray: pip install 'dynanoise[ray]'")
    from dynanoise.training.execution.ray_cluster import RayCluster

    monkeypatch.setattr(RayCluster, "slots", lambda self, job: 1)
    left = tmp_path / "00" / ".unfinished-model"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    how = How(store=tmp_path, cluster=Cluster(None, None))
    (found,) = needed(PLAN, None, None, how)
    assert found.models == 8 and left.exists()
    assert how.executor() is not None and not left.exists()


def test_hours_are_those_of_so_many_at_once() -> None:
    assert Needed("plain", 10, 2, 7200.0, 4, 0).hours == pytest.approx(0.5)
    assert Needed("plain", 10, 9, 7200.0, 4, 0).hours == pytest.approx(2.0)  # one cannot be shared


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["bench", "digits", "--protocol", "paper", *words])


def test_the_command_prints_a_table_or_json(tmp_path: Path) -> None:
    words = ("--defense", "dynanoise", "--dry-run", "--store", str(tmp_path / "store"))
    shown = run(*words)
    assert shown.exit_code == 0 and "paper, plain" in shown.stdout
    assert "Nothing was stored." in shown.stdout
    (row,) = json.loads(run(*words, "--json").stdout)
    assert (row["models"], row["stored"], row["kind"]) == (12, 0, "paper, plain")
    assert list(tmp_path.iterdir()) == []


def test_a_log_has_a_line_for_each_model(tmp_path: Path) -> None:
    words = ("--seeds", "1", "--defense", "dynanoise", "--no-store")
    log = tmp_path / "train.log"
    assert run(*words, "--log", str(log)).exit_code == 0
    lines = log.read_text().splitlines()
    assert len(lines) == 4 and " INFO target: trained in " in lines[0]
    out = tmp_path / "out"
    stacked = run(*words, "--log", str(log), "--stack", "16", "--out", str(out))
    assert stacked.exit_code == 0
    assert "its share of 4 stacked models" in log.read_text().splitlines()[4]
    assert {one.training["stacked"] for one in load(out / "results.json")} == {4}
    refused = run(*words, "--log", str(tmp_path))
    assert refused.exit_code == 2 and "Pass another file to --log" in refused.stderr


def test_stacked_models_are_counted_under_their_own_keys(tmp_path: Path) -> None:
    store = str(tmp_path)
    words = ("--seeds", "1", "--defense", "dynanoise", "--store", store)
    assert run(*words, "--stack", "3").exit_code == 0
    for stack, found in (("3", 4), ("1", 0)):
        (row,) = json.loads(run(*words, "--stack", stack, "--dry-run", "--json").stdout)
        assert (row["models"], row["stored"]) == (4, found)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--address", "head:6379"), "--address does not fit here"),
        (("--gpus-per-model", "0.5"), "--gpus-per-model does not fit here"),
        (("--executor", "ray", "--workers", "2"), "--workers does not fit here"),
        (("--store", "s3://key:hidden@b/m"), "holds a name with a password"),
    ],
)
def test_options_that_would_do_nothing_are_refused(words: tuple[str, ...], says: str) -> None:
    refused = run(*words)
    assert refused.exit_code == 2 and says in refused.stderr and "hidden" not in refused.stderr


def test_without_ray_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    refused = run("--executor", "ray")
    assert refused.exit_code == 2
    assert refused.stderr.strip().splitlines() == [
        "Error: The executor ray needs ray, which is not installed. Install it with: pip install "
        "'dynanoise[ray]'"
    ]
