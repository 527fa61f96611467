"""Turns of requests: so many at once, a bounded queue before them, and clients in rotation."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dynanoise.oip.faults import Refused, unavailable


class Turns:
    """Turns of clients' requests. For one event loop.

    Of the clients that wait, each gets a turn before any gets a second one. A full queue gives the
    place of the last request of the client with most of them to a client with fewer.

    Args:
        at_once: requests that are worked on at the same time.
        waiting: largest number of requests in the queue.
        seconds: longest wait of a request.
        each: requests of one client that are worked on at the same time; None for no such limit.
    """

    def __init__(self, at_once: int, waiting: int, seconds: float, each: int | None = None) -> None:
        self._at_once, self._most, self._seconds = at_once, waiting, seconds
        self._each = at_once if each is None else each
        self._busy: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def take(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it.

        Raises:
            Refused: with 429, if too many requests of this client wait; with 503, if there is no
                turn in time.
        """
        if self._is_free(client):
            self._busy[client] += 1
        else:
            await self._wait(client)
        try:
            yield
        finally:
            self._leave(client)

    def _is_free(self, client: str) -> bool:
        # Those that wait while there is room are at their own limit.
        return self._busy.total() < self._at_once and self._busy[client] < self._each

    async def _wait(self, client: str) -> None:
        self._make_room(client)
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(client, deque()).append(turn)
        try:
            async with asyncio.timeout(self._seconds):
                await turn
        except TimeoutError:
            self._withdraw(client, turn)
            raise unavailable("busy", "The gateway is busy.") from None
        except asyncio.CancelledError:  # the client went away
            self._withdraw(client, turn)
            raise

    def _make_room(self, client: str) -> None:
        """Refuse a request, or another one in its place, if the queue is full."""
        lengths = {name: len(queue) for name, queue in self._queues.items()}
        if sum(lengths.values()) < self._most:
            return
        waiting = lengths.get(client, 0)
        longest = max(lengths, key=lambda name: lengths[name], default=client)
        if lengths.get(longest, 0) > waiting + 1:
            turn = self._queues[longest].pop()
            if not turn.done():  # else its client is just going away
                turn.set_exception(_too_many_wait())
        elif waiting:
            raise _too_many_wait()
        else:
            raise unavailable("busy", "The gateway is busy.")

    def _withdraw(self, client: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(client)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[client]
        elif not turn.cancelled() and turn.exception() is None:
            self._leave(client)  # it was given a turn in this moment

    def _leave(self, client: str) -> None:
        """End a turn, and give it to the next client."""
        self._busy[client] -= 1
        if not self._busy[client]:
            del self._busy[client]
        for name in list(self._queues):
            if not self._is_free(name):
                continue
            queue = self._queues.pop(name)
            # Of a client that is just going away the turn is cancelled before it is withdrawn.
            while queue and (turn := queue.popleft()).done():
                pass
            if queue:
                self._queues[name] = queue  # behind all others
            if not turn.done():
                self._busy[name] += 1
                turn.set_result(None)
                return


def _too_many_wait() -> Refused:
    return Refused(429, "queue", "Too many requests of this client wait.", 1.0)
