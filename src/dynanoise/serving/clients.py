"""Clients of the gateway: their API keys, of which it holds only digests, and query budgets."""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dynanoise.core.errors import InputError
from dynanoise.oip.faults import Refused

ANYONE = "anyone"
"""The client of a gateway without API keys."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LINE = re.compile(r"(\S+) sha256:([0-9a-f]{64})")
_NO_DIGEST = bytes(32)


class Clients:
    """Clients by name, with the digests of their API keys.

    Keys are 32 random bytes, so that one SHA-256 is enough: there is nothing to guess.

    Args:
        digests: SHA-256 of each key, 32 bytes, by the client's name.

    >>> clients = Clients({"alice": hashlib.sha256(b"alice.key").digest()})
    >>> clients.authenticate("alice.key")
    'alice'
    """

    def __init__(self, digests: Mapping[str, bytes]) -> None:
        self._digests = dict(digests)

    @classmethod
    def read(cls, path: Path) -> Clients:
        """Read a file of clients: a line "NAME sha256:DIGEST" each; # begins a comment.

        Raises:
            InputError: if it cannot be read, all users may write it, it has no client, or holds
                anything else.
        """
        digests = _read_digests(path)
        if os.name == "posix" and path.stat().st_mode & 0o002:
            raise InputError(
                f"{path} can be written by all users, who could add clients.",
                f"Run `chmod o-w {path}`.",
            )
        if not digests:
            raise InputError(f"{path} names no client.", "Add one: `dynanoise key client NAME`.")
        return cls(digests)

    def authenticate(self, key: str | None) -> str:
        """Find the client of an API key.

        Returns:
            The client's name.

        Raises:
            Refused: with 401, if there is no key or no such client.
        """
        if key is None:
            raise Refused(
                401, "no_key", "An API key is needed: Authorization: Bearer, or X-API-Key."
            )
        name = key.partition(".")[0]
        digest = hashlib.sha256(key.encode()).digest()
        if not hmac.compare_digest(self._digests.get(name, _NO_DIGEST), digest):
            raise Refused(401, "wrong_key", "The API key is not known.")
        return name


def key_in(authorization: str | None, api_key: str | None) -> str | None:
    """The API key in the headers Authorization and X-API-Key; the latter goes first.

    >>> key_in("Bearer alice.key", None)
    'alice.key'
    """
    if api_key:
        return api_key.strip()
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def add_client(path: Path, name: str) -> str:
    """Add a client to a file, which is made if it does not exist.

    Args:
        path: the file of clients.
        name: small letters, digits and -, at most 63.

    Returns:
        The client's API key, which is stored nowhere.

    Raises:
        InputError: if the name is unfit or taken, or the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"A client cannot be called {name!r}.",
            "Use small letters, digits and -, at most 63 of them.",
        )
    if path.exists() and name in _read_digests(path):
        raise InputError(f"{path} has a client {name}.", "Remove its line first, or use another.")
    key = f"{name}.{secrets.token_urlsafe(32)}"
    line = f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}\n"
    try:
        if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
            line = "\n" + line  # an editor left the last one without an end
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "a") as file:
            file.write(line)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}).", "Name another file."
        ) from None
    return key


def _read_digests(path: Path) -> dict[str, bytes]:
    """The digests in a file, by name; perhaps none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"{path} cannot be read.", "Make it with `dynanoise key client NAME`."
        ) from None
    digests: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if not match or not _NAME.fullmatch(match[1]) or match[1] in digests:
            raise InputError(  # the line is not shown: it may be a key
                f"{path}, line {number}, is not 'NAME sha256:DIGEST', or repeats a name.",
                "Write it by `dynanoise key client NAME`.",
            )
        digests[match[1]] = bytes.fromhex(match[2])
    return digests


@dataclass(frozen=True)
class Budget:
    """Limits on the queries of one client; a response about one record counts as one query.

    Args:
        rate: queries a second in the long run; 0 sets no limit.
        burst: queries at once.
        total: queries in one period; 0 sets no limit.
        period: seconds.
    """

    rate: float = 100.0
    burst: int = 1000
    total: int = 10_000
    period: float = 86_400.0


@dataclass
class _Account:
    """State of one client: a token bucket, and the queries of the current period."""

    tokens: float
    filled: float
    spent: int
    begun: float


class Budgets:
    """Query budgets of all clients in this process; each replica counts its own.

    Args:
        budget: limits of each client.
        clock: seconds, monotonic.

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

    @property
    def most(self) -> int | None:
        """Most queries of one request; None without a limit."""
        budget = self._budget
        limits = [budget.burst] * (budget.rate > 0) + [budget.total] * (budget.total > 0)
        return min(limits, default=None)

    def charge(self, client: str, queries: int) -> Charge:
        """Charge queries to a client, all of them or none; errors as of `spend`."""
        return Charge(self, client, queries)

    def spend(self, client: str, queries: int) -> float:
        """Charge queries to a client, all of them or none.

        Args:
            client: the client's name.
            queries: number of records.

        Returns:
            The beginning of the period that they are charged to, for `give_back`.

        Raises:
            Refused: with 429 and the time to wait; with 413, if more than the budget ever allows.
        """
        budget, now = self._budget, self._clock()
        account = self._accounts.setdefault(client, _Account(budget.burst, now, 0, now))
        if self.most is not None and queries > self.most:
            raise too_many(self.most)
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
        """Take back a charge, if its period is still the current one."""
        account = self._accounts[client]
        if account.begun == period:
            account.spent -= queries
        account.tokens = min(float(self._budget.burst), account.tokens + queries)


class Charge:
    """Queries that a request is charged, which can be corrected and taken back.

    Args:
        budgets: budgets of all clients.
        client: the client's name.
        queries: number of queries.
    """

    def __init__(self, budgets: Budgets, client: str, queries: int) -> None:
        self._budgets, self._client = budgets, client
        self._parts = [(queries, budgets.spend(client, queries))]

    def correct(self, queries: int) -> None:
        """Charge another number of queries instead; errors as of `Budgets.spend`."""
        total = sum(part for part, _ in self._parts)
        if self._budgets.most is not None and queries > self._budgets.most:
            raise too_many(self._budgets.most)
        if queries > total:
            more = queries - total
            self._parts.append((more, self._budgets.spend(self._client, more)))
        elif queries < total:
            _, period = self._parts[0]
            self._budgets.give_back(self._client, total - queries, period)
            self._parts = [(queries, period)]

    def give_back(self) -> None:
        """Take the whole charge back."""
        for queries, period in self._parts:
            self._budgets.give_back(self._client, queries, period)
        self._parts = [(0, 0.0)]


def too_many(limit: int) -> Refused:
    """The refusal of a request with more records than a budget ever allows."""
    return Refused(413, "rows", f"One request may hold at most {limit} records.")


def retry_after(wait: float) -> str:
    """Value of the header Retry-After: whole seconds, at least 1.

    >>> retry_after(0.2)
    '1'
    """
    return str(max(1, math.ceil(wait)))
