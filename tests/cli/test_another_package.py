"""Components of another package, found by their entry points, on every command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dynanoise.cli import app
from dynanoise.core import registry
from dynanoise.core.registry import Registry
from dynanoise.report.io.results import read_results
from dynanoise.tuning.search import list_quantisations
from tests.factories import gateways
from tests.factories.audit_files import arrays

COMPONENTS = '''
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from dynanoise.attacks.base import Attack
from dynanoise.core import numerics
from dynanoise.data.dataset import Data


@dataclass(frozen=True)
class Rounding:
    decimals: int = 2
    keeps_labels = False
    invertible = False
    repeatable = True

    def fit(self, view):
        return self

    def __call__(self, logits, noise=None):
        clean, dtype = numerics.as_logits(logits)
        coarse = numerics.softmax(clean).round(self.decimals)
        coarse[coarse.sum(axis=-1) == 0] = 1.0
        return numerics.narrow(coarse / coarse.sum(axis=-1, keepdims=True), dtype)

    def undo(self, log_probs):
        return numerics.centred(log_probs)


@final
@dataclass(frozen=True)
class Lead(Attack):
    """The lead of the most probable class."""

    threshold: float = 0.5
    title: ClassVar[str] = "Lead"
    needs_shadows: ClassVar[bool] = False

    def learn(self, shadows):
        return None

    def formula(self, learned, observed):
        probs = np.sort(np.exp(observed.log_probs[:, 0]), axis=-1)
        return probs[:, -1] - probs[:, -2] - self.threshold


def blobs(records=400):
    generator = np.random.default_rng(0)
    labels = np.arange(records) % 3
    inputs = generator.normal(0, 1, (records, 6)) + 3 * np.eye(3, 6)[labels]
    return Data("blobs", inputs.astype(np.float32), labels, 3)
'''

TRAINING = """
from dataclasses import dataclass
from typing import ClassVar

from dynanoise.training.models.mlp import Mlp
from dynanoise.training.recipes.plain import Plain


@dataclass(frozen=True)
class Narrow(Mlp):
    hidden: tuple[int, ...] = (16,)


@dataclass(frozen=True)
class Calm(Plain):
    pass
"""

PRESET = """
from dataclasses import replace

from dynanoise.benchmark.presets import PRESETS
from dynanoise.core.registry import DEFENSES
from dynanoise.core.defense import Method
from dynanoise.evaluation.protocols import PAPER

BASE = PRESETS["digits"]
ROUNDING = Method("round", DEFENSES.build("rounding(decimals=3)"))
OUTSIDE = replace(
    BASE,
    description="blobs, rounded",
    dataset="blobs(records=1000)",
    methods=(BASE.methods[0], ROUNDING),
    protocols=(replace(PAPER, attacks=("lead",)),),
)
"""

ENTRY_POINTS = """
[dynanoise.defenses]
rounding = outsider:Rounding
[dynanoise.attacks]
lead = outsider:Lead
[dynanoise.datasets]
blobs = outsider:blobs
[dynanoise.presets]
outside = outsider_preset:OUTSIDE
[dynanoise.models]
narrow = outsider_training:Narrow
[dynanoise.recipes]
calm = outsider_training:Calm
"""

needs_torch = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("torch") is None,
    reason="training needs torch: pip install 'dynanoise[train]'",
)


def forget() -> None:
    """Lets registries look again, and the package be imported again."""
    for kind in vars(registry).values():
        if isinstance(kind, Registry):
            vars(kind).pop("_places", None)
    for module in ("outsider", "outsider_training", "outsider_preset"):
        sys.modules.pop(module, None)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which a package outside the tree is installed."""
    folder = tmp_path / "site"
    about = folder / "outsider-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "outsider.py").write_text(COMPONENTS)
    (folder / "outsider_training.py").write_text(TRAINING)
    (folder / "outsider_preset.py").write_text(PRESET)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outsider\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("DYNANOISE_CACHE", str(tmp_path / "cache"))
    forget()
    yield folder
    forget()


def run(*arguments: str) -> Result:
    found = CliRunner().invoke(app, list(arguments))
    assert found.exit_code == 0, found.output
    return found


def rows_of(found: Result) -> set[tuple[Any, Any]]:
    return {(row["method"], row.get("attack")) for row in json.loads(found.stdout)["results"]}


@pytest.mark.behaviour
@needs_torch
@pytest.mark.usefixtures("package")
def test_bench_trains_on_its_data_and_judges_its_defense_by_its_attack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both protocols; and an attack's parameters make a column of their own."""
    monkeypatch.setattr("dynanoise.benchmark.own_data.POOL_MODELS", 8)
    words = ["bench", "blobs(records=150)", "--seeds", "1", "--model", "narrow"]
    defenses = ("rounding(decimals=1)", "calm", "calm+rounding")
    words += [word for defense in defenses for word in ("--defense", defense)]
    words += ["--attack", "lead", "--attack", "lira(variance=example)", "--protocol", "paper"]
    words += ["--protocol", "adaptive", "--out", str(tmp_path / "out")]
    found = run(*words)
    results = read_results(tmp_path / "out" / "results.json")
    judged = {(one.protocol, one.method, one.attack) for one in results if one.attack}
    methods = ("none", "rounding(decimals=1)", "calm", "calm+rounding")
    pool = ("lead", "lira(variance=example)", "strongest")
    assert judged == {
        *(("paper", method, "lead") for method in methods),
        *(("adaptive", method, attack) for method in methods for attack in pool),
    }
    by_method = {one.method: one for one in results}
    assert by_method["rounding(decimals=1)"].defense == {"name": "Rounding", "decimals": 1}
    assert by_method["rounding(decimals=1)"].recipe == "plain"
    assert by_method["calm+rounding"].defense == {"name": "Rounding", "decimals": 2}
    assert by_method["calm"].recipe == by_method["calm+rounding"].recipe == "calm"
    assert by_method["calm"].recipe_parameters["schedule"]["epochs"] == 100  # as for the mlp
    assert (results[0].dataset, results[0].model) == ("blobs", "narrow")
    assert results[0].command == (
        "dynanoise bench 'blobs(records=150)' --seeds 1 --model narrow "
        "--defense 'rounding(decimals=1)' --defense calm --defense calm+rounding "
        "--attack lead --attack 'lira(variance=example)' --protocol paper --protocol adaptive"
    )
    assert "Lead" in found.stdout
    shown = run("show", str(tmp_path / "out" / "results.json"), "--metric", "auc").stdout
    assert "LiRA (variance=example)" in " ".join(shown.split())


@pytest.mark.behaviour
@needs_torch
@pytest.mark.usefixtures("package")
def test_bench_takes_its_defense_beside_a_preset(tmp_path: Path) -> None:
    words = ["--seeds", "1", "--protocol", "paper", "--attack", "loss", "--no-store", "--json"]
    found = run("bench", "digits", *words, "--defense", "rounding", "--defense", "temperature")
    assert rows_of(found) == {
        (method, attack)
        for method in ("none", "temperature", "rounding")
        for attack in (None, "loss")
    }


@needs_torch
@pytest.mark.behaviour
@pytest.mark.usefixtures("package")
def test_bench_runs_its_preset_and_lists_it_with_its_data_set() -> None:
    listed = run("bench", "--list").stdout
    assert "\noutside: blobs, rounded\n" in listed and "\nblobs: a data set" in listed
    found = run("bench", "outside", "--seeds", "1", "--no-store", "--json")
    assert rows_of(found) == {
        (name, attack) for name in ("none", "round") for attack in (None, "lead")
    }


@pytest.mark.behaviour
@pytest.mark.usefixtures("package")
def test_audit_and_tune_take_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dynanoise.tuning.tuning.list_quantisations", lambda gap: list_quantisations(gap)[::10]
    )
    path = str(tmp_path / "outputs.npz")
    np.savez(path, **arrays(8, records=300))
    audited = run("audit", path, "--defense", "rounding(decimals=1)", "--attack", "lead", "--json")
    every = {(name, "lead") for name in ("none", "rounding")}
    assert rows_of(audited) >= every
    assert json.loads(audited.stdout)["shared"]["command"] == (
        "dynanoise audit outputs.npz --defense 'rounding(decimals=1)' --queries 1 --queries 16 "
        "--attack lead"
    )
    out = tmp_path / "tuned"
    words = ["--trials", "4", "--workers", "1", "--max-nll", "2", "--attack", "lead"]
    tuned = CliRunner().invoke(app, ["tune", path, *words, "--out", str(out)])
    assert tuned.exit_code in (0, 1), tuned.output  # 1 where no setting gains anything
    results = read_results(out / "results.json")
    always = {None, "strongest", "cell_mates(attack=lira)"}  # the last against keyed noise
    assert {one.attack for one in results} == {"lead"} | always
    assert results[0].command.endswith("--max-nll 2 --attack lead")


@pytest.mark.process
def test_serve_answers_with_its_defense(package: Path, tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
    model = gateways.onnx_file(tmp_path / "linear.onnx")
    defense = gateways.defense_file(
        tmp_path / "defense.yaml",
        defense={"name": "rounding", "decimals": 1},
        noise={"name": "fresh"},
    )
    rows = gateways.queries(5)
    path = os.pathsep.join([str(package), str(gateways.ROOT / "src")])
    options = ("--model", model, "--defense", defense, "--noise", "fresh", "--no-auth")
    with gateways.gateway(*options, PYTHONPATH=path) as running:
        url = f"{running.url}/v2/models/linear/infer"
        values = gateways.values_of(gateways.ask(url, gateways.infer_body(rows)))
    logits = rows.astype(np.float64) @ gateways.WEIGHTS
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    coarse = (probs / probs.sum(axis=1, keepdims=True)).round(1)
    np.testing.assert_allclose(values, coarse / coarse.sum(axis=1, keepdims=True), atol=1e-6)


def test_a_mistyped_name_is_answered_with_the_closest(package: Path) -> None:
    for words, says in (
        (["bench", "blob"], "There is no preset 'blob'. Did you mean 'blobs'?"),
        (["bench", "digits", "--defense", "rouding"], "no method 'rouding'. Did you mean 'round"),
        (["bench", "digits", "--attack", "leed"], "no attack 'leed'. Did you mean 'lead'?"),
        (["bench", "digits", "--defense", "rounding(digits=1)"], "no parameter 'digits'. Known: d"),
        (["bench", "digits", "--defense", "clam+rounding"], "no recipe 'clam'. Did you mean 'calm"),
        (["bench", "digits", "--defense", "calm+calm"], "There is no defense 'calm'."),
        (["bench", "digits", "--defense", "dynanoise_keyed(x=1)"], "has no parameters."),
    ):
        found = CliRunner().invoke(app, words)
        assert found.exit_code == 2 and found.stderr.count("\n") == 1
        assert says in found.stderr, found.stderr
