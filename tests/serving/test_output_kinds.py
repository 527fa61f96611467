"""Outputs of another kind than declared, and outputs that are not finite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.factories.gateways import CLASSES, FEATURES, SECRET, WEIGHTS, ask, infer_body, queries
from tests.serving.conftest import Served

pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("orjson", reason="the gateway: pip install 'dynanoise[serve]'")
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.serving.backends.onnx import OnnxModel
from dynanoise.serving.http import application
from tests.serving.test_leaks import Broken, asgi, made


def model(path: Path, *steps: tuple[str, ...]) -> Path:
    """x W, and operators (kind, inputs ..., output) behind it."""
    onnx = pytest.importorskip("onnx", reason="makes the model: pip install 'dynanoise[dev]'")
    pytest.importorskip("onnxruntime", reason="ONNX models: pip install 'dynanoise[onnx]'")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"])]
    nodes += [helper.make_node(step[0], list(step[1:-1]), [step[-1]]) for step in steps]
    graph = helper.make_graph(
        nodes,
        "kinds",
        [helper.make_tensor_value_info("x", kind, ["batch", FEATURES])],
        [helper.make_tensor_value_info(nodes[-1].output[0], kind, ["batch", CLASSES])],
        [
            onnx.numpy_helper.from_array(WEIGHTS, "w"),
            onnx.numpy_helper.from_array(np.float32(1), "one"),
            onnx.numpy_helper.from_array(np.array([1]), "axis"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


SOFTMAX = (("Softmax", "z", "p"),)
BY_HAND = (("Exp", "z", "e"), ("ReduceSum", "e", "axis", "sum"), ("Div", "e", "sum", "p"))
SIGMOID = (("Sigmoid", "z", "p"),)
SIGMOID_BY_HAND = (
    *(("Neg", "z", "n"), ("Exp", "n", "e")),
    *(("Add", "one", "e", "d"), ("Div", "one", "d", "p")),
)
RANDOM = (("RandomNormalLike", "z", "r"), ("Add", "z", "r", "p"))


@pytest.mark.parametrize(
    ("steps", "kind", "words"),
    [
        (SOFTMAX, "logits", "declared as logits and holds probabilities: it comes from Softmax"),
        (BY_HAND, "logits", "input: probabilities"),
        (SIGMOID, "probabilities", "independent sigmoids"),
        (SIGMOID_BY_HAND, "probabilities", "Several labels"),
        (SIGMOID_BY_HAND, "logits", "independent sigmoids"),
        ((), "probabilities", "input: logits"),
        (RANDOM, "logits", "RandomNormalLike"),
    ],
)
def test_a_model_of_another_kind_is_not_served(
    steps: tuple[tuple[str, ...], ...], kind: str, words: str, tmp_path: Path
) -> None:
    path = model(tmp_path / "m.onnx", *steps)
    with pytest.raises((DataFileError, InputError), match=words):
        OnnxModel(path, "m", kind=kind)


@pytest.mark.parametrize(
    ("steps", "kind"),
    [((), "logits"), (SOFTMAX, "probabilities"), (BY_HAND, "probabilities")],
)
def test_a_model_of_the_declared_kind_is_served(
    steps: tuple[tuple[str, ...], ...], kind: str, tmp_path: Path
) -> None:
    assert OnnxModel(model(tmp_path / "m.onnx", *steps), "m", kind=kind).name == "m"


BODY = json.dumps({"instances": [[1.0, 2.0]] * 8}).encode()


@pytest.mark.parametrize(
    ("first", "statuses"),
    [
        ([0.25, 0.75], [200, 500, 500]),  # 16 rows are no accident
        ([0.25, 0.85], [200, 200, 200]),
        ([-1.0, 2.0], [200, 200, 200]),
    ],
)
def test_probabilities_declared_as_logits_are_found_at_run_time(
    first: list[float], statuses: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    served = Broken(None, [first] + [[0.5, 0.5]] * 7)
    app = application(made(served, tmp_path, rate=0.0))
    assert [asgi(app, "/v1/models/m:predict", BODY)[0] for _ in range(3)] == statuses


def huge(datatype: str, value: float) -> dict[str, Any]:
    body = infer_body(queries(1))
    body["inputs"][0]["datatype"] = datatype
    body["inputs"][0]["data"] = [value] * FEATURES
    return body


@pytest.mark.process
@pytest.mark.parametrize("sign", [1, -1])
def test_inputs_near_the_largest_float_are_a_bad_request(served_onnx: Served, sign: int) -> None:
    url = f"{served_onnx.running.url}/v2/models/linear/infer"
    told = ask(url, huge("FP32", sign * 3.4e38))
    assert told.status == 400 and "not finite" in told.json["error"]
    assert "3.4" not in told.json["error"]
    assert ask(url, huge("FP32", sign * 1e15)).status == 200


def test_an_output_that_is_not_finite_for_usual_inputs_is_the_models_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    app = application(made(Broken(None, [[np.nan, 1.0]]), tmp_path))
    for value, status in ((1e18, 500), (1e20, 400)):
        body = json.dumps({"instances": [[value, 2.0]]}).encode()
        assert asgi(app, "/v1/models/m:predict", body)[0] == status
