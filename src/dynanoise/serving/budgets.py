"""Query budgets of the gateway's clients, counted in this process or, by a subclass, elsewhere."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from dynanoise.oip.faults import NEAR, Refused

NO_CELLS: Mapping[bytes, int] = MappingProxyType({})


@dataclass(frozen=True)
class Budget:
    """Limits on the queries of one client; a response about one record counts as one query.

    Args:
        rate: queries a second in the long run; 0 sets no limit.
        burst: queries at once.
        total: queries in one period; 0 sets no limit.
        period: seconds.
        near: queries of one cell of the inputs in one period; 0 sets no limit.
    """

    rate: float = 100.0
    burst: int = 1000
    total: int = 10_000
    period: float = 86_400.0
    near: int = 0


class Budgets(ABC):
    """Query budgets of all clients.

    Args:
        budget: limits of each client.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    @property
    def most(self) -> int | None:
        """Most queries of one request; None without a limit."""
        budget = self.budget
        limits = [budget.burst] * (budget.rate > 0) + [budget.total] * (budget.total > 0)
        return min(limits, default=None)

    async def charge(self, client: str, queries: int) -> Charge:
        """Charge queries to a client, all of them or none; errors as of `spend`."""
        charge = Charge(self, client)
        await charge.correct(queries)
        return charge

    async def spend(self, client: str, queries: int, cells: Mapping[bytes, int] = NO_CELLS) -> str:
        """Charge queries to a client, all of them or none.

        Args:
            client: the client's name.
            queries: number of records.
            cells: number of records in each cell of the inputs, by its digest.

        Returns:
            The period that they are charged to, for `give_back`.

        Raises:
            Refused: with 429 and the time to wait; with 413, if more than the budget ever allows;
                with 401, if the client is revoked; with 503, if the accounts are away.
        """
        budget = self.budget
        if self.most is not None and queries > self.most:
            raise too_many(self.most)
        if budget.near and max(cells.values(), default=0) > budget.near:
            raise Refused(
                413, "rows", f"One request may hold at most {budget.near} records close together."
            )
        return await self._spend(client, queries, cells)

    @abstractmethod
    async def _spend(self, client: str, queries: int, cells: Mapping[bytes, int]) -> str:
        """See `spend`; no request is larger than the budget."""

    @abstractmethod
    async def give_back(
        self, client: str, queries: int, period: str, cells: Mapping[bytes, int] = NO_CELLS
    ) -> None:
        """Take back a charge, if its period is still the current one."""

    async def ready(self) -> bool:
        """Whether queries can be charged now."""
        return True

    async def close(self) -> None:  # noqa: B027 - few have something to close
        """Close connections."""


@dataclass
class _Account:
    """State of one client: a token bucket, and the queries of the current period."""

    tokens: float
    filled: float
    begun: float
    spent: int = 0
    cells: Counter[bytes] = field(default_factory=Counter)


class LocalBudgets(Budgets):
    """Query budgets in this process; each replica counts its own, and a restart begins again.

    Args:
        budget: limits of each client.
        clock: seconds, monotonic.

    >>> import asyncio
    >>> clock = iter([0.0, 0.0, 4.0])
    >>> budgets = LocalBudgets(Budget(rate=1, burst=2), lambda: next(clock))
    >>> period = asyncio.run(budgets.spend("alice", 2))
    >>> try:
    ...     period = asyncio.run(budgets.spend("alice", 2))
    ... except Refused as refused:
    ...     print(refused.status, refused.retry_after)
    429 2.0
    >>> period = asyncio.run(budgets.spend("alice", 2))
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(budget)
        self._clock = clock
        self._accounts: dict[str, _Account] = {}

    async def _spend(self, client: str, queries: int, cells: Mapping[bytes, int]) -> str:
        budget, now = self.budget, self._clock()
        account = self._accounts.setdefault(client, _Account(budget.burst, now, now))
        if now - account.begun >= budget.period:
            account.begun, account.spent, account.cells = now, 0, Counter()
        end = account.begun + budget.period - now
        if budget.total and account.spent + queries > budget.total:
            raise refusal("budget", end)
        if budget.near and any(account.cells[cell] + n > budget.near for cell, n in cells.items()):
            raise refusal("near", end)
        if budget.rate:
            grown = account.tokens + (now - account.filled) * budget.rate
            account.tokens, account.filled = min(float(budget.burst), grown), now
            if account.tokens < queries:
                raise refusal("rate", (queries - account.tokens) / budget.rate)
            account.tokens -= queries
        account.spent += queries
        account.cells.update(cells)
        return repr(account.begun)

    async def give_back(
        self, client: str, queries: int, period: str, cells: Mapping[bytes, int] = NO_CELLS
    ) -> None:
        """See `Budgets.give_back`."""
        account = self._accounts[client]
        if repr(account.begun) == period:
            account.spent -= queries
            account.cells.subtract(cells)
            for cell in cells:  # requests that fail in ever new cells may not fill the memory
                if not account.cells[cell]:
                    del account.cells[cell]
        account.tokens = min(float(self.budget.burst), account.tokens + queries)


class Charge:
    """Queries that a request is charged, which can be corrected and taken back.

    Args:
        budgets: budgets of all clients.
        client: the client's name.
    """

    def __init__(self, budgets: Budgets, client: str) -> None:
        self._budgets, self._client = budgets, client
        self._parts: list[tuple[int, str, Mapping[bytes, int]]] = []

    async def correct(self, queries: int, cells: Mapping[bytes, int] = NO_CELLS) -> None:
        """Charge another number of queries instead, and cells beside it; errors as of `spend`."""
        total = sum(part for part, _, _ in self._parts)
        if self._budgets.most is not None and queries > self._budgets.most:
            raise too_many(self._budgets.most)
        if queries > total or cells or not self._parts:
            more = max(0, queries - total)
            try:
                period = await self._budgets.spend(self._client, more, cells)
            except Refused as refused:
                if refused.reason == "rate" and refused.retry_after is not None:
                    # What is charged so far stays charged, and is charged again with the next try.
                    refused.retry_after += total / self._budgets.budget.rate
                raise
            self._parts.append((more, period, cells))
        for index in reversed(range(len(self._parts))):
            count, period, before = self._parts[index]
            less = min(count, total - queries)
            if less > 0:
                total -= less
                self._parts[index] = (count - less, period, before)
                await self._budgets.give_back(self._client, less, period)

    async def give_back(self) -> None:
        """Take the whole charge back."""
        parts, self._parts = self._parts, []
        for queries, period, cells in parts:
            await self._budgets.give_back(self._client, queries, period, cells)


_REFUSALS = {
    "budget": "The query budget is spent.",
    "near": NEAR,
    "rate": "Too many queries at once.",
}


def refusal(reason: str, wait: float) -> Refused:
    """The refusal of queries over a limit of the budget: "budget", "near" or "rate"."""
    return Refused(429, reason, _REFUSALS[reason], wait)


def too_many(limit: int) -> Refused:
    """The refusal of a request with more records than a budget ever allows."""
    return Refused(413, "rows", f"One request may hold at most {limit} records, or rows of output.")


def retry_after(wait: float) -> str:
    """Value of the header Retry-After: whole seconds, at least 1.

    >>> retry_after(0.2)
    '1'
    """
    return str(max(1, math.ceil(wait)))
