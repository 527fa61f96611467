"""Clients that send too much, too slowly, or nothing at all: the others get their responses."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.factories.gateways import (
    LAST_RESORT,
    SECRET,
    ask,
    defense_file,
    digest,
    gateway,
    infer_body,
    onnx_file,
    queries,
    wait_until,
)

pytest.importorskip("grpc", reason="gRPC: pip install 'dynanoise[serve]'")
pytest.importorskip("tritonclient.grpc", reason="gRPC: pip install 'dynanoise[serve]'")
pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
from tritonclient.grpc import service_pb2 as messages

from dynanoise.oip import v2
from dynanoise.oip.tensors import Description, Size, Spec, Tensor, measure
from dynanoise.serving.http import application
from dynanoise.serving.options import Serving
from dynanoise.serving.startup import make_gateway
from tests.serving.test_clients_that_wait import SERVICE, asked, channel, closed, frame
from tests.serving.test_leaks import Broken, asgi, made

PREDICT, INFER = "/v1/models/m:predict", "/v2/models/m/infer"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)


def instances(count: int, record: str = "[1,2]") -> bytes:
    return f'{{"instances":[{",".join([record] * count)}]}}'.encode()


def test_the_size_of_a_request_is_counted_before_it_is_parsed() -> None:
    """Against what is parsed."""
    for shape in ((5,), (5, 3), (5, 3, 2), (5, 1, 1, 1)):
        description = Description((Spec("x", "FP32", (-1, *shape[1:])),), None, "")
        record = description.record
        assert record is not None
        nested = np.zeros(shape).tolist()
        for body in ({"instances": nested}, {"instances": [{"x": one} for one in nested]}):
            size = measure(json.dumps(body).encode())
            assert size.values == 5 * record.values
            assert size.lists <= 5 * record.lists + 2 and size.raw == 0
    several = Description((Spec("a", "FP64", (-1, 3)), Spec("b", "UINT8", (2, 2))), None, "")
    assert several.record == Size(7, 6, 28, 3 * 8 + 4 * 2)
    for odd in (Spec("x", "BYTES", (-1, 1)), Spec("x", "FP32", (-1, -1)), Spec("x", "BF16", (-1,))):
        assert Description((odd,), None, "").record is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (instances(2000), 413),  # 10 records at once are a client's limit
        (b"[" * 100_000, 400),
        (instances(2500, "{}"), 413),
        (instances(900, "[[[[1]]]]"), 400),
    ],
)
def test_what_cannot_fit_is_refused_before_it_is_parsed(
    body: bytes, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import orjson

    def reached(*given: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(orjson, "loads", reached)
    app = application(made(Broken(None, [[1.0, 2.0]]), tmp_path))
    assert asgi(app, PREDICT, body)[0] == status


def test_a_request_that_is_refused_for_its_content_is_charged(tmp_path: Path) -> None:
    """By its size: it costs the gateway the same as a good one."""
    app = application(made(Broken(None, [[1.0, 2.0]]), tmp_path))
    assert [asgi(app, PREDICT, b"{")[0] for _ in range(12)] == [400] * 10 + [429] * 2
    app = application(made(Broken(None, [[1.0, 2.0]]), tmp_path))
    bad = instances(1008, '["a",2]')  # 8 records more than the slack
    assert [asgi(app, PREDICT, bad)[0] for _ in range(2)] == [400, 429]


COLUMNS = tuple(f"c{number}" for number in range(12))


def test_a_table_with_a_column_of_texts_has_the_lists_that_it_needs(tmp_path: Path) -> None:
    """One input a column, some of their values shorter than the 16 bytes of a list."""
    numbers = (Spec(name, "FP32", (-1, 1)) for name in COLUMNS)
    table = Description((*numbers, Spec("sex", "BYTES", (-1, 1))), None, "test")
    row = {**{name: [63] for name in COLUMNS}, "sex": ["f"]}

    class Counted(Unsized):
        async def infer(self, inputs: Any, authorization: str | None = None) -> Tensor:
            return Tensor("y", "FP32", np.zeros((len(inputs[0].values), 2), np.float32))

    app = application(made(Counted(table), tmp_path, rate=1000, burst=1000))
    body = json.dumps({"instances": [row] * 500}, separators=(",", ":")).encode()
    lists = 14 * 500
    assert lists > 2000 + len(body) // 16
    assert asgi(app, PREDICT, body)[0] == 200
    assert asgi(app, PREDICT, body.replace(b"[63]", b"[[[63]]]"))[0] == 400


def test_rows_of_output_are_charged_before_the_model_works(tmp_path: Path) -> None:
    """A record with five tokens is five queries: two fit into ten, and the third is refused."""
    calls: list[int] = []

    class Tokens(Unsized):
        async def infer(self, inputs: Any, authorization: str | None = None) -> Tensor:
            calls.append(len(inputs[0].values))
            return Tensor("y", "FP32", np.zeros((len(inputs[0].values), 5, 3), np.float32))

    inputs, output = (Spec("x", "FP32", (-1, 2)),), Spec("y", "FP32", (-1, 5, 3))
    app = application(made(Tokens(Description(inputs, output, "test")), tmp_path))
    assert [asgi(app, PREDICT, instances(1))[0] for _ in range(3)] == [200, 200, 429]
    other = application(made(Tokens(Description(inputs, output, "test")), tmp_path))
    assert asgi(other, PREDICT, instances(3))[0] == 413 and calls == [1, 1]


@pytest.mark.parametrize(
    ("datatype", "field", "value"),
    [("INT8", "int_contents", -1), ("INT64", "int64_contents", -1), ("UINT8", "uint_contents", 255),
     ("UINT16", "uint_contents", 65535), ("UINT32", "uint_contents", 2**32 - 1),
     ("UINT64", "uint64_contents", 2**64 - 1), ("FP32", "fp32_contents", 0.1),
     ("FP64", "fp64_contents", 0.1), ("BOOL", "bool_contents", True)],
)  # fmt: skip
def test_no_value_takes_more_bytes_of_grpc_than_are_counted(
    datatype: str, field: str, value: Any
) -> None:
    contents = messages.InferTensorContents(**{field: [value] * 1000})
    size = Description((Spec("x", datatype, (1000,)),), None, "").record
    assert size is not None
    assert size.packed >= len(contents.SerializeToString()) - 8 >= size.raw - 8


TOKENS = Description((Spec("x", "INT64", (-1, -1)),), Spec("logits", "FP32", (-1, 2)), "test")
TEXTS = Description((Spec("x", "BYTES", (-1, 1)),), None, "test")
UNKNOWN = Description((), None, "test")


class Unsized(Broken):
    """A model whose records have no fixed size."""

    def __init__(self, description: Description) -> None:
        super().__init__(None, [[1.0, 2.0]])
        self.description = description

    async def describe(self) -> Description:
        return self.description


@pytest.mark.parametrize("description", [TOKENS, TEXTS, UNKNOWN])
@pytest.mark.parametrize("record", ["{}", "[1,2]", '{"":1}'])
def test_lists_are_limited_where_records_have_no_size(
    description: Description, record: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import orjson

    parsed: list[int] = []
    monkeypatch.setattr(orjson, "loads", lambda body: parsed.append(len(body)))
    app = application(made(Unsized(description), tmp_path, rate=0))
    assert asgi(app, INFER, instances(10_000, record))[0] == 400 and not parsed
    for fitting in (instances(1500, record), instances(10_000, f"[{'1,' * 10}1]")):
        asgi(app, INFER, fitting)
        assert parsed.pop() == len(fitting)


def test_records_without_a_size_are_charged_by_their_bytes_until_they_are_parsed(
    tmp_path: Path,
) -> None:
    plain = {"name": "temperature"}
    gateway = made(Unsized(TEXTS), tmp_path, defense=plain)
    app, budgets = application(gateway), gateway._budgets
    one = instances(1, json.dumps(["a" * (1 << 20)]))  # 1 MiB, 4 queries at first
    for total in (1, 2):
        assert asgi(app, PREDICT, one)[0] == 200
        assert budgets._accounts["anyone"].spent == total  # type: ignore[attr-defined]
    assert [asgi(app, PREDICT, one + b"]")[0] for _ in range(3)] == [400, 400, 429]
    assert budgets._accounts["anyone"].spent == 10  # type: ignore[attr-defined]
    # As large as any number of bodies: no more queries than a request may hold.
    app = application(made(Unsized(TEXTS), tmp_path, defense=plain))
    assert asgi(app, PREDICT, one.ljust(11 << 20))[0] == 200


def test_a_large_body_is_parsed_beside_other_responses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = made(Broken(None, [[1.0, 2.0]]), tmp_path)
    begun, go_on = threading.Event(), threading.Event()
    parsing: list[int] = []

    def parse(description: Any) -> Any:
        parsing.append(1)
        begun.set()
        assert go_on.wait(LAST_RESORT)
        parsing.append(-1)
        return v2.parse_request(json.dumps(infer_body(np.ones((1, 2)))).encode(), None)

    async def large() -> Any:
        receipt = gateway.receive("anyone")
        receipt.add(100_000)
        return await gateway.infer("anyone", receipt, measure(b"{}"), parse)

    async def test() -> None:
        tasks = [asyncio.create_task(large()) for _ in range(3)]
        assert await asyncio.to_thread(begun.wait, LAST_RESORT)
        assert await gateway.ready() and gateway.arriving.total() == 300_000
        go_on.set()
        await asyncio.gather(*tasks)
        assert gateway.arriving.total() == 0

    asyncio.run(test())
    assert parsing == [1, -1] * 3  # one after the other


def test_the_limit_of_a_body_fits_the_model(tmp_path: Path) -> None:
    model = onnx_file(tmp_path / "linear.onnx")
    defense = defense_file(tmp_path / "defense.yaml", digest(model))
    gateway, _ = make_gateway(Serving(defense, model, no_auth=True))
    rows = queries(1000).astype(np.float64) * 1.1
    body = json.dumps(infer_body(rows), indent=4).encode()
    assert len(body) < gateway.limits.body < 400_000
    gateway, _ = make_gateway(Serving(defense, model, no_auth=True, max_body=7))
    assert gateway.limits.body == 7
    for more in ({"rate": 0.0, "budget": 0}, {"burst": 10**9, "budget": 0}):
        gateway, _ = make_gateway(Serving(defense, model, no_auth=True, **more))
        assert gateway.limits.body == 16 << 20


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    folder = tmp_path_factory.mktemp("overload")
    model = onnx_file(folder / "linear.onnx")
    defense = defense_file(folder / "defense.yaml", digest(model))
    return (
        "--model",
        model,
        "--defense",
        defense,
        "--grpc-port",
        0,
        "--no-auth",
        "--rate",
        0,
        "--budget",
        0,
    )


@pytest.mark.process
def test_silent_connections_to_grpc_leave_http_its_own(options: tuple[object, ...]) -> None:
    with gateway(*options, files=1024) as running:
        address = ("127.0.0.1", running.ports["grpc_port"])
        silent = [socket.create_connection(address, LAST_RESORT) for _ in range(1100)]
        try:
            url = f"{running.url}/v2/models/linear/infer"
            assert all(ask(url, infer_body(queries(1))).status == 200 for _ in range(20))
            assert len(os.listdir(f"/proc/{running.process.pid}/fd")) < 600
            assert len(running.log) < 60 and not running.events("library")
            # Each has some seconds to begin.
            assert wait_until(lambda: sum(ended(one) for one in silent) > 200)
            for one in silent:
                one.close()
            with channel(running) as to:
                assert to.unary_unary(SERVICE + "ModelInfer")(asked(), timeout=LAST_RESORT)
        finally:
            for one in silent:
                one.close()


def ended(one: socket.socket) -> bool:
    """Whether the server has closed a connection; what it said before is read."""
    one.settimeout(0.001)
    try:
        return not one.recv(4096)
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.process
def test_one_address_leaves_connections_to_others(options: tuple[object, ...]) -> None:
    with gateway(*options, "--host", "0.0.0.0", files=512) as running:
        port = running.ports["port"]
        idle = [socket.create_connection(("127.0.0.1", port), LAST_RESORT) for _ in range(300)]
        try:
            assert wait_until(lambda: any(closed(one) for one in idle))
            other = socket.socket()
            other.bind(("127.0.0.2", 0))
            other.settimeout(LAST_RESORT)
            other.connect(("127.0.0.1", port))
            other.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert other.recv(4096).startswith(b"HTTP/1.1 200 ")
            other.close()
        finally:
            for one in idle:
                one.close()


class Half(threading.Thread):
    """A client over HTTP/2 that sends all of a message but its end, as fast as it may."""

    def __init__(self, port: int, size: int) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_connection(("127.0.0.1", port), LAST_RESORT)
        self.left, self.windows = size - 1, {0: 65535, 1: 65535}
        self.refused = False
        head = {":method": "POST", ":scheme": "http", ":path": SERVICE + "ModelInfer"}
        head |= {":authority": "a", "te": "trailers", "content-type": "application/grpc"}
        block = b"".join(
            b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in pair)
            for pair in head.items()
        )
        start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block)
        self.socket.sendall(start)
        self._send(b"\0" + size.to_bytes(4, "big"))

    def _send(self, content: bytes) -> None:
        self.socket.sendall(frame(0, 0, 1, content))
        for stream in self.windows:
            self.windows[stream] -= len(content)

    def run(self) -> None:
        try:
            while self.left:
                size = min(16384, self.left, *self.windows.values())
                if size > 0:
                    self._send(bytes(size))
                    self.left -= size
                else:
                    self._receive()
        except OSError:
            pass

    def _receive(self) -> None:
        head = self._read(9)
        content = self._read(int.from_bytes(head[:3], "big"))
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        if kind == 8:
            self.windows[stream] += int.from_bytes(content, "big")
        elif kind == 4 and not flags:
            for name, value in struct.iter_unpack(">HI", content):
                self.windows[1] += (value - 65535) if name == 4 else 0
            self.socket.sendall(frame(4, 1, 0, b""))
        elif kind == 6 and not flags:
            self.socket.sendall(frame(6, 1, 0, content))
        elif kind in (1, 3, 7):  # trailers, or an end
            self.refused = True
            raise OSError

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            part = self.socket.recv(size - len(content))
            if not part:
                raise OSError
            content += part
        return content


def resident(pid: int) -> int:
    """Bytes in memory of a process."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.process
def test_half_sent_grpc_messages_have_a_common_limit(options: tuple[object, ...]) -> None:
    """64 times 15 MiB without an end; 8 of them fit."""
    limits = ("--max-body", 16 << 20, "--timeout", 300)
    with gateway(*options, *limits) as running:
        before = resident(running.process.pid)
        halves = [Half(running.ports["grpc_port"], 15 << 20) for _ in range(64)]
        for one in halves:
            one.start()
        try:
            assert wait_until(lambda: sum(one.left == 0 for one in halves) >= 8)
            assert wait_until(lambda: sum(one.refused for one in halves) >= 50)
            assert resident(running.process.pid) - before < 400 << 20
            assert sum(one.left == 0 for one in halves) < 20
            assert ask(f"{running.url}/v2/health/live").status == 200
        finally:
            for one in halves:
                one.socket.close()


@pytest.mark.parametrize(
    ("defense", "beside"),
    [
        ({"name": "dynanoise"}, False),
        ({"name": "dynanoise", "samples": 5000}, True),
        ({"name": "temperature"}, False),
        ({"name": "calibrated_label"}, False),
        ({"name": "hamp"}, True),
        ({"name": "memguard"}, True),
    ],
)
def test_a_costly_defense_delays_no_other_response(
    defense: dict[str, Any], beside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MemGuard searches 60 ms for the output of one record."""
    gateway = made(Broken(None, [[1.0, 2.0]]), tmp_path, defense=defense)
    threads = []

    def call(self: Any, logits: Any, noise: Any) -> Any:
        threads.append(threading.current_thread())
        return np.full(logits.shape, 0.5, np.float32)

    monkeypatch.setattr(type(gateway.configuration.defense), "__call__", call)
    assert asgi(application(gateway), PREDICT, instances(1))[0] == 200
    assert [thread is not threading.main_thread() for thread in threads] == [beside]
