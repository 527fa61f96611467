"""Time limits of connections, in the time of an event loop that does not wait."""

from __future__ import annotations

import asyncio
import selectors
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("prometheus_client", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("orjson", reason="the gateway: pip install 'dynanoise[serve]'")
from dynanoise.serving import listeners
from tests.factories.gateways import LAST_RESORT

pytestmark = pytest.mark.process

LARGE = 8 << 20
"""More than the system takes for a client that does not read."""

PARTS = 64


class Waiting(selectors.DefaultSelector):
    """A selector that moves the clock on where the loop would wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._end = time.monotonic() + LAST_RESORT  # of real time, if it is never idle

    def select(self, timeout: float | None = None) -> Any:
        # Bytes on their way through the system arrive in real time.
        events = super().select(0.005)
        assert time.monotonic() < self._end, "The loop has not ended."
        if not events and timeout is not None:
            self.now += max(0.0, timeout)
        return events


class Loop(asyncio.SelectorEventLoop):
    """An event loop in virtual time: it is idle or it is later."""

    def __init__(self) -> None:
        self._waiting = Waiting()
        super().__init__(self._waiting)

    def time(self) -> float:
        return self._waiting.now


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(test())


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once, whatever else would come of a request's body."""
    large = scope["path"] == "/large"
    body = bytes(LARGE) if large else b"ok"
    headers = [(b"content-length", str(len(body)).encode())]
    if scope["path"] == "/end":
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[int, Callable[[], int]]]:
    """A port, and the number of connections open there."""
    server = listeners.HttpServer(app, 1.0)
    listener = listeners.bind("127.0.0.1", 0)
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.1)
    yield listener.getsockname()[1], lambda: len(server.server_state.connections)
    server.should_exit = True
    await task


async def connect(port: int, sent: bytes, buffer: int = 4096) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, sent)
    return client


async def seconds_until_closed(client: socket.socket, more: bytes) -> float:
    """While it sends something ten times a second."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    with client:
        while True:
            try:
                async with asyncio.timeout(0.1):
                    if not await loop.sock_recv(client, 65536):
                        break
                await loop.sock_sendall(client, more)
            except TimeoutError:
                try:
                    await loop.sock_sendall(client, more)
                except OSError:
                    break
            except OSError:
                break
            assert loop.time() - started < 1000
    return loop.time() - started


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /v2 HTTP/1.1\r\nHost: a\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
    ],
)
def test_neither_head_nor_rest_may_take_for_ever(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of a request is not needed, once it is answered."""
    monkeypatch.setattr(listeners, "HEAD_SECONDS", 2.0)

    async def test() -> None:
        async with serving() as (port, _):
            seconds = await seconds_until_closed(await connect(port, sent), b"a")
            assert 1.5 < seconds < 3.5

    run(test)


def test_a_request_that_ends_in_time_is_followed_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "HEAD_SECONDS", 1.0)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with serving() as (port, _):
            body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"
            with await connect(port, body) as client:
                for rest in (b"c", b"d", b"", b"GET / HTTP/1.1\r\n", b"Host: a\r\n\r\n"):
                    await asyncio.sleep(0.3)
                    await loop.sock_sendall(client, rest)
                received = b""
                while received.count(b"ok") < 2:
                    part = await loop.sock_recv(client, 4096)
                    assert part, received
                    received += part
        assert loop.time() > 1.5

    run(test)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /large HTTP/1.1\r\nHost: a\r\n\r\nGET /end HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /large HTTP/1.1\r\nHost: a\r\n\r\nGET /v2 HTTP/1.1\r\nHost: a\r\nX: ",
        b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n no HTTP\r\n\r\n",
    ],
)
def test_a_response_that_is_not_taken_is_dropped(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "HEAD_SECONDS", 2.0)
    monkeypatch.setattr(listeners, "WRITE_SECONDS", 2.0)
    monkeypatch.setattr(listeners, "_KEEP_ALIVE_SECONDS", 2)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with serving() as (port, count):
            with await connect(port, sent):
                while count() != 1:
                    await asyncio.sleep(0.1)
                started = loop.time()
                while count():
                    await asyncio.sleep(0.1)
                    assert loop.time() - started < 10 * listeners.WRITE_SECONDS

    run(test)


def test_a_response_that_is_taken_slowly_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than an idle connection stays open, and than one that is not read at all."""
    monkeypatch.setattr(listeners, "WRITE_SECONDS", 2.0)
    monkeypatch.setattr(listeners, "_KEEP_ALIVE_SECONDS", 2)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with serving() as (port, _):
            with await connect(port, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", 1 << 16) as client:
                for step in range(1, PARTS + 1):
                    left = LARGE // PARTS
                    while left:
                        part = await loop.sock_recv(client, left)
                        assert part, step
                        left -= len(part)
                    await asyncio.sleep(8 / PARTS)
            assert loop.time() > 8

    run(test)
