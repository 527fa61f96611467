"""Readiness of another server, kept for a second, so that probes of the gateway cost it little."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

_KEPT_SECONDS = 1.0


class Readiness:
    """Result of a check that is made at most once a second, however many probes there are.

    Args:
        check: asks the other server whether it is ready.
        clock: seconds, monotonic.

    >>> clock = iter([0.0, 0.5, 1.5, 1.6]).__next__
    >>> async def check() -> bool:
    ...     print("asked")
    ...     return True
    >>> async def probe() -> list[bool]:
    ...     readiness = Readiness(check, clock)
    ...     return [await readiness.get() for _ in range(3)]
    >>> asyncio.run(probe())
    asked
    asked
    [True, True, True]
    """

    def __init__(
        self, check: Callable[[], Awaitable[bool]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._check, self._clock = check, clock
        self._result: tuple[float, bool] | None = None
        self._checking = asyncio.Lock()

    async def get(self) -> bool:
        """Return the result, of now or of the last second."""
        async with self._checking:
            if self._result is not None and self._clock() - self._result[0] <= _KEPT_SECONDS:
                return self._result[1]
            ready = await self._check()
            self._result = self._clock(), ready
            return ready

    def note(self, ready: bool) -> None:
        """Take a reply to a request as the result; after a failure the next probe asks anew."""
        self._result = (self._clock(), True) if ready else None
