"""Clients that nobody here wrote, against the gateway in both of its modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.factories.gateways import (
    CLASSES,
    FEATURES,
    LAST_RESORT,
    ask,
    expected,
    infer_body,
    queries,
    values_of,
)
from tests.serving.conftest import Plain, Served

http = pytest.importorskip("tritonclient.http", reason="the client: pip install tritonclient[all]")
rpc = pytest.importorskip("tritonclient.grpc", reason="the client: pip install tritonclient[all]")

pytestmark = pytest.mark.process


def http_answer(served: Served, rows: Any, binary_in: bool, binary_out: bool) -> Any:
    given = http.InferInput("x", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows, binary_data=binary_in)
    wanted = [http.InferRequestedOutput("logits", binary_data=binary_out)]
    with http.InferenceServerClient(served.running.address) as client:
        found = client.infer("linear", [given], outputs=wanted, request_id="q7")
    assert found.get_response()["id"] == "q7"
    return found.as_numpy("logits")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_http(served: Served, binary_in: bool, binary_out: bool) -> None:
    rows = queries(5)
    answer = http_answer(served, rows, binary_in, binary_out)
    assert answer.dtype == np.float32 and answer.shape == (5, CLASSES)
    np.testing.assert_allclose(answer, expected(served.defense, rows), rtol=0, atol=1e-6)


def test_grpc(served: Served) -> None:
    rows = queries(5)
    given = rpc.InferInput("x", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows)
    with rpc.InferenceServerClient(f"127.0.0.1:{served.running.ports['grpc_port']}") as client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("linear")
        said = client.get_model_metadata("linear", as_json=True)
        found = client.infer("linear", [given], outputs=[rpc.InferRequestedOutput("logits")])
        unnamed = client.infer("linear", [given])
    assert [one["name"] for one in said["outputs"]] == ["logits"]
    np.testing.assert_array_equal(found.as_numpy("logits"), http_answer(served, rows, True, True))
    np.testing.assert_array_equal(found.as_numpy("logits"), unnamed.as_numpy("logits"))
    assert [one.name for one in unnamed.get_response().outputs] == ["logits"]


def test_every_way_gives_the_same_bits(served: Served) -> None:
    rows = queries(3)
    ways = [http_answer(served, rows, a, b) for a in (True, False) for b in (True, False)]
    for way in ways[1:]:
        np.testing.assert_array_equal(way, ways[0])
    v1 = ask(f"{served.running.url}/v1/models/linear:predict", {"instances": rows.tolist()})
    np.testing.assert_array_equal(np.array(v1.json["predictions"], np.float32), ways[0])
    named = [{"x": row.tolist()} for row in rows]
    v1 = ask(f"{served.running.url}/v1/models/linear:predict", {"instances": named})
    np.testing.assert_array_equal(np.array(v1.json["predictions"], np.float32), ways[0])


def test_the_kernel_answers_where_it_is_installed(served_onnx: Served) -> None:
    pytest.importorskip("numba", reason="the kernel: pip install 'dynanoise[fast]'")
    (started,) = served_onnx.running.events("starting")
    assert started["compiled"] is True


def test_metadata_and_health(served: Served) -> None:
    with http.InferenceServerClient(served.running.address) as client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("linear") and not client.is_model_ready("other")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        said = client.get_model_metadata("linear")
    assert said["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, FEATURES]}]
    assert said["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, CLASSES]}]


def test_health_by_the_health_protocol(served: Served) -> None:
    health = pytest.importorskip("grpc_health.v1.health_pb2")
    grpc = pytest.importorskip("grpc")
    stub = pytest.importorskip("grpc_health.v1.health_pb2_grpc").HealthStub
    with grpc.insecure_channel(f"127.0.0.1:{served.running.ports['grpc_port']}") as channel:
        for service in ("", "inference.GRPCInferenceService"):
            told = stub(channel).Check(
                health.HealthCheckRequest(service=service), timeout=LAST_RESORT
            )
            assert told.status == health.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            stub(channel).Check(
                health.HealthCheckRequest(service="inference.Other"), timeout=LAST_RESORT
            )
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError) as caught:
            next(stub(channel).Watch(health.HealthCheckRequest(), timeout=LAST_RESORT))
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_trace_is_passed_on_and_logged(served_upstream: Served, plain: Plain) -> None:
    plain.behave("well")
    url, trace = f"{served_upstream.running.url}/v2/models/linear/infer", "4b" * 16
    for header, passed in (
        (f"00-{trace}-{'5c' * 8}-01", True),
        (f"00-{trace}-{'5c' * 8}-01, secret", False),
        (f"00-{'0' * 32}-{'5c' * 8}-01", False),
    ):
        assert ask(url, infer_body(queries(1)), traceparent=header).status == 200
        seen = ask(f"{plain.url}/seen").json[-1]["traceparent"]
        assert seen == (header if passed else None)
    traced = [event for event in served_upstream.running.events("answered") if "trace_id" in event]
    assert [event["trace_id"] for event in traced] == [trace]


def test_only_the_defended_output_leaves(served: Served) -> None:
    rows = queries(2)
    url = f"{served.running.url}/v2/models/linear/infer"
    told = ask(url, infer_body(rows))
    assert [one["name"] for one in told.json["outputs"]] == ["logits"]
    for outputs in ([{"name": "hidden"}], [{"name": "logits"}, {"name": "hidden"}]):
        told = ask(url, infer_body(rows, outputs=outputs))
        assert told.status == 400 and told.json == {"error": "Output 'hidden' is not served."}
    said = [{"name": "logits", "parameters": {"classification": 2}}]
    assert ask(url, infer_body(rows, outputs=said)).status == 400
    with rpc.InferenceServerClient(f"127.0.0.1:{served.running.ports['grpc_port']}") as client:
        given = rpc.InferInput("x", list(rows.shape), "FP32")
        given.set_data_from_numpy(rows)
        with pytest.raises(rpc.InferenceServerException, match="not served"):
            client.infer("linear", [given], outputs=[rpc.InferRequestedOutput("hidden")])


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/models/linear/load",
        "/v2/repository/models/linear/unload",
        "/v2/repository/index",
        "/v2/models/linear/trace/setting",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/v2/models/linear/versions/9/infer",
        "/v2/models/other/infer",
    ],
)
def test_what_is_not_there(served: Served, path: str) -> None:
    for body in (None, b"{}"):
        told = ask(served.running.url + path, body)
        get_infer = body is None and path.endswith("/infer")
        assert told.status == (405 if get_infer else 404) and list(told.json) == ["error"]


def test_grpc_has_no_other_calls(served: Served) -> None:
    with rpc.InferenceServerClient(f"127.0.0.1:{served.running.ports['grpc_port']}") as client:
        for call in (
            lambda: client.load_model("linear"),
            lambda: client.unload_model("linear"),
            client.get_trace_settings,
            client.get_system_shared_memory_status,
            client.get_inference_statistics,
        ):
            with pytest.raises(rpc.InferenceServerException) as caught:
                call()
            assert "UNIMPLEMENTED" in str(caught.value.status())


def test_a_single_answer_is_that_of_a_batch(served: Served) -> None:
    rows = queries(6)
    url = f"{served.running.url}/v2/models/linear/infer"
    together = values_of(ask(url, infer_body(rows)))
    for row, answer in zip(rows, together, strict=True):
        np.testing.assert_array_equal(values_of(ask(url, infer_body(row[None]))), answer[None])
