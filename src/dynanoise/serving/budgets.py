"""How many answers a client gets: a token bucket, and a total for each period."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from dynanoise.oip.faults import Refused


@dataclass(frozen=True)
class Budget:
    """What one client may ask for; an answer about one record counts as one query.

    Args:
        rate: queries a second in the long run; 0 sets no limit.
        burst: queries at once.
        total: queries in one period; 0 sets no limit.
        period: seconds.
    """

    rate: float = 100.0
    burst: int = 1000
    total: int = 1_000_000
    period: float = 86_400.0


@dataclass
class _Account:
    tokens: float
    filled: float
    spent: int
    begun: float


class Budgets:
    """The accounts of all clients, in this process: each replica counts its own.

    >>> clock = iter([0.0, 0.0, 4.0])
    >>> budgets = Budgets(Budget(rate=1, burst=2), lambda: next(clock))
    >>> budgets.spend("alice", 2)
    0.0
    >>> try:
    ...     budgets.spend("alice", 2)
    ... except Refused as refused:
    ...     print(refused.status, refused.retry_after)
    429 2.0
    >>> budgets.spend("alice", 2)
    0.0
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget, self._clock = budget, clock
        self._accounts: dict[str, _Account] = {}

    def spend(self, client: str, queries: int) -> float:
        """Books queries, all of them or none.

        Returns:
            When the period began that they are booked in, for `give_back`.

        Raises:
            Refused: with 429 and when to come again; with 413, if that is never.
        """
        budget, now = self._budget, self._clock()
        account = self._accounts.setdefault(client, _Account(budget.burst, now, 0, now))
        most = [budget.burst] * (budget.rate > 0) + [budget.total] * (budget.total > 0)
        if most and queries > min(most):
            raise Refused(413, "rows", f"One request may hold at most {min(most)} records.")
        if budget.total:
            if now - account.begun >= budget.period:
                account.begun, account.spent = now, 0
            if account.spent + queries > budget.total:
                wait = account.begun + budget.period - now
                raise Refused(429, "budget", "The query budget is spent.", wait)
        if budget.rate:
            grown = account.tokens + (now - account.filled) * budget.rate
            account.tokens, account.filled = min(float(budget.burst), grown), now
            if account.tokens < queries:
                wait = (queries - account.tokens) / budget.rate
                raise Refused(429, "rate", "Too many queries at once.", wait)
            account.tokens -= queries
        account.spent += queries
        return account.begun

    def give_back(self, client: str, queries: int, period: float) -> None:
        """Takes back a booking for which there was no answer, if its period still runs."""
        account = self._accounts[client]
        if account.begun == period:
            account.spent -= queries
        account.tokens = min(float(self._budget.burst), account.tokens + queries)


def seconds(wait: float) -> str:
    """For Retry-After: whole seconds, at least 1.

    >>> seconds(0.2)
    '1'
    """
    return str(max(1, math.ceil(wait)))
