"""In front of KServe's own model server, which serves a model that was trained here.

KServe pins older versions of packages than the project uses, so it has an environment of its own:
DYNANOISE_KSERVE_PYTHON names its interpreter (`python -m venv kserve && kserve/bin/pip install
kserve==0.21.0 onnxruntime`, then kserve/bin/python).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dynanoise.config.configuration import Configuration
from tests.factories.gateways import (
    ROOT,
    SECRET,
    ask,
    defense_file,
    free_ports,
    gateway,
    upstream,
)

Floats = npt.NDArray[Any]
PYTHON = os.environ.get("DYNANOISE_KSERVE_PYTHON")
pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="KServe: DYNANOISE_KSERVE_PYTHON names no interpreter that has it"
)


@dataclass(frozen=True)
class Behind:
    """KServe's server, and what its model would say."""

    url: str
    images: Floats
    labels: Floats
    logits: Floats


def trained(path: Path) -> tuple[Floats, Floats, Floats]:
    """A logistic regression on digits as ONNX; test images, their labels, and its own logits."""
    onnx = pytest.importorskip("onnx", reason="makes the model: pip install 'dynanoise[dev]'")
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    model = LogisticRegression(C=10, max_iter=500).fit(images[:1400], labels[:1400])
    weights = model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["product"]),
            helper.make_node("Add", ["product", "b"], ["logits"]),
        ],
        "digits",
        [helper.make_tensor_value_info("x", kind, ["batch", 64])],
        [helper.make_tensor_value_info("logits", kind, ["batch", 10])],
        [onnx.numpy_helper.from_array(one, name) for one, name in zip(weights, "wb", strict=True)],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    rest = images[1400:]
    return rest, labels[1400:], rest @ weights[0] + weights[1]


@pytest.fixture(scope="module")
def kserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    model = tmp_path_factory.mktemp("kserve") / "digits.onnx"
    known = trained(model)
    (port,) = free_ports(1)
    script = ROOT / "tests" / "serving" / "kserve_server.py"
    assert PYTHON is not None
    command = [PYTHON, str(script), str(model), str(port)]
    environment = {"PATH": os.environ["PATH"], "ORT_DISABLE_TELEMETRY": "1"}
    with upstream(command, port, model.with_name("log.txt"), 60, env=environment) as url:
        yield Behind(url, *known)


@pytest.mark.parametrize("binary", [False, True])
def test_a_trained_model_behind_kserve(
    kserve: Behind, tmp_path: Path, binary: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = pytest.importorskip("tritonclient.http", reason="pip install tritonclient[all]")
    images, logits = kserve.images, kserve.logits
    settings = {"name": "dynanoise", "base_variance": 0.0, "temperature": 2.0, "keep_label": True}
    defense = defense_file(tmp_path / "defense.yaml", defense=settings)
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    wanted = Configuration.read(defense).defend(logits)
    given = ("--upstream", kserve.url, "--model-name", "digits", "--defense", defense, "--no-auth")
    extra = ("--upstream-binary",) if binary else ()
    with gateway(*given, *extra, "--rate", 0, "--budget", 0) as one:
        assert ask(f"{one.url}/v2/health/ready").status == 200
        with http.InferenceServerClient(one.address) as client:
            said = client.get_model_metadata("digits")
            assert [output["name"] for output in said["outputs"]] == ["logits"]
            x = http.InferInput("x", list(images.shape), "FP32")
            x.set_data_from_numpy(images)
            answer = client.infer("digits", [x]).as_numpy("logits")
            with pytest.raises(http.InferenceServerException, match="not served"):
                client.infer("digits", [x], outputs=[http.InferRequestedOutput("copy")])
        told = ask(f"{one.url}/v1/models/digits:predict", {"instances": images[:2].tolist()})
    np.testing.assert_allclose(answer, wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(told.json["predictions"], wanted[:2], rtol=0, atol=1e-5)
    assert (answer.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert (answer.argmax(axis=1) == kserve.labels).mean() > 0.85
