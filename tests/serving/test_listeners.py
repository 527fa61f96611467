"""How long a connection waits for its client, in tenths of the time of a gateway."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("prometheus_client", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("orjson", reason="the gateway: pip install 'dynanoise[serve]'")
from dynanoise.serving import listeners
from tests.serving.build_served import wait_until

LARGE = 8 << 20
"""More than the system takes for a client that does not read."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once, whatever else would come of a request's body."""
    large = scope["path"] == "/large"
    body = bytes(LARGE) if large else b"ok"
    headers = [(b"content-length", str(len(body)).encode())]
    if scope["path"] == "/end":
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


Served = tuple[int, Callable[[], int]]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A port, and how many connections are open there."""
    monkeypatch.setattr(listeners, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(listeners, "TAKEN_SECONDS", 1.0)
    monkeypatch.setattr(listeners, "_IDLE", 2)
    server = listeners.HttpServer(app, 1.0)
    listener = listeners.bind("127.0.0.1", 0)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    assert wait_until(lambda: server.started)
    yield listener.getsockname()[1], lambda: len(server.server_state.connections)
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def opened(port: int, sent: bytes) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.sendall(sent)
    return made


def seconds_until_closed(client: socket.socket, more: bytes, most: float = 8.0) -> float:
    """While it sends something every now and then; ``most`` if it stays open."""
    started = time.monotonic()
    client.settimeout(0.1)
    while time.monotonic() - started < most:
        try:
            if not client.recv(65536):
                break
            client.sendall(more)
        except TimeoutError:
            try:
                client.sendall(more)
            except OSError:
                break
        except OSError:
            break
    client.close()
    return time.monotonic() - started


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /v2 HTTP/1.1\r\nHost: a\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
    ],
)
def test_neither_head_nor_rest_may_take_for_ever(served: Served, sent: bytes) -> None:
    """The rest of a request is not needed, once it is answered."""
    assert 0.5 < seconds_until_closed(opened(served[0], sent), b"a") < 7


def test_who_ends_a_request_in_time_may_go_on(served: Served) -> None:
    client = opened(served[0], b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
    client.settimeout(5)
    for rest in (b"c", b"d", b"", b"GET / HTTP/1.1\r\n", b"Host: a\r\n\r\n"):
        time.sleep(0.3)
        client.sendall(rest)
    said = b""
    while said.count(b"ok") < 2:
        part = client.recv(4096)
        assert part, said
        said += part
    client.close()


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
def test_an_answer_that_is_not_taken_is_dropped(served: Served, sent: bytes) -> None:
    port, count = served
    client = opened(port, sent)
    assert wait_until(lambda: count() == 1)
    assert wait_until(lambda: count() == 0)
    client.close()


def test_an_answer_that_is_taken_slowly_arrives(served: Served) -> None:
    """For longer than an idle connection stays open, and than one that is not read at all."""
    client = opened(served[0], b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    client.settimeout(5)
    got, started = 0, time.monotonic()
    while got < LARGE:
        part = client.recv(1 << 16)
        assert part, got
        got += len(part)
        time.sleep(max(0.0, 4 * got / LARGE - (time.monotonic() - started)))
    client.close()
    assert time.monotonic() - started > 3
