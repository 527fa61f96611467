"""Whatever a client sends, it gets the protocol's error, and nobody else notices."""

from __future__ import annotations

import gzip
import json
import socket
import struct
from typing import Any

import numpy as np
import pytest

from tests.factories.gateways import FEATURES, LAST_RESORT, Running, ask, infer_body, queries
from tests.serving.conftest import Served

pytestmark = pytest.mark.process

GOOD = infer_body(queries(1))
INPUT = GOOD["inputs"][0]


def changed(**more: Any) -> bytes:
    return json.dumps({"inputs": [{**INPUT, **more}]}).encode()


BAD = {
    "empty": b"",
    "no JSON": b"{",
    "truncated": json.dumps(GOOD).encode()[:-9],
    "deep": b"[" * 100_000,
    "deep data": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":'
    + b"[" * 900
    + b"]" * 900
    + b"}]}",
    "a list": b"[]",
    "a number": b"7",
    "no inputs": b"{}",
    "inputs of another kind": b'{"inputs": {"x": 1}}',
    "an input of another kind": b'{"inputs": [3]}',
    "no name": changed(name=None),
    "another name": changed(name="y"),
    "no type": changed(datatype=None),
    "an unknown type": changed(datatype="FP128"),
    "another type": changed(datatype="FP64"),
    "text": changed(data=["a"] * FEATURES),
    "a number as text": changed(data=["1.5"] * FEATURES),
    "null": changed(data=[None] * FEATURES),
    "true": changed(data=[True] * FEATURES),
    "objects": changed(data=[{}] * FEATURES),
    "no data": changed(data=None),
    "too few": changed(data=[1.0]),
    "too many": changed(data=[1.0] * (FEATURES + 1)),
    "ragged": changed(data=[[1.0] * (FEATURES - 1), [1.0]]),
    "no shape": changed(shape=None),
    "a shape of text": changed(shape="8"),
    "a negative shape": changed(shape=[-1, FEATURES]),
    "a fractional shape": changed(shape=[1.0, FEATURES]),
    "a huge shape": changed(shape=[2**62, 2**62]),
    "many axes": changed(shape=[1] * 60 + [FEATURES]),
    "another shape": changed(shape=[FEATURES, 1]),
    "beyond float32": changed(data=[1e300] * FEATURES),
    "NaN": json.dumps({"inputs": [{**INPUT, "data": [float("nan")] * FEATURES}]}).encode(),
    "no record": changed(shape=[0, FEATURES], data=[]),
    "keys twice, the last of them wrong": json.dumps(GOOD).encode()[:-1] + b', "inputs": []}',
    "half a character": json.dumps(GOOD).replace('"x"', '"\\ud800"').encode(),
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "twice": json.dumps({"inputs": [INPUT, INPUT]}).encode(),
    "an id that is none": json.dumps({**GOOD, "id": 7}).encode(),
    "outputs that are none": json.dumps({**GOOD, "outputs": "logits"}).encode(),
    "parameters that are none": json.dumps({**GOOD, "parameters": 1}).encode(),
    "shared memory": changed(parameters={"shared_memory_region": "a"}),
    "bytes that are not there": changed(data=None, parameters={"binary_data_size": 32}),
    "both": changed(parameters={"binary_data_size": 0}),
}


def still_good(running: Running) -> None:
    assert ask(f"{running.url}/v2/models/linear/infer", GOOD).status == 200


@pytest.mark.parametrize("name", BAD)
def test_bad_json(served: Served, name: str) -> None:
    told = ask(f"{served.running.url}/v2/models/linear/infer", BAD[name])
    assert told.status == 400
    assert list(told.json) == ["error"] and told.json["error"].endswith(".")


V1 = {
    "no JSON": b"{",
    "a list": b"[]",
    "no instances": b"{}",
    "none": b'{"instances": []}',
    "text": b'{"instances": ["a"]}',
    "ragged": b'{"instances": [[1,2,3,4,5,6,7,8], [1]]}',
    "other names": b'{"instances": [{"y": [1,2,3,4,5,6,7,8]}]}',
    "mixed": b'{"instances": [{"x": [1,2,3,4,5,6,7,8]}, [1,2,3,4,5,6,7,8]]}',
    "too short": b'{"instances": [[1]]}',
}


@pytest.mark.parametrize("name", V1)
def test_bad_instances(served: Served, name: str) -> None:
    told = ask(f"{served.running.url}/v1/models/linear:predict", V1[name])
    assert told.status == 400 and list(told.json) == ["error"]


def binary(values: bytes, size: Any, header: Any = None, shape: Any = None) -> Any:
    said = {"name": "x", "datatype": "FP32", "shape": shape or [1, FEATURES]}
    text = json.dumps({"inputs": [{**said, "parameters": {"binary_data_size": size}}]}).encode()
    return text + values, str(len(text) if header is None else header)


ROW = queries(1).tobytes()
BINARY = {
    "of another type": binary(ROW, len(ROW), shape=[2, FEATURES // 2]),
    "no record": binary(b"", 0, shape=[0, FEATURES]),
    "cut": binary(ROW[:-1], len(ROW)),
    "longer": binary(ROW + b"0", len(ROW)),
    "short": binary(ROW[:-4], len(ROW) - 4),
    "negative": binary(ROW, -4),
    "text": binary(ROW, "32"),
    "header too long": binary(ROW, len(ROW), header=10**9),
    "header negative": binary(ROW, len(ROW), header=-1),
    "header huge": binary(ROW, len(ROW), header="9" * 5000),
    "header text": binary(ROW, len(ROW), header="x"),
    "NaN": binary(np.full(FEATURES, np.nan, np.float32).tobytes(), len(ROW)),
    "inf": binary(np.full(FEATURES, np.inf, np.float32).tobytes(), len(ROW)),
}


@pytest.mark.parametrize("name", BINARY)
def test_bad_binary(served: Served, name: str) -> None:
    body, header = BINARY[name]
    url = f"{served.running.url}/v2/models/linear/infer"
    told = ask(url, body, Inference_Header_Content_Length=header)
    assert told.status == 400 and list(told.json) == ["error"]


def test_bad_grpc(served: Served) -> None:
    grpc = pytest.importorskip("grpc", reason="gRPC: pip install 'dynanoise[serve]'")
    messages = pytest.importorskip("tritonclient.grpc.service_pb2")
    requests = []
    for raw in (b"", ROW[:-1], ROW + b"0", b"\xff" * len(ROW)):
        one = messages.ModelInferRequest(model_name="linear", raw_input_contents=[raw])
        one.inputs.add(name="x", datatype="FP32", shape=[1, FEATURES])
        requests.append(one)
    requests.append(messages.ModelInferRequest(model_name="linear"))
    for shape, values in (([-1, FEATURES], [1.0]), ([1, FEATURES], [float("inf")] * FEATURES)):
        one = messages.ModelInferRequest(model_name="linear")
        one.inputs.add(name="x", datatype="FP32", shape=shape).contents.fp32_contents[:] = values
        requests.append(one)
    channel = grpc.insecure_channel(f"127.0.0.1:{served.running.ports['grpc_port']}")
    with channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        for one in requests:
            with pytest.raises(grpc.RpcError) as caught:
                call(one, timeout=LAST_RESORT)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(
                b"\xff" * 9, timeout=LAST_RESORT
            )
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


MANY: dict[str, tuple[dict[str, Any], str]] = {
    "inputs": ({"inputs": 65}, "a list of inputs, at most 64"),
    "outputs": ({"outputs": 65}, "outputs must be a list of at most 64"),
    "a name": ({"name": "n" * 257}, "has no name of at most 256"),
    "no name": ({"name": ""}, "has no name of at most 256"),
    "an id": ({"id": "i" * 257}, "at most 256 characters"),
}


@pytest.mark.parametrize("how", MANY)
def test_grpc_has_the_limits_of_http(served_onnx: Served, how: str) -> None:
    """700,000 inputs of nothing held everybody up for 15 s."""
    rpc = pytest.importorskip("tritonclient.grpc", reason="pip install tritonclient[all]")
    said, words = MANY[how]
    one = rpc.service_pb2.ModelInferRequest(model_name="linear", id=said.get("id", ""))
    for _ in range(said.get("inputs", 1)):
        one.inputs.add(name=said.get("name", "x"), datatype="FP32", shape=[1, FEATURES])
        one.raw_input_contents.append(ROW)
    for _ in range(said.get("outputs", 1)):
        one.outputs.add(name="logits")
    http = {
        "id": one.id,
        "inputs": [{**INPUT, "name": each.name} for each in one.inputs],
        "outputs": [{"name": each.name} for each in one.outputs],
    }
    told = ask(f"{served_onnx.running.url}/v2/models/linear/infer", http)
    assert told.status == 400 and words in told.json["error"]
    address = f"127.0.0.1:{served_onnx.running.ports['grpc_port']}"
    with rpc.grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(rpc.grpc.RpcError) as caught:
            call(one.SerializeToString(), timeout=LAST_RESORT)
    assert caught.value.code() == rpc.grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == told.json["error"]


def test_large_grpc(served_onnx: Served) -> None:
    """Too much, and little that becomes too much: zeros, compressed."""
    grpc = pytest.importorskip("grpc", reason="gRPC: pip install 'dynanoise[serve]'")
    messages = pytest.importorskip("tritonclient.grpc.service_pb2")
    rows = 17 << 20
    one = messages.ModelInferRequest(model_name="linear", raw_input_contents=[bytes(rows)])
    one.inputs.add(name="x", datatype="FP32", shape=[rows // 4 // FEATURES, FEATURES])
    sent = one.SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{served_onnx.running.ports['grpc_port']}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for how in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with pytest.raises(grpc.RpcError) as caught:
                call(sent, timeout=LAST_RESORT, compression=how)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    still_good(served_onnx.running)


def test_oversized(served: Served) -> None:
    url = f"{served.running.url}/v2/models/linear/infer"
    with socket.create_connection(("127.0.0.1", served.running.ports["port"]), LAST_RESORT) as one:
        one.sendall(
            b"POST /v2/models/linear/infer HTTP/1.1\r\nHost: a\r\n"
            b"Content-Length: 99999999999\r\n\r\n"
        )
        assert one.recv(4096).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", served.running.ports["port"]), LAST_RESORT) as one:
        one.sendall(
            b"POST /v2/models/linear/infer HTTP/1.1\r\nHost: a\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        part = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        try:
            for _ in range(32):  # twice what is allowed
                one.sendall(part)
        except OSError:
            pass
        else:
            assert one.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert ask(url, b"{}", Content_Encoding="gzip").status == 400
    assert ask(url, gzip.compress(json.dumps(GOOD).encode())).status == 400
    still_good(served.running)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /v2 HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 2_000_000 + b"\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_no_http(served_onnx: Served, sent: bytes) -> None:
    with socket.create_connection(
        ("127.0.0.1", served_onnx.running.ports["port"]), LAST_RESORT
    ) as one:
        told = b""
        try:
            one.sendall(sent)
            one.settimeout(1)
            while part := one.recv(4096):
                told += part
        except (ConnectionError, TimeoutError):
            pass
    assert told.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404")) or not told
    if told:
        assert b'{"error":' in told
    still_good(served_onnx.running)


def raw(running: Running, sent: bytes) -> bytes:
    """What comes back until the connection is closed."""
    with socket.create_connection(("127.0.0.1", running.ports["port"]), LAST_RESORT) as one:
        one.sendall(sent)
        told = b""
        while part := one.recv(65536):
            told += part
    return told


def test_a_request_with_two_lengths_ends_the_connection(served_onnx: Served) -> None:
    """A proxy that reads the other one would take its end for another client's request."""
    told = raw(
        served_onnx.running,
        b"POST /v2/models/linear/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v2 HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    assert told.startswith(b"HTTP/1.1 400 ") and told.count(b"HTTP/1.1") == 1
    assert b"dynanoise" not in told


def test_other_methods_versions_and_paths(served_onnx: Served) -> None:
    running, body = served_onnx.running, json.dumps(GOOD).encode()

    def sent(method: str, path: str, version: str = "1.1", more: str = "") -> bytes:
        head = f"{method} {path} HTTP/{version}\r\nHost: evil\r\nConnection: close\r\n{more}"
        return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body

    good = "/v2/models/linear/infer"
    assert raw(running, sent("POST", good)).startswith(b"HTTP/1.1 200 ")
    assert raw(running, sent("POST", good, "1.0")).startswith(b"HTTP/1.1 200 ")
    told = raw(running, sent("POST", good, more="Expect: 100-continue\r\n"))
    assert told.startswith(b"HTTP/1.1 100 ") and b"HTTP/1.1 200 " in told
    head = raw(running, b"HEAD /v2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and head.endswith(b"\r\n\r\n")
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"):
        told = raw(running, sent(method, good)).lower()
        assert told.startswith(b"http/1.1 405 ") and b"\r\nallow: post\r\n" in told
    for path in (
        good + "/",  # no redirect, which would go to whatever Host says
        "//v2/models/linear/infer",
        "/v2/models/../models/linear/infer",
        "/v2/models/%2e%2e%2flinear/infer",
        "/v2/models/linear%2F..%2Flinear/infer",
        "/v2/models/%E2%98%83/infer",
        "/v2/models/%FF/infer",
        "http://evil/v2/models/linear/infer",
    ):
        told = raw(running, sent("POST", path))
        assert told.startswith(b"HTTP/1.1 404 ") and b"evil" not in told and b'{"error":' in told
    lines = "".join(f"X{number}: a\r\n" for number in range(3000))
    assert raw(running, sent("POST", good, more=lines)).startswith(b"HTTP/1.1 ")
    still_good(running)


def test_clients_that_disconnect(served: Served) -> None:
    body = json.dumps(GOOD).encode()
    head = (
        f"POST /v2/models/linear/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for sent in (head.encode()[:20], head.encode(), head.encode() + body[:9], head.encode() + body):
        for _ in range(8):
            one = socket.create_connection(("127.0.0.1", served.running.ports["port"]), LAST_RESORT)
            one.sendall(sent)
            # Closed with a reset, not with good-bye.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()
    still_good(served.running)
    assert served.running.events("failed") == []
