"""Clients that begin and do not go on: they hold nobody else up, and are not waited for."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dynanoise.oip.tensors import Tensor
from dynanoise.serving import clients, startup
from dynanoise.serving.backends.onnx import OnnxModel
from dynanoise.serving.options import Serving
from tests.factories.gateways import (
    LAST_RESORT,
    Running,
    ask,
    defense_file,
    digest,
    gateway,
    onnx_file,
    queries,
    wait_until,
)
from tests.serving.conftest import grpc_port, plain_server

grpc = pytest.importorskip("grpc", reason="gRPC: pip install 'dynanoise[serve]'")
messages = pytest.importorskip("tritonclient.grpc.service_pb2")
rpc = pytest.importorskip("dynanoise.serving.grpc")

pytestmark = pytest.mark.process

SERVICE = "/inference.GRPCInferenceService/"
CALLS = 4
"""Messages that may be under way at once with --concurrency 1."""


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    folder = tmp_path_factory.mktemp("waiting")
    model = onnx_file(folder / "linear.onnx")
    defense = defense_file(folder / "defense.yaml", digest(model))
    return ("--model", model, "--defense", defense, "--grpc-port", 0, "--concurrency", 1)


def channel(running: Running) -> Any:
    """A connection of its own."""
    apart = (("grpc.use_local_subchannel_pool", 1),)
    return grpc.insecure_channel(f"127.0.0.1:{running.ports['grpc_port']}", options=apart)


def asked(rows: int = 1) -> bytes:
    one = messages.ModelInferRequest(model_name="linear")
    one.inputs.add(name="x", datatype="FP32", shape=[rows, 8])
    one.raw_input_contents.append(queries(rows).tobytes())
    sent: bytes = one.SerializeToString()
    return sent


class Stalled:
    """Calls whose message never comes."""

    def __init__(self, to: Any, call: str, count: int) -> None:
        self._end = threading.Event()
        stub = to.stream_unary(SERVICE + call)
        self.calls = [stub.future(self._nothing()) for _ in range(count)]

    def _nothing(self) -> Iterator[bytes]:
        self._end.wait(2 * LAST_RESORT)
        yield from ()

    def codes(self) -> set[Any]:
        """Their status codes; nothing if one still waits."""
        done = wait_until(lambda: all(one.done() for one in self.calls))
        found = {one.code() for one in self.calls} if done else set()
        self._end.set()
        return found


def test_without_a_key_no_call_is_held_open(options: tuple[object, ...], tmp_path: Path) -> None:
    """Else a stranger could take all the calls there are."""
    key = clients.add_client(tmp_path / "clients.txt", "alice")
    with (
        gateway(*options, "--clients", tmp_path / "clients.txt") as running,
        channel(running) as hostile,
        channel(running) as good,
    ):
        ok, nobody = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED
        for call, code in (("ModelInfer", nobody), ("ServerLive", ok), ("ServerReady", ok)):
            assert Stalled(hostile, call, 40).codes() == {code}
        infer, live = (good.unary_unary(SERVICE + one) for one in ("ModelInfer", "ServerLive"))
        assert messages.ServerLiveResponse.FromString(live(b"", timeout=LAST_RESORT)).live
        assert infer(asked(), metadata=(("x-api-key", key),), timeout=LAST_RESORT)


def test_a_message_has_its_time_to_arrive(options: tuple[object, ...]) -> None:
    with gateway(*options, "--no-auth", "--timeout", 3) as running, channel(running) as hostile:
        stalled = Stalled(hostile, "ModelInfer", CALLS)
        assert stalled.codes() == {grpc.StatusCode.INVALID_ARGUMENT}
        with channel(running) as good:
            assert good.unary_unary(SERVICE + "ModelInfer")(asked(), timeout=LAST_RESORT)
        assert wait_until(lambda: json.loads(running.log[-1])["event"] == "answered")


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """Of HTTP/2."""
    size = len(content).to_bytes(3, "big")
    return size + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


def takes_no_answer(port: int, call: str, sent: bytes, calls: int) -> socket.socket:
    """A client that calls, and lets nothing of an answer be sent: its windows have no size."""
    said = {":method": "POST", ":scheme": "http", ":path": SERVICE + call, ":authority": "a"}
    said |= {"te": "trailers", "content-type": "application/grpc"}
    head = b"".join(
        b"\0" + b"".join(bytes([len(one)]) + one.encode() for one in pair) for pair in said.items()
    )
    made = socket.create_connection(("127.0.0.1", port), LAST_RESORT)
    made.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"\0\x04" + bytes(4)))
    message = b"\0" + len(sent).to_bytes(4, "big") + sent
    for stream in range(1, 2 * calls, 2):
        made.sendall(frame(1, 4, stream, head) + frame(0, 1, stream, message))
    return made


@pytest.mark.parametrize("call", ["ServerLive", "ModelInfer"])
def test_who_takes_no_answer_keeps_nobody_from_theirs(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And loses the connection: of gRPC's calls a status cannot overtake an answer."""
    monkeypatch.setattr(rpc, "_AGE", 1.0)
    monkeypatch.setattr(rpc, "_GRACE", 0.0)
    found: list[bytes] = []

    def attack(port: int) -> None:
        with takes_no_answer(port, call, asked() if call == "ModelInfer" else b"", 40) as hostile:
            found.append(hostile.recv(65536))
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                query = channel.unary_unary(SERVICE + call)

                def answered() -> bool:  # a gateway that is busy with the others refuses at first
                    try:
                        found.append(query(asked(), timeout=LAST_RESORT))
                    except grpc.RpcError as error:
                        if error.code() is not grpc.StatusCode.UNAVAILABLE:
                            raise
                    return len(found) == 2

                assert wait_until(answered)
            hostile.settimeout(LAST_RESORT)
            while hostile.recv(65536):
                pass
            found.append(b"closed")

    async def serve() -> None:
        gateway, _ = startup.make_gateway(
            Serving(
                defense_file(tmp_path / "defense.yaml", digest(model)),
                model,
                fresh=True,
                no_auth=True,
                max_body=1 << 20,
                timeout=4.0,
                concurrency=2,
            )
        )
        async with grpc_port(gateway) as port:
            await asyncio.to_thread(attack, port)

    model = onnx_file(tmp_path / "linear.onnx")
    asyncio.run(serve())
    assert len(found) == 3 and all(found)


@pytest.mark.parametrize("seconds", [LAST_RESORT, 0.0])
def test_probes_do_not_wait_for_those_that_send_no_message(
    seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all places taken, or after its time, a probe counts as one of the whole server."""
    health = pytest.importorskip("grpc_health.v1.health_pb2")
    monkeypatch.setattr(rpc, "_HEALTH_SECONDS", seconds)
    path = "/grpc.health.v1.Health/Check"
    unknown = health.HealthCheckRequest(service="unknown").SerializeToString()
    defense = defense_file(tmp_path / "defense.yaml")
    gateway, _ = startup.make_gateway(
        Serving(defense, upstream="http://127.0.0.1:9", model_name="m", fresh=True, no_auth=True)
    )

    receive, arrived = rpc._receive_check, 0

    async def counted(context: Any, room: asyncio.Semaphore) -> Any:
        nonlocal arrived
        arrived += 1
        return await receive(context, room)

    monkeypatch.setattr(rpc, "_receive_check", counted)

    async def check() -> None:
        try:
            async with (
                grpc_port(gateway) as port,
                asyncio.timeout(LAST_RESORT),
                grpc.aio.insecure_channel(f"127.0.0.1:{port}") as to,
            ):
                silent = [to.stream_stream(path)() for _ in range(rpc._HEALTH)]
                if seconds:
                    # A probe before would take the place of one that is then responded to at once.
                    while arrived < rpc._HEALTH:
                        await asyncio.sleep(0.01)
                    replies = [await to.unary_unary(path)(unknown)]
                else:
                    replies = [await call.read() for call in silent]
                for call in silent:
                    call.cancel()
            not_ready = health.HealthCheckResponse(status="NOT_SERVING").SerializeToString()
            assert set(replies) == {not_ready}
        finally:
            await gateway.close()

    asyncio.run(check())


def test_who_goes_away_has_paid(tmp_path: Path) -> None:
    """Else the model would work for nothing, as long as nobody waits for the end of it."""
    key = (("x-api-key", clients.add_client(tmp_path / "clients.txt", "alice")),)
    with plain_server() as plain:
        given = ("--upstream", plain.url, "--model-name", "linear", "--grpc-port", 0)
        access = ("--clients", tmp_path / "clients.txt", "--rate", 0, "--budget", 6)
        defense = defense_file(tmp_path / "defense.yaml")
        with gateway(*given, *access, "--defense", defense) as running, channel(running) as to:
            call = to.unary_unary(SERVICE + "ModelInfer")
            assert call(asked(1), metadata=key, timeout=LAST_RESORT)
            plain.behave("hold")
            left = call.future(asked(3), metadata=key)
            assert wait_until(lambda: len(seen(plain)) == 2)
            left.cancel()
            assert wait_until(lambda: bool(running.events("cancelled")))
            (event,) = running.events("cancelled")
            assert (event["route"], event["client"]) == ("ModelInfer", "alice")
            plain.behave("well")
            with pytest.raises(grpc.RpcError) as caught:
                call(asked(3), metadata=key, timeout=LAST_RESORT)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            # One of two that were left: the refused request is charged by its size.
            assert call(asked(1), metadata=key, timeout=LAST_RESORT)


def seen(plain: Any) -> Any:
    return ask(f"{plain.url}/seen").json


def test_a_model_does_not_work_for_who_went_away(tmp_path: Path) -> None:
    """Two queries under way when their clients leave, and one that waits for a thread."""
    pytest.importorskip("onnxruntime", reason="ONNX models: pip install 'dynanoise[onnx]'")
    model = OnnxModel(onnx_file(tmp_path / "linear.onnx"), "linear", output="logits")
    begun, told, ended = [], threading.Event(), threading.Event()

    def run(feed: Any, options: Any) -> Any:
        begun.append(feed)
        if wait_until(lambda: options.terminate):
            told.set()
        ended.wait(LAST_RESORT)
        raise RuntimeError

    model._run = run  # type: ignore[method-assign]
    rows = Tensor("x", "FP32", queries(1))

    async def leave() -> None:
        asking = [asyncio.create_task(model.infer([rows])) for _ in range(3)]
        assert await asyncio.to_thread(wait_until, lambda: len(begun) == 2)
        for one in asking:
            one.cancel()
        assert await asyncio.to_thread(told.wait, LAST_RESORT)
        ended.set()
        assert {type(one) for one in await asyncio.gather(*asking, return_exceptions=True)} == {
            asyncio.CancelledError
        }
        await model.close()

    asyncio.run(leave())
    assert len(begun) == 2


def test_connections_of_strangers_leave_some_for_others(options: tuple[object, ...]) -> None:
    """Else the system would refuse all, and every refusal be thousands of lines in the log."""
    with gateway(*options, "--no-auth", files=512) as running:
        address = ("127.0.0.1", running.ports["port"])
        idle = [socket.create_connection(address, LAST_RESORT) for _ in range(600)]
        try:
            assert wait_until(lambda: any(closed(one) for one in idle))
            with channel(running) as to:
                assert to.unary_unary(SERVICE + "ModelInfer")(asked(), timeout=LAST_RESORT)
            assert not running.events("library") and len(running.log) < 20
            for one in idle:
                one.close()
            assert wait_until(lambda: lives(running))
        finally:
            for one in idle:
                one.close()


def closed(one: socket.socket) -> bool:
    one.settimeout(0.001)
    try:
        return not one.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True


def lives(running: Running) -> bool:
    try:
        return ask(f"{running.url}/v2/health/live").status == 200
    except OSError:
        return False
