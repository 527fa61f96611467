"""`dynanoise configure`: the defense.yaml that it writes is the model's, and is served."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("onnxruntime", reason="pip install 'dynanoise[onnx]'")

from dynanoise.cli import app
from dynanoise.config.configuration import Configuration
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.noise.keyed import Keyed
from dynanoise.partition.cells import Cells
from tests.factories import onnx_models
from tests.factories.onnx_models import (
    KINDS,
    WEIGHTS,
    constant,
    linear,
    node,
    save,
    tensor,
    tree_model,
)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["configure", *map(str, arguments)])


def held_out(path: Path, change: Callable[[Any], Any] = lambda inputs: inputs) -> Path:
    inputs = np.random.default_rng(3).normal(size=(301, 4)).astype(np.float32)
    np.savez(path, X=change(inputs), y=np.arange(301) % 3)
    return path


def with_gaps(inputs: Any) -> Any:
    """Every record of the second half with a missing value."""
    inputs[150:, 1] = np.nan
    return inputs


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
    again = run(source, "-o", tmp_path / "again.yaml")
    assert again.exit_code == 0 and "not limited (not measured" in again.output
    assert Configuration.read(tmp_path / "again.yaml").near is None
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
    assert "ab" * 32 not in wrong.output and "--key is not a reference" in wrong.output
    wrong = run(source, "-o", tmp_path / "e.yaml", "--budget", "-1")
    assert "--budget is -1. Pass a number" in " ".join(wrong.output.split())
    assert wrong.exit_code == 2 and "line" not in wrong.output


@pytest.mark.parametrize("copies", [1, 200])
def test_the_limit_on_close_queries_spares_held_out_records(tmp_path: Path, copies: int) -> None:
    """Of records that one client sends in a day it refuses at most 1%, and half of it more."""
    pytest.importorskip("safetensors", reason="cells in files: pip install 'dynanoise[serve]'")

    def repeat(inputs: Any) -> Any:
        inputs[:copies] = 9.0
        return inputs

    source, data = linear(tmp_path / "m.onnx"), held_out(tmp_path / "h.npz", repeat)
    done = run(source, "--data", data, "-o", tmp_path / "shop.yaml")
    assert done.exit_code == 0, done.output
    near = Configuration.read(tmp_path / "shop.yaml").near
    assert near is not None and (near.budget > 128) == (copies == 200)
    assert near.cells == tmp_path / "shop_cells.json"
    records = np.load(data)["X"]
    counts = Counter(Cells.read(near.cells).digests(records))
    refused, more = (
        sum(max(0, count - limit) for count in counts.values())
        for limit in (near.budget, near.budget // 2)
    )
    assert refused <= 0.01 * 301 < more
    assert f"{refused} of 301 records of h.npz" in " ".join(done.output.split())


def images(path: Path) -> Path:
    """x [batch, 1, 2, 2], and logits of it."""
    nodes = [node("Flatten", ["x"], ["flat"]), node("MatMul", ["flat", "w"], ["logits"])]
    inputs, outputs = [tensor("x", ["batch", 1, 2, 2])], [tensor("logits", ["batch", 3])]
    return save(path, nodes, inputs, outputs, [constant("w", WEIGHTS)])


def whole_numbers(path: Path) -> Path:
    nodes = [node("Cast", ["x"], ["wide"], to=KINDS.FLOAT), node("MatMul", ["wide", "w"], ["z"])]
    inputs, outputs = [tensor("x", ["batch", 4], KINDS.INT64)], [tensor("z", ["batch", 3])]
    return save(path, nodes, inputs, outputs, [constant("w", WEIGHTS)])


@pytest.mark.parametrize(
    ("model", "change", "query"),
    [
        (linear, lambda inputs: inputs, [0.5, 1.0, -1.0, 0.0]),
        (images, lambda inputs: inputs.reshape(-1, 1, 2, 2), [[[0.5, 1.0], [-1.0, 0.0]]]),
        (whole_numbers, lambda inputs: (9 * inputs).astype(int), [1, 2, 3, 4]),
        (tree_model, with_gaps, [0.5, None, None, 0.0]),
    ],
)
def test_what_it_writes_is_served(
    tmp_path: Path, model: Callable[[Path], Path], change: Callable[[Any], Any], query: Any
) -> None:
    """The limit holds for queries of the model's own type and shape, missing values among them."""
    for package in ("starlette", "orjson", "prometheus_client", "uvicorn", "safetensors"):
        pytest.importorskip(package, reason="the gateway: pip install 'dynanoise[serve]'")
    from dynanoise.serving.options import Serving
    from dynanoise.serving.startup import application
    from tests.serving.test_leaks import asgi

    source, defense = model(tmp_path / "m.onnx"), tmp_path / "defense.yaml"
    done = run(source, "--data", held_out(tmp_path / "h.npz", change), "-o", defense)
    assert done.exit_code == 0, done.output
    near = Configuration.read(defense).near
    assert near is not None
    app = application(Serving(defense, model=source, no_auth=True))
    body = json.dumps({"instances": [query] * near.budget}).encode()
    assert [asgi(app, "/v1/models/m:predict", body)[0] for _ in range(2)] == [200, 429]


def test_models_that_take_no_missing_values_name_the_place(tmp_path: Path) -> None:
    data = held_out(tmp_path / "h.npz", with_gaps)
    done = run(linear(tmp_path / "m.onnx"), "--data", data, "-o", tmp_path / "d.yaml")
    assert done.exit_code == 2 and not (tmp_path / "d.yaml").exists()
    assert "row 150, column 1 of h.npz" in " ".join(done.output.split())


def test_records_that_do_not_vary_leave_the_limit_out(tmp_path: Path) -> None:
    data, out = held_out(tmp_path / "h.npz", lambda inputs: 0 * inputs + 1), tmp_path / "d.yaml"
    done = run(linear(tmp_path / "m.onnx"), "--data", data, "-o", out)
    assert done.exit_code == 0, done.output
    assert Configuration.read(out).near is None
    assert "# neighbourhood: not limited (No column of numbers varies" in out.read_text()
