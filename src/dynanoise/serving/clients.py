"""Clients of the gateway, and their API keys, of which it holds only digests."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from dynanoise.core.errors import InputError
from dynanoise.oip.faults import Refused
from dynanoise.serving.followed import Followed
from dynanoise.serving.logs import log

ANYONE = "anyone"
"""The client of a gateway without API keys."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LINE = re.compile(r"(\S+) sha256:([0-9a-f]{64})")
_NO_DIGEST = bytes(32)

_WRITING_SECONDS = 1.0
"""Age from which a file without clients counts: one that is being written has none at first."""


class Clients:
    """Clients by name, with the digests of their API keys, which follow their file.

    Keys are 32 random bytes, so that one SHA-256 is enough: there is nothing to guess.

    Args:
        digests: SHA-256 of each key, 32 bytes, by the client's name.

    >>> clients = Clients({"alice": hashlib.sha256(b"alice.key").digest()})
    >>> clients.authenticate("alice.key")
    'alice'
    """

    def __init__(self, digests: Mapping[str, bytes]) -> None:
        self._digests = dict(digests)
        self._file: tuple[Path, Followed] | None = None

    @classmethod
    def read(cls, path: Path, empty: bool = False) -> Clients:
        """Read a file of clients: a line "NAME sha256:DIGEST" each; # begins a comment.

        Args:
            path: the file.
            empty: whether it may have no client, as where the last one was removed.

        Raises:
            InputError: if it cannot be read, all users may write it, it has no client, or holds
                anything else.
        """
        followed = Followed(path)
        clients = cls(_read_clients(path))
        if not (clients._digests or empty):
            raise InputError(f"{path} names no client.", "Add one: `dynanoise key client NAME`.")
        clients._file = path, followed
        return clients

    def _follow(self) -> None:
        """Read the file again if it has changed; one that cannot be read changes nothing."""
        if self._file is None or not self._file[1].changed():
            return
        path, followed = self._file
        try:
            digests = _read_clients(path)
            age = time.time() - path.stat().st_ctime
        except (InputError, OSError):  # the latter where it is just being replaced
            log("clients_not_read", logging.ERROR, clients=len(self._digests))
            return
        if not digests and 0 <= age < _WRITING_SECONDS:
            followed.look_again()
            return
        self._digests = digests
        log("clients_read", logging.INFO if digests else logging.WARNING, clients=len(digests))

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
        self._follow()
        name = key.partition(".")[0]
        digest = hashlib.sha256(key.encode()).digest()
        if not hmac.compare_digest(self._digests.get(name, _NO_DIGEST), digest):
            raise Refused(401, "wrong_key", "The API key is not known.")
        return name


def _read_clients(path: Path) -> dict[str, bytes]:
    """The digests in a file that others cannot write; errors as of `Clients.read`."""
    digests = _read_digests(path)
    if os.name == "posix" and path.stat().st_mode & 0o002:
        raise InputError(
            f"{path} can be written by all users, who could add clients.",
            f"Run `chmod o-w {path}`.",
        )
    return digests


def key_in(authorization: str | None, api_key: str | None) -> str | None:
    """The API key in the headers Authorization and X-API-Key; the latter goes first.

    >>> key_in("Bearer alice.key", None)
    'alice.key'
    """
    if api_key:
        return api_key.strip()
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def client_names(path: Path) -> tuple[str, ...]:
    """Names of the clients in a file; none if there is no file.

    Raises:
        InputError: if it cannot be read, or holds anything else.
    """
    return tuple(_read_digests(path)) if path.exists() else ()


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
