"""Models that were exported for a batch of fixed size, served for any number of records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.factories.gateways import SECRET, defense_file
from tests.factories.onnx_models import WEIGHTS, constant, node, save, tensor

pytest.importorskip("onnxruntime", reason="ONNX models: pip install 'dynanoise[onnx]'")
pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("orjson", reason="the gateway: pip install 'dynanoise[serve]'")

from dynanoise.config.configuration import Configuration
from dynanoise.serving.backends.onnx import OnnxModel
from dynanoise.serving.http import application
from tests.serving.test_leaks import asgi, made


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    size = request.param
    path = save(
        tmp_path / "m.onnx",
        [node("MatMul", ["x", "w"], ["logits"])],
        [tensor("x", [size, 4])],
        [tensor("logits", [size, 3])],
        [constant("w", WEIGHTS)],
    )
    return application(made(OnnxModel(path, "m"), tmp_path))


@pytest.mark.parametrize("app", [1, 3, 64], indirect=True)
def test_every_record_gets_its_output_and_is_a_query(app: Any, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(-3, 4, (7, 4)).astype(np.float32)
    body = json.dumps({"instances": rows.tolist()}).encode()
    status, content = asgi(app, "/v1/models/m:predict", body)
    assert status == 200
    expected = Configuration.read(defense_file(tmp_path / "defense.yaml")).defend(rows @ WEIGHTS)
    np.testing.assert_allclose(json.loads(content)["predictions"], expected, atol=1e-5)
    # Of the 10 queries that a client may send at once 3 are left, and 2 after a request for 7.
    assert asgi(app, "/v1/models/m:predict", body)[0] == 429
    few = json.dumps({"instances": rows[:2].tolist()}).encode()
    assert asgi(app, "/v1/models/m:predict", few)[0] == 200
