"""Listeners of a gateway: HTTP connections with time limits, and an end that loses no request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dynanoise.core.errors import InputError
from dynanoise.serving.clients import Clients
from dynanoise.serving.gateway import Gateway
from dynanoise.serving.http import OneLength, application
from dynanoise.serving.logs import flush_logs, log

HEAD_SECONDS = 10.0
"""Time limit for the head of a request, from the connection or its first byte on; also for the
remaining bytes of a request that was responded to early."""

HEAD_BYTES = 64 << 10
"""Largest head of a request."""

WRITE_SECONDS = 20.0
"""Time limit for a client to read the next 16 KiB of a response, or the rest of it."""

_WRITE_BYTES = 16 << 10

_ACCEPT_BACKLOG = 64
"""Connections that are accepted at once, before the limit of connections is checked."""

_FINAL_SECONDS = 1.0
"""Longest time for which open connections may send requests after the listener is closed."""

_IDLE_SECONDS = 0.25
"""Seconds without an open connection after which this time ends early."""

_ACCEPT_SECONDS = 0.05
"""Seconds after which an accepted connection can be read."""

_SWITCH_SECONDS = 1e-4
"""Interpreter's switch interval: seconds after which a thread yields to a waiting one."""

_BACKLOG = 2048
"""Connections that the system holds ready."""

_KEEP_ALIVE_SECONDS = 15
"""Seconds after which a connection without requests is closed."""


_FILES = 1 << 16
"""Files that the process may open, if the system lets it."""


def raise_file_limit() -> None:
    """Raise the limit of open files to 65,536, or as far as the system allows."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def max_connections() -> int:
    """Compute the limit of connections of an HTTP listener: half of the limit of open files, >= 1.

    One address gets half of these, gRPC as many as one address. The rest is for the upstream and
    files. Without free files asyncio would retry to accept, and log an error, thousands of times a
    second.
    """
    if sys.platform == "win32":
        return 1 << 15
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 15 if soft == resource.RLIM_INFINITY else max(1, soft // 2)


class Connection(H11Protocol):
    """An HTTP connection with time limits for receiving requests and for reading responses.

    For the body of a request, until its response, the time limit is that of the gateway.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _state: Any = None
    _address = ""
    _unsent = 0

    def connection_made(self, transport: Any) -> None:
        """Start the timer of the head; abort a connection above a limit, of all or an address."""
        super().connection_made(transport)
        self._address = (transport.get_extra_info("peername") or ("",))[0]
        addresses = self._addresses
        addresses[self._address] += 1
        limit = max_connections()
        if len(self.connections) > limit or addresses[self._address] > max(1, limit // 2):
            transport.abort()
            return
        self._start_head_timer()

    @property
    def _addresses(self) -> Counter[str]:
        """Number of connections of each address, shared by those of one server."""
        addresses: Counter[str] = vars(self.server_state).setdefault("addresses", Counter())
        return addresses

    def data_received(self, data: bytes) -> None:
        """Keep the timer running while a head, or the rest of a request, is incomplete."""
        super().data_received(data)
        state = self.conn.their_state
        if state is not h11.IDLE and not self._has_rest():
            self._stop_head_timer()
        elif self._head_timer is None or state is not self._state:
            self._start_head_timer()

    def on_response_complete(self) -> None:
        """Start the timers of the request's remaining bytes and of the client's reading."""
        super().on_response_complete()
        if self._has_rest():
            self._start_head_timer()
        if self.transport.is_closing():
            self._start_write_timer()

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection."""
        super().timeout_keep_alive_handler()
        self._start_write_timer()

    def pause_writing(self) -> None:
        """Start the timer of the client's reading."""
        super().pause_writing()
        self._start_write_timer()

    def resume_writing(self) -> None:
        """Stop the timer of the client's reading, unless the connection is closing."""
        super().resume_writing()
        if self._write_timer is not None and not self.transport.is_closing():
            self._write_timer.cancel()
            self._write_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_head_timer()
        if self._write_timer is not None:
            self._write_timer.cancel()
        addresses = self._addresses
        addresses[self._address] -= 1
        if not addresses[self._address]:
            del addresses[self._address]
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that is not HTTP, in the form of the protocol's errors."""
        body = b'{"error":"The request is not valid HTTP."}'
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        try:
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # a response is under way already
            pass
        self._close()

    def _has_rest(self) -> bool:
        """Whether the request was responded to before all of it arrived."""
        complete = self.cycle is not None and self.cycle.response_complete
        return complete and self.conn.their_state is h11.SEND_BODY

    def _start_head_timer(self) -> None:
        self._stop_head_timer()
        self._state = self.conn.their_state
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
        self._start_write_timer()

    def _start_write_timer(self) -> None:
        """Limit the time until the client reads: a closing connection waits for unsent bytes."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and self._write_timer is None:
            self._unsent = unsent
            self._write_timer = self.loop.call_later(WRITE_SECONDS, self._check_written)

    def _check_written(self) -> None:
        self._write_timer = None
        if self.transport.get_write_buffer_size() > max(0, self._unsent - _WRITE_BYTES):
            self.transport.abort()
        else:
            self._start_write_timer()


@dataclass(frozen=True)
class Listeners:
    """Addresses of a gateway, and how it ends.

    Args:
        host: an address of this machine.
        port: for HTTP; 0 takes any that is free.
        grpc_port: for gRPC; None for none.
        metrics_port: for metrics; None for none.
        scrapers: clients that may read the metrics.
        drain: seconds between a signal to end, when the gateway reports that it is not ready, and
            the end of listening.
        socket: bound for HTTP already, by a process that shares it; None to bind one.
        share: whether other processes have the same port for gRPC.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    metrics_port: int | None = None
    scrapers: Clients | None = None
    drain: float = 0.0
    socket: socket.socket | None = None
    share: bool = False


class HttpServer(uvicorn.Server):
    """A uvicorn server that leaves signals alone and ends without a lost connection.

    Args:
        app: an ASGI application.
        seconds: that a response may take at the end.
    """

    def __init__(self, app: Any, seconds: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=int(seconds) + 5,
                h11_max_incomplete_event_size=HEAD_BYTES,
                backlog=_ACCEPT_BACKLOG,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: `run` does."""
        yield

    async def stop_listening(self, listener: socket.socket) -> None:
        """Close the listener, and take over connections that the system has accepted for it.

        To close it alone would reset them, when their clients may have sent a request already.
        """
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.fileno())
        # Connections that are just being made need an open server.
        await asyncio.sleep(_ACCEPT_SECONDS)
        accepted = []
        with contextlib.suppress(OSError):
            while True:
                accepted.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        for connection in accepted:
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._connection, connection)

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, {})

    def is_idle(self) -> bool:
        """Whether no connection is open."""
        return not self.server_state.connections and not self.server_state.tasks


def bind(host: str, port: int, share: bool = False) -> socket.socket:
    """Bind a socket that does not listen yet.

    Args:
        host: an address of this machine.
        port: 0 takes any that is free.
        share: whether other processes may bind the same.

    Raises:
        InputError: if the address is not available.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = addresses[0]
        # With the protocol named: asyncio sends small responses without delay only then.
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if share:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{host} port {port} cannot be bound ({error}).", "Choose another address."
        ) from None
    return listener


def run(gateway: Gateway, listeners: Listeners, started: Callable[[], None] = lambda: None) -> None:
    """Serve until the process gets SIGTERM, SIGINT or SIGHUP.

    Args:
        gateway: answers requests.
        listeners: addresses.
        started: called when it listens.

    Raises:
        InputError: if an address cannot be bound.
        SystemExit: with 1, if a listener failed.
    """
    # The model's threads and the event loop hand the interpreter to each other for every request;
    # at Python's 5 ms each would wait that long for the other.
    sys.setswitchinterval(_SWITCH_SECONDS)
    raise_file_limit()
    try:
        asyncio.run(_run(gateway, listeners, started))
    finally:
        flush_logs()


async def _run(
    gateway: Gateway, listeners: Listeners, started: Callable[[], None] = lambda: None
) -> None:
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            loop.add_signal_handler(getattr(signal, name), end.set)
    http = HttpServer(application(gateway), gateway.limits.seconds)
    sockets = [listeners.socket or bind(listeners.host, listeners.port)]
    servers, tasks = [http], [asyncio.create_task(http.serve(sockets[:1]))]
    ports = {"port": sockets[0].getsockname()[1]}
    if listeners.metrics_port is not None and listeners.scrapers is not None:
        metrics = HttpServer(OneLength(gateway.metrics.application(listeners.scrapers)), 1.0)
        sockets.append(bind(listeners.host, listeners.metrics_port))
        ports["metrics_port"] = sockets[1].getsockname()[1]
        servers.append(metrics)
        tasks.append(asyncio.create_task(metrics.serve(sockets[1:])))
    rpc = None
    if listeners.grpc_port is not None:
        rpc, ports["grpc_port"] = await _start_grpc(gateway, listeners)
    while not all(server.started for server in servers):
        if any(task.done() for task in tasks):
            break
        await asyncio.sleep(0.01)
    else:
        for listener in sockets:
            listener.listen(_BACKLOG)
        log("listening", host=listeners.host, process=os.getpid(), **ports)
        started()
    waiting = asyncio.create_task(end.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await _drain(gateway, listeners.drain, servers, sockets[0], rpc)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [result for result in ended if isinstance(result, BaseException)]
    for listener in sockets:  # of a server that did not start
        listener.close()
    await gateway.close()
    log("ended", logging.ERROR if errors else logging.INFO)
    if errors:
        raise errors[0]


async def _start_grpc(gateway: Gateway, listeners: Listeners) -> tuple[Any, int]:
    from dynanoise.serving.grpc import server

    host, port = listeners.host, listeners.grpc_port
    rpc = server(gateway, max(1, max_connections() // 2), listeners.share)
    try:
        bound = rpc.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError:
        raise InputError(
            f"{host} port {port} cannot be bound.", "Choose another address."
        ) from None
    await rpc.start()
    return rpc, bound


async def _drain(
    gateway: Gateway, drain: float, servers: list[HttpServer], listener: socket.socket, rpc: Any
) -> None:
    """Report not ready, close the listener, and respond to the requests that were accepted."""
    gateway.draining = True
    log("draining", seconds=drain)
    await asyncio.sleep(drain)
    http = servers[0]
    await http.stop_listening(listener)
    stopping = None if rpc is None else asyncio.create_task(rpc.stop(gateway.limits.seconds + 5))
    quiet = 0
    for _ in range(int(_FINAL_SECONDS / 0.05)):
        quiet = quiet + 1 if http.is_idle() else 0
        if quiet * 0.05 > _IDLE_SECONDS:
            break
        await asyncio.sleep(0.05)
    for server in servers:
        server.should_exit = True
    if stopping is not None:
        await stopping
