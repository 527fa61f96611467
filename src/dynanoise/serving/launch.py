"""Starts the listeners of a gateway, and ends them without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn

from dynanoise.core.errors import InputError
from dynanoise.serving.app import OneLength, application
from dynanoise.serving.clients import Clients
from dynanoise.serving.connection import AT_ONCE, HEAD_BYTES, Connection
from dynanoise.serving.gateway import Gateway
from dynanoise.serving.logs import log

_LAST_CALL = 1.0
"""Seconds for which open connections may bring another request after the listener is closed."""

_QUIET = 0.25
"""Seconds without a connection after which no more is waited for."""

_ATTACHED = 0.05
"""Seconds in which a connection that was taken is ready to be read."""

_SWITCH = 1e-4
"""Seconds after which a thread gives way to another that waits."""

_BACKLOG = 2048
"""Connections that the system holds ready."""

_IDLE = 15
"""Seconds after which a connection without requests is closed."""


@dataclass(frozen=True)
class Listeners:
    """Where a gateway listens.

    Args:
        host: an address of this machine.
        port: for HTTP; 0 takes any that is free.
        grpc_port: for gRPC; None for none.
        metrics_port: for metrics; None for none.
        scrapers: who may see them.
        drain: seconds between a signal to end, when the gateway says that it is not ready, and the
            end of listening.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    metrics_port: int | None = None
    scrapers: Clients | None = None
    drain: float = 0.0


class _Server(uvicorn.Server):
    """A server that leaves signals to its launcher."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def stop_listening(self, listener: socket.socket) -> None:
        """Closes the listener, and takes over connections that the system has accepted for it.

        To close it alone would reset them, when their clients may have sent a request already.
        """
        asyncio.get_running_loop().remove_reader(listener.fileno())
        await asyncio.sleep(_ATTACHED)  # those that are just being made are of an open server
        taken = []
        with contextlib.suppress(OSError):
            while True:
                taken.append(listener.accept()[0])
        for one in self.servers:
            one.close()
        for connection in taken:
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().connect_accepted_socket(
                    self._connection, connection
                )

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, {})

    def idle(self) -> bool:
        return not self.server_state.connections and not self.server_state.tasks


def _server(app: Any, seconds: float) -> _Server:
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=int(seconds) + 5,
        h11_max_incomplete_event_size=HEAD_BYTES,
        backlog=AT_ONCE,
    )
    return _Server(config)


def bound(host: str, port: int) -> socket.socket:
    """A socket that is bound, but does not listen yet.

    Raises:
        InputError: if it cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # With the protocol named: asyncio sends small answers without delay only then.
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except OSError:
            made.close()
            raise
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{host} port {port} cannot be listened at ({error}).", "Choose another address."
        ) from None
    return made


def run(gateway: Gateway, listeners: Listeners) -> None:
    """Serves until the process is told to end, by SIGTERM or SIGINT.

    Raises:
        InputError: if an address cannot be listened at.
    """
    # The model's threads and the event loop hand the interpreter to each other for every request;
    # at Python's 5 ms each would wait that long for the other.
    sys.setswitchinterval(_SWITCH)
    asyncio.run(_run(gateway, listeners))


async def _run(gateway: Gateway, listeners: Listeners) -> None:
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, end.set)
    main = _server(application(gateway), gateway.limits.seconds)
    main_socket = bound(listeners.host, listeners.port)
    sockets = [main_socket]
    servers, tasks = [main], [asyncio.create_task(main.serve([main_socket]))]
    ports = {"port": main_socket.getsockname()[1]}
    if listeners.metrics_port is not None and listeners.scrapers is not None:
        shown = _server(OneLength(gateway.metrics.application(listeners.scrapers)), 1.0)
        shown_socket = bound(listeners.host, listeners.metrics_port)
        sockets.append(shown_socket)
        ports["metrics_port"] = shown_socket.getsockname()[1]
        servers.append(shown)
        tasks.append(asyncio.create_task(shown.serve([shown_socket])))
    rpc = None
    if listeners.grpc_port is not None:
        from dynanoise.serving.grpc import server

        rpc = server(gateway)
        try:
            host = f"[{listeners.host}]" if ":" in listeners.host else listeners.host
            ports["grpc_port"] = rpc.add_insecure_port(f"{host}:{listeners.grpc_port}")
        except RuntimeError:
            raise InputError(
                f"{listeners.host} port {listeners.grpc_port} cannot be listened at.",
                "Choose another address.",
            ) from None
        await rpc.start()
    while not all(one.started for one in servers):
        if any(task.done() for task in tasks):
            break
        await asyncio.sleep(0.01)
    else:
        for bound_one in sockets:
            bound_one.listen(_BACKLOG)
        log("listening", host=listeners.host, **ports)
    waiting = asyncio.create_task(end.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await _drained(gateway, listeners.drain, servers, main_socket, rpc)
    failed = [one for one in await asyncio.gather(*tasks, return_exceptions=True) if one]
    for bound_one in sockets:  # of a server that did not start
        bound_one.close()
    await gateway.model.close()
    log("ended", logging.ERROR if failed else logging.INFO)
    if failed:
        raise SystemExit(1)


async def _drained(
    gateway: Gateway, drain: float, servers: list[_Server], listener: socket.socket, rpc: Any
) -> None:
    """Answers what was accepted: first it is not ready, then deaf, then it waits for the last."""
    gateway.draining = True
    log("draining", seconds=drain)
    await asyncio.sleep(drain)
    main = servers[0]
    await main.stop_listening(listener)
    stopping = None if rpc is None else asyncio.create_task(rpc.stop(gateway.limits.seconds + 5))
    quiet = 0
    for _ in range(int(_LAST_CALL / 0.05)):
        quiet = quiet + 1 if main.idle() else 0
        if quiet * 0.05 > _QUIET:
            break
        await asyncio.sleep(0.05)
    for one in servers:
        one.should_exit = True
    if stopping is not None:
        await stopping
