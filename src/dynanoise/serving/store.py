"""Query budgets and revoked clients in Redis or Valkey, which all replicas of a gateway share."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from dynanoise.core.errors import InputError
from dynanoise.core.registry import meant
from dynanoise.noise.keys import Secret
from dynanoise.oip.faults import Refused, unavailable
from dynanoise.serving.backends.readiness import Readiness
from dynanoise.serving.budgets import NO_CELLS, Budget, Budgets, LocalBudgets, refusal
from dynanoise.serving.logs import log

_CLIENT = "dynanoise:{%s}:"
"""Beginning of a client's keys. A cluster keeps those with the same part in braces on one server,
and a script may use only those."""

_ACCOUNT = re.compile(rb"dynanoise:\{(.+)\}:account:")

_SECONDS = 10.0
"""Longest time for a connection, for a reply, and for a free connection."""

_AWAY_SECONDS = 5.0
"""Time between attempts to reach a store that is away, where queries are counted here meanwhile."""

_CONNECTIONS = 16
"""Connections of one process; a reply takes a fraction of a millisecond."""

_FAILURES = (RedisError, OSError, TimeoutError)

_SPEND = """
-- KEYS: account, mark of a revoked client. ARGV: rate, burst, total, period, near, queries, and
-- digest and count of each cell. All or nothing, on the store's own clock.
if redis.call('EXISTS', KEYS[2]) == 1 then return {'revoked', '0'} end
local rate, burst, total = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local period, near, queries = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local account = redis.call('HMGET', KEYS[1], 'tokens', 'filled', 'spent', 'begun')
local tokens, filled = tonumber(account[1]) or burst, tonumber(account[2]) or now
local spent, begun = tonumber(account[3]) or 0, account[4] or string.format('%.6f', now)
local new = not account[4] or now - begun >= period
if new then spent, begun = 0, string.format('%.6f', now) end
local left = string.format('%.6f', begun + period - now)
if total > 0 and spent + queries > total then return {'budget', left} end
local cells = {}
for i = 7, #ARGV, 2 do
  local count = ARGV[i + 1] + (not new and tonumber(redis.call('HGET', KEYS[1], ARGV[i])) or 0)
  if near > 0 and count > near then return {'near', left} end
  cells[ARGV[i]] = count
end
if rate > 0 then
  tokens = math.min(burst, tokens + math.max(0, now - filled) * rate)
  if tokens < queries then
    return {'rate', string.format('%.6f', (queries - tokens) / rate)}
  end
  tokens = tokens - queries
end
if new then redis.call('UNLINK', KEYS[1]) end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens),
  'filled', string.format('%.6f', now), 'spent', spent + queries, 'begun', begun)
for cell, count in pairs(cells) do redis.call('HSET', KEYS[1], cell, count) end
-- An account that is left alone for so long is as a new one.
local kept = math.max(period, rate > 0 and burst / rate or 0)
redis.call('EXPIRE', KEYS[1], math.min(math.ceil(kept) + 1, 1e9))
return {'spent', begun}
"""

_GIVE_BACK = """
-- KEYS: account. ARGV: period, queries, burst, and digest and count of each cell.
local account = redis.call('HMGET', KEYS[1], 'tokens', 'begun')
if not account[2] then return end
local tokens = math.min(tonumber(ARGV[3]), account[1] + ARGV[2])
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens))
if account[2] ~= ARGV[1] then return end
redis.call('HINCRBY', KEYS[1], 'spent', -tonumber(ARGV[2]))
-- Requests that fail in ever new cells may not fill the memory.
for i = 4, #ARGV, 2 do
  local left = redis.call('HINCRBY', KEYS[1], ARGV[i], -tonumber(ARGV[i + 1]))
  if left <= 0 then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
"""

_HERE = "here "
"""Prefix of periods that were counted in this process."""


@dataclass(frozen=True)
class StoreAddress:
    """Address of a Redis or Valkey server, and the place of its password.

    Args:
        url: redis://HOST:PORT/NUMBER, rediss:// with TLS, or unix://PATH; without a password.
        password: "env:NAME" or "file:PATH"; None for none.

    Raises:
        InputError: if the URL cannot be used, or a password stands where a reference is due.
    """

    url: str
    password: str | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("redis", "rediss", "unix") and parts.password is None
            usable = usable and "password" not in parts.query and parts.port != 0
        except ValueError:
            usable = False
        if not usable:  # not shown: it may hold a password
            raise InputError(
                "The store's address is not a URL of Redis without a password.",
                "Pass redis://HOST:PORT/0 or rediss://..., and the password by reference: "
                "--store-password env:NAME or file:PATH.",
            )
        if self.password is not None:
            Secret(self.password)

    def connect(self) -> Redis:
        """Make a client, which connects when it is used.

        Raises:
            SecretError: if the password cannot be read.
        """
        password = None if self.password is None else Secret(self.password).text()
        try:
            pool = BlockingConnectionPool.from_url(
                self.url,
                password=password,
                max_connections=_CONNECTIONS,
                timeout=_SECONDS,
                socket_timeout=_SECONDS,
                socket_connect_timeout=_SECONDS,
                # A charge whose reply is lost must not be made twice.
                retry=Retry(NoBackoff(), 0),
            )
        except (ValueError, TypeError):
            raise InputError(
                "The store's address cannot be read.", "Pass redis://HOST:PORT/0."
            ) from None
        return Redis.from_pool(pool)


class StoredBudgets(Budgets):
    """Query budgets that all replicas share, and that survive their restarts.

    Each charge is one script, which the store runs at once or not at all, on its own clock.

    Args:
        budget: limits of each client.
        address: the store.
        model: name of the model; its accounts are its own.
        local: whether queries are counted in this process while the store cannot be reached; else
            they are refused.

    Raises:
        SecretError: if the password cannot be read.
    """

    def __init__(
        self,
        budget: Budget,
        address: StoreAddress,
        model: str,
        local: bool = False,
    ) -> None:
        super().__init__(budget)
        self._store = address.connect()
        self._spending = self._store.register_script(_SPEND)
        self._giving_back = self._store.register_script(_GIVE_BACK)
        self._model, self._reached = model, False
        self._local = LocalBudgets(budget) if local else None
        self._retry_at: float | None = None
        self._readiness = Readiness(self._is_ready)

    async def _spend(self, client: str, queries: int, cells: Mapping[bytes, int]) -> str:
        if self._local is not None and self._is_away():
            return _HERE + await self._local.spend(client, queries, cells)
        budget = self.budget
        limits = (budget.rate, budget.burst, budget.total, budget.period, budget.near)
        try:
            if not self._reached:
                await self._inspect()
            status, value = await self._spending(
                [self._account(client), _revoked(client)], [*limits, queries, *_pairs(cells)]
            )
        except _FAILURES as error:
            await self._note_failure(error)
            if self._local is None:
                raise unavailable("store", "The gateway cannot count queries now.") from None
            return _HERE + await self._local.spend(client, queries, cells)
        self._retry_at = None
        self._readiness.note(True)
        if status == b"revoked":
            raise Refused(401, "revoked", "The API key is revoked.")
        if status != b"spent":
            raise refusal(status.decode(), float(value))
        return str(value.decode())

    async def give_back(
        self, client: str, queries: int, period: str, cells: Mapping[bytes, int] = NO_CELLS
    ) -> None:
        """See `Budgets.give_back`; while the store cannot be reached, queries stay charged."""
        if period.startswith(_HERE):
            if self._local is not None:
                await self._local.give_back(client, queries, period.removeprefix(_HERE), cells)
            return
        try:
            await self._giving_back(
                [self._account(client)], [period, queries, self.budget.burst, *_pairs(cells)]
            )
        except _FAILURES as error:
            await self._note_failure(error)

    async def ready(self) -> bool:
        """Whether the store can be reached, or queries are counted here meanwhile."""
        return await self._readiness.get()

    async def _is_ready(self) -> bool:
        try:
            await self._inspect() if not self._reached else await self._store.ping()
        except _FAILURES as error:
            await self._note_failure(error)
            return self._local is not None
        self._retry_at = None
        return True

    async def close(self) -> None:
        """Close the connections."""
        await self._store.aclose()
        await self._store.connection_pool.disconnect()

    def _is_away(self) -> bool:
        """Whether the store could not be reached a moment ago; now and then a request tries again.

        Otherwise each request would wait for a store that does not reply, and hold its turn.
        """
        now = time.monotonic()
        if self._retry_at is None:
            return False
        if now < self._retry_at:
            return True
        self._retry_at = now + _SECONDS + _AWAY_SECONDS  # this request tries, others do not
        return False

    def _account(self, client: str) -> str:
        return f"{_CLIENT % client}account:{self._model}"

    async def _inspect(self) -> None:
        """Log that the store was reached, and settings with which it forgets accounts."""
        self._reached = True  # others need not wait for this
        await self._store.ping()
        log("store_reached")
        try:
            info: dict[str, Any] = await self._store.info()
        except RedisError:  # the gateway's user may not read them
            log("weakness", logging.WARNING, weakness="store_not_inspected")
            return
        if not info.get("aof_enabled"):
            log("weakness", logging.WARNING, weakness="store_without_appendonly")
        if info.get("maxmemory") and info.get("maxmemory_policy") != "noeviction":
            log("weakness", logging.WARNING, weakness="store_evicts")

    async def _note_failure(self, error: Exception) -> None:
        """Log a failure, and drop idle connections, which would fail when the store is back."""
        self._reached = False
        self._readiness.note(False)
        self._retry_at = time.monotonic() + _AWAY_SECONDS
        await self._store.connection_pool.disconnect(inuse_connections=False)
        log("store_failed", logging.ERROR, exception=type(error).__name__)


def _pairs(cells: Mapping[bytes, int]) -> list[bytes | int]:
    return [part for pair in cells.items() for part in pair]


def _revoked(client: str) -> str:
    return f"{_CLIENT % client}revoked"


async def revoke(address: StoreAddress, client: str, known: Collection[str]) -> None:
    """Revoke a client at every gateway that uses a store, from its next request on.

    Args:
        address: the store.
        client: name of the client.
        known: names in the file of clients; those with an account in the store count as well.

    Raises:
        InputError: if there is no such client, or the store cannot be reached.
        SecretError: if the password cannot be read.
    """
    store = address.connect()
    try:
        if client not in known:
            accounts = [name async for name in store.scan_iter("dynanoise:{*}:account:*")]
            matches = filter(None, map(_ACCOUNT.match, accounts))
            names = sorted({*known, *(match[1].decode() for match in matches)})
            if client not in names:
                raise InputError(
                    f"There is no client {client!r}, neither in the file of clients nor with an "
                    "account in the store.",
                    f"{meant(client, names)}Known: {', '.join(names) or 'none'}.",
                )
        await store.set(_revoked(client), 1)
    except _FAILURES as error:
        raise InputError(
            f"The store cannot be reached ({type(error).__name__}).",
            "Check its address and password.",
        ) from None
    finally:
        await store.aclose()
        await store.connection_pool.disconnect()
