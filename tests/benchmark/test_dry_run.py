"""What a plan would take, and that nothing happens while it is found out."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")


from dynanoise.benchmark.benchmark import Plan, bench
from dynanoise.benchmark.dry_run import Needed, dry_run, stored_size
from dynanoise.benchmark.execution import Execution, Executor
from dynanoise.cli import app
from dynanoise.core.registry import MODELS, RECIPES
from dynanoise.training.execution.outputs import outputs_of
from dynanoise.training.jobs import Job
from dynanoise.training.store.store import Store
from tests.factories import tiny
from tests.factories.presets import small_digits

PLAN = Plan("digits", 2, methods=("dynanoise",), protocols=("paper",), custom=small_digits())


@pytest.mark.behaviour
def test_models_are_counted_by_kind_and_stored_ones_are_found(tmp_path: Path) -> None:
    (before,) = dry_run(PLAN, store=tmp_path / "store")
    assert (before.kind, before.models, before.stored) == ("paper, plain", 8, 0)
    assert before.size > 0 and not (tmp_path / "store").exists()
    one = replace(PLAN, seeds=1)
    list(bench(one, store=tmp_path / "store"))
    sizes = [entry.size for entry in Store(tmp_path / "store").entries()]
    (after,) = dry_run(PLAN, store=tmp_path / "store")
    assert (after.models, after.stored) == (8, 4)
    assert after.size == pytest.approx(sum(sizes), rel=0.1)
    assert len(list(Store(tmp_path / "store").entries())) == 4
    (nothing,) = dry_run(one, store=tmp_path / "store")
    assert nothing == Needed("paper, plain", 4, 4, 0)


def test_the_size_is_that_of_the_stored_entry(tmp_path: Path) -> None:
    data = tiny.data(600)
    recipe = RECIPES.get("plain")(tiny.QUICK)
    job = Job(
        name="target",
        model=MODELS.get("mlp")((16,)),
        recipe=recipe,
        members=np.arange(400),
        reference=np.arange(500, 560),
        seed=1,
        queries=np.arange(500),
    )
    outputs_of(job, data, Store(tmp_path))
    (entry,) = Store(tmp_path).entries()
    assert stored_size([job], data) == pytest.approx(entry.size, abs=4096)
    assert stored_size([job, job], data) == 2 * stored_size([job], data)


@pytest.mark.behaviour
def test_a_damaged_entry_is_left_alone(tmp_path: Path) -> None:
    list(bench(PLAN, store=tmp_path))
    damaged = next(tmp_path.glob("??/*/answers.npz"))
    damaged.write_bytes(b"")
    list(dry_run(PLAN, store=tmp_path))
    assert damaged.exists()


def test_what_killed_runs_left_is_swept_by_runs_alone(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="a cluster needs ray: pip install 'dynanoise[ray]'")
    left = tmp_path / "00" / ".unfinished-model"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    (found,) = dry_run(PLAN, store=tmp_path)
    assert found.models == 8 and left.exists()
    assert Execution(executor=Executor.ray).cluster(tmp_path) is not None and not left.exists()


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["bench", "digits", "--protocol", "paper", *words])


@pytest.mark.behaviour
def test_the_command_prints_a_table_or_json(tmp_path: Path) -> None:
    words = ("--defense", "dynanoise", "--dry-run", "--store", str(tmp_path / "store"))
    shown = run(*words)
    assert shown.exit_code == 0 and "paper, plain" in shown.stdout
    assert "Nothing was stored." in shown.stdout
    (row,) = json.loads(run(*words, "--json").stdout)
    assert row == {"kind": "paper, plain", "models": 12, "stored": 0, "size": row["size"]}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.behaviour
def test_a_log_has_a_line_for_each_model(tmp_path: Path) -> None:
    words = ("--seeds", "1", "--defense", "dynanoise", "--no-store")
    log = tmp_path / "train.log"
    assert run(*words, "--log", str(log)).exit_code == 0
    lines = log.read_text().splitlines()
    assert len(lines) == 4 and " INFO target: trained in " in lines[0]
    refused = run(*words, "--log", str(tmp_path))
    assert refused.exit_code == 2 and "Pass another file to --log" in refused.stderr


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
        "'ray>=2.60'"
    ]
