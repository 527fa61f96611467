"""Presets made for the user's own data and models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from dynanoise.benchmark.benchmark import Plan, bench
from dynanoise.benchmark.layouts import make_layout
from dynanoise.benchmark.options import BenchOptions
from dynanoise.benchmark.own_data import own_preset, recipes_of
from dynanoise.benchmark.plan import plan_of
from dynanoise.benchmark.preset import Kind, Size
from dynanoise.benchmark.presets import PRESETS
from dynanoise.core.errors import DataFileError, InputError, UnknownNameError
from dynanoise.data.dataset import Data
from dynanoise.evaluation.engine import open_measurement_cache
from dynanoise.training.jobs import ModelOutputs
from dynanoise.training.models.cnn import Cnn
from dynanoise.training.models.scattering import Scattering
from dynanoise.training.recipes.advreg import AdvReg
from dynanoise.training.schedule import Schedule


@pytest.fixture
def table(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 2
    inputs = generator.normal(0, 1, (200, 4)) * [1, 10, 100, 1000] + labels[:, None]
    path = tmp_path / "patients.npz"
    np.savez(path, X=inputs, y=labels)
    return path


@pytest.mark.behaviour
def test_a_table_of_ones_own_is_benched(table: Path) -> None:
    preset, data = own_preset(str(table))
    assert preset.model == "mlp" and preset.brief
    np.testing.assert_allclose(data.inputs.std(axis=0), 1, atol=1e-6)
    plan = Plan(str(table), 1, methods=("temperature",), attacks=("loss",), custom=preset)
    found = list(bench(plan, data=data))
    assert len(found) == 4
    record = found[0]
    assert (record.dataset, record.preset, record.model) == ("patients", "patients", "mlp")
    assert str(table.parent) not in record.preset + record.dataset
    counts = {"members": 67, "non_members": 17, "reference": 30, "test": 50}
    assert {name: record.counts[name] for name in counts} == counts
    assert (
        record.command == f"dynanoise bench {table} --seeds 1 --defense temperature --attack loss"
    )


@pytest.mark.behaviour
def test_an_attack_reads_the_inputs_of_a_preset() -> None:
    """Outputs are made up: a record's ease is an input, and members are 3 logits surer."""
    quantiles, anyone = "quantile_regression(least=100)", "threshold(statistic=scaled_logit)"
    size = Size(200, 150, {"plain": {"schedule": Schedule(1)}}, {"plain": 8})
    preset = replace(PRESETS["digits"], sizes={"tiny": size}, methods=PRESETS["digits"].methods[:1])
    preset = preset.choose(attacks=(quantiles, anyone), protocols=("adaptive",))
    generator = np.random.default_rng(0)
    ease = generator.uniform(0, 15, 1_000)
    data = Data("made up", ease[:, None].astype(np.float32), np.zeros(1_000, np.int64), 2)
    layout = make_layout(Plan("made up", 1, custom=preset), data, None)
    outputs = []
    for job in layout.jobs:
        lead = ease[job.queries] + 3 * np.isin(np.asarray(job.queries), job.members)
        logits = np.stack([lead + generator.normal(0, 1, len(lead)), 0 * lead], axis=1)
        outputs.append(
            ModelOutputs(logits[:, None].astype(np.float32), np.zeros((8, 2), np.float32))
        )
    with open_measurement_cache(1) as measurements:
        results = layout.pools.results(iter(outputs), measurements, lambda step: None)
        auc = {result.attack: result.metrics["auc"] for result in results if result.attack}
    # Phi((3 - 0) / sqrt(2)) = 0.983 if the ease were known; a uniform ease of 15 hides most of it.
    assert auc[anyone].value < 0.75 < 0.85 < auc[quantiles].value


def test_images_get_the_network_for_images(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (90, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "scans.npz", X=images, y=np.arange(90) % 3)
    preset, data = own_preset(str(tmp_path / "scans.npz"))
    assert preset.model == "cnn" and preset.architecture(Kind("dpsgd")) == Scattering()
    assert own_preset(str(tmp_path / "scans.npz"), "alexnet")[0].variants == preset.variants
    np.testing.assert_array_equal(data.inputs, images)  # not standardised
    grouped, _ = own_preset(str(tmp_path / "scans.npz"), "cnn(norm=group)")
    assert grouped.architecture(Kind("dpsgd")) == Cnn(norm="group")
    np.savez(tmp_path / "wide.npz", X=images[:, :, :6], y=np.arange(90) % 3)
    wide, _ = own_preset(str(tmp_path / "wide.npz"))
    assert wide.architecture(Kind("dpsgd")) == Cnn(norm="group")


def test_a_preset_with_another_model_keeps_its_sizes() -> None:
    preset, _ = own_preset("digits", "mlp")
    theirs = PRESETS["digits"].size(None)
    assert preset.size(None).pool == theirs.pool and preset.model_parameters == {}
    assert preset.size(None).recipes["plain"]["schedule"].epochs == 100


@pytest.mark.parametrize("model", ["mlp", "cnn", "text", "alexnet", "scattering", "hf:any/thing"])
def test_the_inference_model_of_advreg_joins_every_training(model: str) -> None:
    """After four plain epochs as in its authors' code, or a third of a shorter training."""
    parameters = recipes_of(model)["advreg"]
    assert AdvReg(**parameters).plain_epochs == (1 if model.startswith("hf:") else 4)


def test_gentle_schedules_for_transformers() -> None:
    schedule = recipes_of("hf:somebody/something")["relaxloss"]["schedule"]
    assert schedule.learning_rate == 5e-5 and schedule.epochs == 3


def test_wrong_names_and_too_few_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'digits'"):
        own_preset("digitz")
    with pytest.raises(DataFileError, match="nothing at"):
        own_preset(str(tmp_path / "nowhere.csv"))
    with pytest.raises(UnknownNameError, match="Did you mean 'mlp'"):
        own_preset("digits", "mlpp")
    np.savez(tmp_path / "few.npz", X=np.ones((10, 2)), y=np.arange(10) % 2)
    with pytest.raises(InputError, match=r"has 10 records\. A benchmark needs at least 60"):
        own_preset(str(tmp_path / "few.npz"))


def test_the_column_of_labels_is_chosen_by_name(tmp_path: Path) -> None:
    """And stands in the command that makes the same numbers."""
    rows = [f"{'ab'[row % 2]},{row % 5},{row % 3}" for row in range(90)]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["kind,f0,count", *rows]))
    plan, data = plan_of(BenchOptions(str(path), label="kind"))
    assert data is not None and data.class_names == ("a", "b") and data.inputs.shape == (90, 2)
    assert plan.command == f"dynanoise bench {path} --seeds 3 --label kind"
    with pytest.raises(InputError, match=r"column of labels is 'kind', and digits is not a table"):
        plan_of(BenchOptions("digits", label="kind"))
