"""Refused requests: what they are charged, and what of them is parsed and kept."""

from __future__ import annotations

import asyncio
import gc
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories.gateways import LAST_RESORT, SECRET

pytest.importorskip("tritonclient.grpc", reason="gRPC: pip install 'dynanoise[serve]'")
pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
import grpc
from tritonclient.grpc import service_pb2 as messages

from dynanoise.oip.faults import Refused
from dynanoise.oip.tensors import Size, Tensor
from dynanoise.serving import grpc as serving
from dynanoise.serving.budgets import Budget, LocalBudgets
from dynanoise.serving.clients import Clients, add_client
from dynanoise.serving.gateway import Gateway, Limits
from dynanoise.serving.turns import Turns
from tests.serving.conftest import grpc_port
from tests.serving.test_leaks import Broken, made


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)


def message(rows: int = 1, model: str = "m") -> Any:
    request = messages.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 2])
    request.raw_input_contents.append(np.ones((rows, 2), np.float32).tobytes())
    return request


def status_of(gateway: Gateway, body: bytes) -> int:
    try:
        asyncio.run(serving._Calls(gateway).infer(body, "alice", {}))
    except Refused as refused:
        return refused.status
    return 200


def spent(gateway: Gateway) -> int:
    queries: int = gateway._budgets._accounts["alice"].spent  # type: ignore[attr-defined]
    return queries


def test_a_request_that_is_refused_after_parsing_stays_charged(tmp_path: Path) -> None:
    gateway = made(Broken(None, [[1.0, 2.0]] * 7), tmp_path)
    assert status_of(gateway, message(7).SerializeToString()) == 200 and spent(gateway) == 7
    # Of the 3 queries that are left one is charged before parsing, and 4 would be after that.
    for total in (8, 9, 10):
        assert status_of(gateway, message(4).SerializeToString()) == 429
        assert spent(gateway) == total

    def other_model(_: Any) -> Any:
        raise Refused(404, "unknown", "There is no such model.")

    gateway = made(Broken(None), tmp_path)
    for total in (1, 2):
        with pytest.raises(Refused):
            asyncio.run(gateway.infer("alice", gateway.receive("alice"), Size(), other_model))
        assert spent(gateway) == total


def test_who_waits_as_long_as_a_refusal_says_gets_a_response() -> None:
    """Though the first try stays charged by its size."""
    now = 0.0
    budgets = LocalBudgets(Budget(rate=1, burst=10, total=0), lambda: now)

    async def query() -> None:
        charge = await budgets.charge("alice", 4)
        await charge.correct(8)

    asyncio.run(budgets.spend("alice", 5))
    with pytest.raises(Refused) as caught:
        asyncio.run(query())
    assert caught.value.status == 429 and caught.value.retry_after == 7
    now = 7.0
    asyncio.run(query())


def test_a_model_that_has_answered_with_more_rows_than_are_left_was_queried(tmp_path: Path) -> None:
    class Segments(Broken):
        async def infer(self, inputs: Any, authorization: str | None) -> Tensor:
            return Tensor("logits", "FP32", np.ones((1, 8, 2), np.float32))

    gateway = made(Segments(None), tmp_path)
    body = message().SerializeToString()
    assert [status_of(gateway, body) for _ in range(4)] == [200, 429, 429, 429]
    assert spent(gateway) == 10


MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
GOOD = message().SerializeToString()
UNPARSED = {
    "another model": (message(model="other").SerializeToString(), 404),
    "another model in the end": (GOOD + message(model="other").SerializeToString(), 404),
    "a version": (GOOD + b"\x12\x019", 404),
    "inputs": (GOOD + b"\x2a\0" * 64, 400),
    "outputs": (GOOD + b"\x32\0" * 65, 400),
    "raw contents": (GOOD + b"\x3a\0" * 64, 400),
    "parameters": (GOOD + b"\x22\0" * 64, 400),
    "no UTF-8": (GOOD + b"\x0a\x01\xff", 400),
    "a group": (GOOD + b"\x7b\x7c", 400),
    "cut short": (GOOD + b"\x12\x0a", 400),
    "an endless number": (GOOD + b"\xff" * 11, 400),
}


@pytest.mark.parametrize("name", UNPARSED)
def test_many_tensors_and_other_models_are_refused_before_they_are_parsed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*arguments: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(serving, "_parse", reached)
    body, status = UNPARSED[name]
    assert status_of(made(Broken(None), tmp_path), body) == status


@given(
    st.builds(
        messages.ModelInferRequest,
        model_name=st.text(),
        model_version=st.text(),
        id=st.text(),
        inputs=st.lists(st.builds(messages.ModelInferRequest.InferInputTensor, name=st.text())),
        raw_input_contents=st.lists(st.binary(max_size=300)),
    ),
    st.sampled_from([b"", b"\x78\x96\x01", b"\x7d1234", b"\x7912345678"]),
)
def test_the_outer_fields_are_those_that_are_parsed(request: Any, unknown: bytes) -> None:
    body = request.SerializeToString() + unknown
    fields = [(number, bytes(content)) for number, content in serving._fields(memoryview(body))]
    for number, values in (
        (1, [request.model_name.encode()] * bool(request.model_name)),
        (2, [request.model_version.encode()] * bool(request.model_version)),
        (5, [item.SerializeToString() for item in request.inputs]),
        (7, list(request.raw_input_contents)),
    ):
        assert [content for field, content in fields if field == number] == values
    assert [field for field, _ in fields if field > 7] == [15] * bool(unknown)


class Away(Broken):
    """A model that is away, with an exception of its own for each query."""

    async def infer(self, inputs: Any, authorization: str | None) -> Tensor:
        raise Refused(503, "slow", "Later.")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (GOOD, serving._CODES[503]),
        (message(model="other").SerializeToString(), serving._CODES[404]),
        (GOOD + b"\x2a\x01\xff", serving._CODES[400]),
    ],
    ids=["failed", "unparsed", "unreadable"],
)
def test_a_refused_message_is_not_kept_until_a_garbage_collection(
    content: bytes, code: Any, tmp_path: Path
) -> None:
    gateway, freed = made(Away(None), tmp_path), []

    class Body(bytes):
        def __del__(self) -> None:
            freed.append(len(self))

    class Context:
        def invocation_metadata(self) -> Any:
            return ()

        async def read(self) -> bytes:
            return Body(content)

        async def abort(self, code: Any, *arguments: Any) -> None:
            self.code = code

    async def respond(context: Context) -> bool:
        calls = serving._Calls(gateway)
        handler = serving._handler(gateway, "ModelInfer", calls.infer, Turns(1, 1, LAST_RESORT))
        await asyncio.create_task(handler(None, context))
        return bool(freed)

    gc.disable()
    try:
        context = Context()
        assert asyncio.run(respond(context)) and context.code == code
    finally:
        gc.enable()


def keyed(tmp_path: Path, **limits: Any) -> tuple[Gateway, dict[str, str]]:
    """A gateway with two clients, and their keys."""
    tmp_path.mkdir(exist_ok=True)
    file = tmp_path / "clients.txt"
    keys = {name: add_client(file, name) for name in ("alice", "bob")}
    gateway = made(Broken(None, [[1.0, 2.0]]), tmp_path)
    gateway._clients = Clients.read(file)
    gateway.limits = Limits(**limits)
    return gateway, keys


def test_a_client_without_messages_leaves_places_for_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, keys = keyed(tmp_path, at_once=1)  # 4 messages at a time
    monkeypatch.setattr(serving, "_ROOM_SECONDS", 0.0)
    alice, bob = ((("x-api-key", keys[name]),) for name in ("alice", "bob"))

    async def check() -> None:
        async with (
            grpc_port(gateway) as port,
            asyncio.timeout(LAST_RESORT),
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            silent = channel.stream_unary(MODEL_INFER)
            ends = [asyncio.ensure_future(silent(metadata=alice).code()) for _ in range(8)]
            refused = [await end for end in itertools.islice(asyncio.as_completed(ends), 6)]
            assert set(refused) == {grpc.StatusCode.UNAVAILABLE}
            assert await channel.unary_unary(MODEL_INFER)(GOOD, metadata=bob)
            assert sum(end.done() for end in ends) == 6
        await asyncio.gather(*ends)

    asyncio.run(check())


def test_a_client_s_bodies_leave_room_for_those_of_others(tmp_path: Path) -> None:
    gateway, _ = keyed(tmp_path, at_once=32, body=100_000)  # 400,000 bytes
    first, second, third = (gateway.receive("alice") for _ in range(3))
    assert first.add(100_000) + second.add(100_000) == 200_000
    with pytest.raises(Refused) as caught:
        third.add(10)
    assert caught.value.status == 503
    bob = gateway.receive("bob")
    assert bob.add(100_000) == 100_000
    for receipt in (first, second, third, bob):
        receipt.release()
    assert not gateway.arriving
    gateway, _ = keyed(tmp_path / "one", at_once=1, body=100_000)  # room for one body, whole
    assert gateway.receive("alice").add(100_000) == 100_000
