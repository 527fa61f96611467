"""Missing values through the gateway: null in JSON, NaN in binary tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.factories.gateways import SECRET, defense_file, digest, gateway
from tests.factories.onnx_models import (
    CLASSIFIED,
    KINDS,
    ML,
    linear,
    node,
    save,
    tensor,
    tree_model,
    trees,
)

pytest.importorskip("onnxruntime", reason="ONNX models: pip install 'dynanoise[onnx]'")
pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("orjson", reason="the gateway: pip install 'dynanoise[serve]'")

from dynanoise.audits.endpoint.client import Endpoint
from dynanoise.oip import v2
from dynanoise.oip.faults import Refused
from dynanoise.oip.tensors import Tensor
from dynanoise.serving.backends.onnx import OnnxModel
from dynanoise.serving.http import application
from tests.serving.test_leaks import Broken, asgi, made

ROW = [1.0, 0.5, -0.5, 2.0]
NAN = float("nan")
INFER = "/v2/models/m/infer"


def app_of(path: Path, folder: Path, kind: str = "probabilities") -> Any:
    output = "probabilities" if kind == "probabilities" else "logits"
    gateway = made(OnnxModel(path, "m", kind=kind), folder, rate=0.0, output=output, input=kind)
    return application(gateway)


def in_json(row: list[float | None], datatype: str = "FP32") -> tuple[str, bytes]:
    tensor = {"name": "x", "datatype": datatype, "shape": [1, len(row)], "data": [row]}
    return INFER, json.dumps({"inputs": [tensor]}).encode()


def in_version_1(row: list[float | None]) -> tuple[str, bytes]:
    return "/v1/models/m:predict", json.dumps({"instances": [row]}).encode()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)


@pytest.mark.parametrize("write", [in_json, in_version_1])
@pytest.mark.parametrize("column", range(4))
def test_null_is_a_missing_value(tmp_path: Path, write: Any, column: int) -> None:
    """The tree sends it where it sends the row itself: its noise and response are the same."""
    app = app_of(tree_model(tmp_path / "m.onnx"), tmp_path)
    gap = [None if place == column else value for place, value in enumerate(ROW)]
    status, body = asgi(app, *write(gap))
    assert status == 200
    assert json.loads(body) == json.loads(asgi(app, *write(ROW))[1])


@pytest.mark.parametrize("write", [in_json, in_version_1])
def test_models_that_do_not_take_missing_values_name_the_place(tmp_path: Path, write: Any) -> None:
    app = app_of(linear(tmp_path / "m.onnx"), tmp_path, "logits")
    assert asgi(app, *write(ROW))[0] == 200
    status, body = asgi(app, *write([1.0, 2.0, None, 3.0]))
    assert status == 400
    assert (
        "'x' has no value (null or NaN) in row 0, column 2, and the model"
        in json.loads(body)["error"]
    )


@pytest.mark.parametrize("write", [in_json, in_version_1])
def test_nan_in_json_is_told_to_be_null(tmp_path: Path, write: Any) -> None:
    """Python's writer makes it of float("nan"), and no reader of JSON takes it."""
    app = app_of(tree_model(tmp_path / "m.onnx"), tmp_path)
    status, body = asgi(app, *write([1.0, NAN, 0.0, 0.0]))
    assert status == 400 and "write null for a missing value" in json.loads(body)["error"]


def test_whole_numbers_have_no_missing_value(tmp_path: Path) -> None:
    nodes = [node("Cast", ["x"], ["wide"], to=KINDS.FLOAT), trees(inputs=["wide"])]
    inputs = [tensor("x", ["batch", 4], KINDS.INT64)]
    path = save(tmp_path / "m.onnx", nodes, inputs, CLASSIFIED, opsets={"": 15, **ML})
    app = app_of(path, tmp_path)
    assert asgi(app, *in_json([1, 0, 0, 2], "INT64"))[0] == 200
    status, body = asgi(app, *in_json([1, None, 0, 2], "INT64"))
    assert status == 400 and "not all of its datatype" in body.decode()


def test_infinite_values_stay_refused(tmp_path: Path) -> None:
    app = app_of(tree_model(tmp_path / "m.onnx"), tmp_path)
    status, body = asgi(app, *in_json([1e39, 0, 0, 0]))
    assert status == 400 and "not finite" in body.decode()


@pytest.mark.parametrize(("output", "status"), [([0.5, 1.5], 200), ([NAN, 1.5], 400)])
def test_an_upstream_decides_for_itself(tmp_path: Path, output: list[float], status: int) -> None:
    """Its server may take missing values; without a finite output the request was wrong."""
    app = application(made(Broken(None, [output]), tmp_path))
    told, body = asgi(app, *in_json([1.0, None]))
    assert told == status
    if status == 400:
        assert "'x' has no value (null or NaN) in row 0, column 1" in body.decode()


@pytest.mark.parametrize("value", ["null", "NaN"])
def test_outputs_have_no_missing_values(value: str) -> None:
    if value == "null":
        output = {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.5, None]}
        body, header = json.dumps({"outputs": [output]}).encode(), None
    else:
        rows = Tensor("y", "FP32", np.array([[0.5, NAN]], np.float32))
        body, headers = v2.write([rows], {}, "outputs", True)
        header = headers[v2.HEADER]
    with pytest.raises(Refused):
        v2.parse_response(body, header)


@pytest.mark.parametrize("binary", [False, True])
def test_requests_carry_them_back_and_forth(binary: bool) -> None:
    rows = np.array([[0.5, NAN]], np.float32)
    body, headers = v2.write([Tensor("x", "FP32", rows)], {}, "inputs", binary)
    (read,) = v2.parse_request(body, headers.get(v2.HEADER)).inputs
    np.testing.assert_array_equal(read.values, rows)


@pytest.mark.process
def test_other_clients_and_the_auditor_send_missing_values(tmp_path: Path) -> None:
    http = pytest.importorskip("tritonclient.http", reason="pip install tritonclient[all]")
    rpc = pytest.importorskip("tritonclient.grpc", reason="pip install tritonclient[all]")
    path = tree_model(tmp_path / "m.onnx")
    placement = {"output": "probabilities", "input": "probabilities"}
    defense = defense_file(tmp_path / "defense.yaml", digest(path), **placement)
    rows = np.array([ROW, [NAN, *ROW[1:]], [NAN] * 4], np.float32)
    arguments = ("--model", path, "--defense", defense, "--no-auth", "--grpc-port", "0")
    with gateway(*arguments) as running:
        results = []
        addresses = (running.address, f"127.0.0.1:{running.ports['grpc_port']}")
        for library, address in zip((http, rpc), addresses, strict=True):
            given = library.InferInput("x", [3, 4], "FP32")
            given.set_data_from_numpy(rows)
            with library.InferenceServerClient(address) as client:
                results.append(client.infer("m", [given]).as_numpy("probabilities"))
        endpoint = Endpoint(f"{running.url}/v2/models/m", 10)
        metadata = endpoint.metadata()
        results.append(endpoint.query(metadata, endpoint.convert(metadata, rows)))
        endpoint.close()
    for result in results:
        np.testing.assert_array_equal(result, np.repeat(results[0][:1], 3, axis=0))
