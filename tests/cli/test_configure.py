"""`dynanoise configure`: the defense.yaml that it writes is the model's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("onnxruntime", reason="pip install 'dynanoise[onnx]'")

from dynanoise.cli import app
from dynanoise.config.configuration import Configuration
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise.keyed import Keyed
from tests.factories import onnx_models
from tests.factories.onnx_models import linear, node, tensor


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["configure", *map(str, arguments)])


def held_out(path: Path) -> Path:
    inputs = np.random.default_rng(3).normal(size=(301, 4)).astype(np.float32)
    np.savez(path, X=inputs, y=np.arange(301) % 3)
    return path


def test_the_file_is_the_published_setting_for_this_model(tmp_path: Path) -> None:
    source, out = linear(tmp_path / "shop.onnx"), tmp_path / "defense.yaml"
    done = run(source, "--data", held_out(tmp_path / "h.npz"), "-o", out, "--budget", "700")
    assert done.exit_code == 0, done.output
    found = Configuration.read(out)
    inputs = np.load(tmp_path / "h.npz")["X"]
    top = np.sort(inputs.astype(np.float64) @ onnx_models.WEIGHTS, axis=1)
    width = 2.5 * np.median(top[:, -1] - top[:, -2])
    assert isinstance(found.noise, Keyed)
    assert found.noise.cell_width == pytest.approx(width, rel=5e-3)
    assert found.noise.weights == hashlib.sha256(source.read_bytes()).hexdigest()
    assert found.noise.model == "shop" and found.budget == 700
    assert found.defense == DynaNoise(0.3, 2, 10, keep_label=True)
    assert found.input == "logits" and found.output == "logits"
    assert "serve --model" in done.output
    secret = tmp_path / "dynanoise.key"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_text().strip() not in done.output + out.read_text()
    assert found.defend(np.zeros((2, 3))).shape == (2, 3)  # with that secret
    kept = secret.read_bytes()
    assert run(source, "-o", tmp_path / "again.yaml").exit_code == 0
    assert secret.read_bytes() == kept  # another one would be another sample of noise


def test_probabilities_are_told_by_their_values_and_no_data_are_needed(tmp_path: Path) -> None:
    nodes, outputs = [node("Softmax", ["logits"], ["p"], axis=-1)], [tensor("p", ["batch", 3])]
    source = linear(tmp_path / "m.onnx", *nodes, output=outputs)
    done = run(source, "-o", tmp_path / "d.yaml")
    assert done.exit_code == 0, done.output
    found = Configuration.read(tmp_path / "d.yaml")
    assert found.input == "probabilities" and found.budget is None and found.cell_width == 16.0
    assert "not measured" in done.output
    again = run(source, "-o", tmp_path / "d.yaml")
    assert again.exit_code == 2 and "exists" in again.output
    wrong = run(source, "-o", tmp_path / "e.yaml", "--key", "ab" * 32)
    assert wrong.exit_code == 2 and not (tmp_path / "e.yaml").exists()
    assert "ab" * 32 not in wrong.output
