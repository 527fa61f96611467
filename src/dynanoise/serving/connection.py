"""HTTP connections of uvicorn that do not wait for ever, and complain as the protocol does."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""Time for the head of a request to arrive, from the connection or the first byte on, and for what
is left of a request that has been answered."""

HEAD_BYTES = 64 << 10

TAKEN_SECONDS = 20.0
"""Time in which a client takes 16 KiB of an answer, or the rest of it."""

_TAKEN_BYTES = 16 << 10

AT_ONCE = 64
"""Connections that are taken before they are counted."""


def most() -> int:
    """Connections of one listener: half of the files that the process may open, at least 1.

    The others are for the upstream, gRPC and the rest: where a process has none left, asyncio
    tries, and complains, thousands of times a second.
    """
    if sys.platform == "win32":
        return 1 << 15
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 15 if soft == resource.RLIM_INFINITY else max(1, soft // 2)


class Connection(H11Protocol):
    """A connection that ends when a request does not arrive, or an answer is not taken, in time.

    For the body of a request that is not answered yet the gateway sets the time.
    """

    _waiting: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None
    _state: Any = None
    _left = 0

    def connection_made(self, transport: Any) -> None:
        """Starts to wait for a head."""
        super().connection_made(transport)
        if len(self.connections) > most():
            transport.abort()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Waits on while a head, or the rest of a request that is answered, is incomplete."""
        super().data_received(data)
        state = self.conn.their_state
        if state is not h11.IDLE and not self._rest():
            self._stop()
        elif self._waiting is None or state is not self._state:
            self._wait()

    def on_response_complete(self) -> None:
        """Waits for the rest of the request, and for the client to take the answer."""
        super().on_response_complete()
        if self._rest():
            self._wait()
        if self.transport.is_closing():
            self._until_taken()

    def timeout_keep_alive_handler(self) -> None:
        """Ends an idle connection."""
        super().timeout_keep_alive_handler()
        self._until_taken()

    def pause_writing(self) -> None:
        """Waits for the client to take what was written."""
        super().pause_writing()
        self._until_taken()

    def resume_writing(self) -> None:
        """Waits no longer, unless what is left is the end."""
        super().resume_writing()
        if self._taking is not None and not self.transport.is_closing():
            self._taking.cancel()
            self._taking = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        self._stop()
        if self._taking is not None:
            self._taking.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """The same in the protocol's shape."""
        said = b'{"error":"The request is no valid HTTP."}'
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(said)).encode()),
            (b"connection", b"close"),
        ]
        try:
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=said),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # an answer is under way already
            pass
        self._close()

    def _rest(self) -> bool:
        """Whether a request has been answered and still arrives."""
        answered = self.cycle is not None and self.cycle.response_complete
        return answered and self.conn.their_state is h11.SEND_BODY

    def _wait(self) -> None:
        self._stop()
        self._state = self.conn.their_state
        self._waiting = self.loop.call_later(HEAD_SECONDS, self._close)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _close(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            self.transport.close()
        self._until_taken()

    def _until_taken(self) -> None:
        """A closed connection stays open until its client has taken all, which may be never."""
        left = self.transport.get_write_buffer_size()
        if left and self._taking is None:
            self._left = left
            self._taking = self.loop.call_later(TAKEN_SECONDS, self._look)

    def _look(self) -> None:
        self._taking = None
        if self.transport.get_write_buffer_size() > max(0, self._left - _TAKEN_BYTES):
            self.transport.abort()
        else:
            self._until_taken()
