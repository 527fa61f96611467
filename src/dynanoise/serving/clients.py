"""Who may ask: API keys, of which the gateway holds only digests."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from dynanoise.core.errors import InputError
from dynanoise.oip.faults import Refused

ANYONE = "anyone"
"""The client of a gateway without API keys."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LINE = re.compile(r"(\S+) sha256:([0-9a-f]{64})")
_NOBODY = bytes(32)


class Clients:
    """The clients that a file names: a line "NAME sha256:DIGEST" each, # begins a comment.

    Keys are 32 random bytes, so that one SHA-256 is enough: there is nothing to guess.

    Args:
        digests: by name, 32 bytes each.

    >>> clients = Clients({"alice": hashlib.sha256(b"alice.key").digest()})
    >>> clients.named("alice.key")
    'alice'
    """

    def __init__(self, digests: Mapping[str, bytes]) -> None:
        self._digests = dict(digests)

    @classmethod
    def read(cls, path: Path) -> Clients:
        """What a file holds.

        Raises:
            InputError: if it cannot be read, names nobody, or holds anything else.
        """
        digests = _held(path)
        if not digests:
            raise InputError(f"{path} names no client.", "Add one: `dynanoise key client NAME`.")
        return cls(digests)

    def named(self, key: str | None) -> str:
        """The name of the client whose key this is.

        Raises:
            Refused: with 401, if it is nobody's.
        """
        if key is None:
            raise Refused(
                401, "no_key", "An API key is needed: Authorization: Bearer, or X-API-Key."
            )
        name = key.partition(".")[0]
        digest = hashlib.sha256(key.encode()).digest()
        if not hmac.compare_digest(self._digests.get(name, _NOBODY), digest):
            raise Refused(401, "wrong_key", "The API key is not known.")
        return name


def presented(authorization: str | None, own: str | None) -> str | None:
    """The API key in a request's headers, Authorization or X-API-Key; the latter goes first.

    >>> presented("Bearer alice.key", None)
    'alice.key'
    """
    if own:
        return own.strip()
    kind, _, key = (authorization or "").partition(" ")
    return key.strip() if kind.lower() == "bearer" and key.strip() else None


def _held(path: Path) -> dict[str, bytes]:
    """The digests in a file, by name; there may be none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"{path} cannot be read.", "Make it with `dynanoise key client NAME`."
        ) from None
    digests: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        said = line.partition("#")[0].strip()
        if not said:
            continue
        found = _LINE.fullmatch(said)
        if not found or not _NAME.fullmatch(found[1]) or found[1] in digests:
            raise InputError(  # the line is not shown: it may be a key
                f"{path}, line {number}, is no line of a client, or its name comes twice.",
                "Let `dynanoise key client NAME` write it: NAME sha256:DIGEST.",
            )
        digests[found[1]] = bytes.fromhex(found[2])
    return digests


def add(path: Path, name: str) -> str:
    """Adds a client to a file, which is made if it is not there, and gives its key.

    Raises:
        InputError: if the name is unfit or there already, or the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"A client cannot be called {name!r}.",
            "Use small letters, digits and -, at most 63 of them.",
        )
    if path.exists() and name in _held(path):
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
