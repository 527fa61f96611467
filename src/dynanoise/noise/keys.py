"""Root keys: secrets by reference, which only outputs read, and public keys of experiments."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from dynanoise.core.errors import InputError, SecretError
from dynanoise.core.seeding import derive_bytes
from dynanoise.noise.subkey import key_id

DEFAULT = "env:DYNANOISE_KEY"
"""Reference to the root secret where none is configured."""

BYTES = 32

_LONGEST = 1 << 16
"""Bytes of a file at most: secrets, passwords and private keys in PEM are shorter."""

_NEW = "Make one with `dynanoise key new --out FILE`"


class RootKey(Protocol):
    """A source of a root key."""

    def root(self) -> bytes:
        """Read the root key, 32 bytes."""


@dataclass(frozen=True)
class Secret:
    """A reference to a root secret in the environment, or in a file.

    A file must be readable by its owner alone, or be a secret as Docker and Kubernetes mount it:
    on a read-only file system with any permission to read, or of another owner and readable by the
    group. A file that others may write is refused everywhere.

    The secret is written as 64 hexadecimal digits; white space around them does not count. It is
    read anew for every output, so this object, its repr and its pickle hold the reference alone.

    Args:
        reference: "env:NAME" or "file:PATH".

    Raises:
        InputError: if it is neither.

    >>> Secret("file:/run/secrets/dynanoise")
    Secret(reference='file:/run/secrets/dynanoise')
    """

    reference: str = DEFAULT

    def __post_init__(self) -> None:
        text = self.reference if isinstance(self.reference, str) else ""
        kind, _, place = text.partition(":")
        named = re.fullmatch("[A-Za-z_][A-Za-z0-9_]*" if kind == "env" else "[^\0]+", place)
        if kind not in ("env", "file") or not named or re.fullmatch("[0-9a-fA-F]{32,}", place):
            # Not shown: a secret that was passed by mistake would end up in a log.
            raise InputError(
                "The key is not a reference to a secret.",
                f"Pass env:NAME or file:PATH, such as {DEFAULT}, never the secret itself.",
            )

    def root(self) -> bytes:
        """Read the root secret, 32 bytes.

        Raises:
            SecretError: if it is missing, malformed, all zeros, or in a file that others may read.
        """
        return self._decoded(self.text())

    def text(self) -> str:
        """Read the text of the secret, without white space around it and unchecked.

        Raises:
            SecretError: if it is missing, or in a file that others may read, that is not text in
                UTF-8, or that has more than 65,536 bytes.
        """
        kind, _, place = self.reference.partition(":")
        text = self._from_file(place) if kind == "file" else self._from_environment(place)
        return text.strip()

    def _decoded(self, text: str) -> bytes:
        if not re.fullmatch("[0-9a-fA-F]+", text):
            self._refuse("is not written in hexadecimal digits", f"{_NEW}.")
        if len(text) != 2 * BYTES:
            long = "short" if len(text) < 2 * BYTES else "long"
            problem = f"is too {long}: it has {len(text)} hexadecimal digits, not {2 * BYTES}"
            self._refuse(problem, f"{_NEW}.")
        root = bytes.fromhex(text)
        if not any(root):
            self._refuse("is all zeros", f"{_NEW}.")
        return root

    def _from_environment(self, name: str) -> str:
        text = os.environ.get(name, "")
        if not text.strip():
            self._refuse("is not set", f'{_NEW}, then `export {name}="$(cat FILE)"`.')
        return text

    def _from_file(self, path: str) -> str:
        try:
            # Without blocking: a named pipe would wait for a writer.
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except OSError as error:
            reason = (error.strerror or "unknown").lower()
            self._refuse(f"cannot be read ({reason})", f"{_NEW}, or correct the path.")
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                self._refuse("is not a file", f"{_NEW}, or correct the path.")
            if os.name == "posix" and _open_to_others(handle, status):
                mode = stat.S_IMODE(status.st_mode)
                self._refuse(
                    f"is open to other users (mode {mode:o})",
                    f"Run `chmod 600 {path}`, and make a new one if others may have read it.",
                )
            raw = os.read(handle, _LONGEST + 1)
        finally:
            os.close(handle)
        if len(raw) > _LONGEST:
            self._refuse(f"has more than {_LONGEST:,} bytes", "Name the file of the secret.")
        text = None
        with suppress(UnicodeDecodeError):  # which holds the content, and would be the context
            text = raw.decode("utf-8")
        if text is None:
            self._refuse("is not text in UTF-8", "Write it as plain text.")
        return text

    def _refuse(self, problem: str, remedy: str) -> NoReturn:
        raise SecretError(f"The secret {self.reference} {problem}.", remedy)


def _open_to_others(handle: int, status: os.stat_result) -> bool:
    """Whether users may use a file for whom it is not meant.

    Platforms mount secrets with permissions that a container cannot change: Docker 0444, Kubernetes
    0644, or 0440 and 0640 for the group of the pod. Only processes in the container see the mount.
    """
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        return True
    if not mode & 0o077 or os.fstatvfs(handle).f_flag & os.ST_RDONLY:
        return False
    return bool(mode & 0o007) or status.st_uid == os.geteuid()


class Pinned(Secret):
    """A secret that is read once, for a process whose key must not change under its clients.

    Its repr, pickle and copies are those of the reference; they read the secret anew.

    Args:
        reference: "env:NAME" or "file:PATH".

    Raises:
        InputError: if it is neither.
        SecretError: if there is no usable secret; see `Secret.root`.
    """

    def __init__(self, reference: str = DEFAULT) -> None:
        super().__init__(reference)
        root = Secret(reference).root()
        object.__setattr__(self, "_held", lambda: root)  # in no repr, and cannot be pickled

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self.reference,)

    def root(self) -> bytes:
        """Return the root secret as it was first read, 32 bytes."""
        held: bytes = self._held()  # type: ignore[attr-defined]
        return held


def new_secret() -> str:
    """Make a root secret from 32 random bytes of the operating system, as 64 hexadecimal digits.

    >>> len(new_secret())
    64
    """
    return secrets.token_bytes(BYTES).hex()


def write_secret(path: Path) -> str:
    """Write a new root secret to a new file that only its owner can read.

    Args:
        path: the file, which must not exist.

    Returns:
        The key id, 16 hexadecimal digits; see `subkey.key_id`.

    Raises:
        InputError: if the file exists or cannot be written; nothing is changed then.
    """
    text = new_secret()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise InputError(
            f"{path} exists already.",
            "Name another file: outputs under a lost secret cannot be reproduced.",
        ) from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}).", "Name another file."
        ) from error
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return key_id(bytes.fromhex(text))


class ExperimentKey:
    """A root key for measurements, derived from a public seed; it protects nothing.

    It is a hash of seed and path under a name of its own, so that it is unrelated to any production
    key and to the keys of other seeds or paths.

    Args:
        seed: the run's seed, >= 0.
        path: names of the key's holder, for example ``"target", 3``.

    Raises:
        InputError: if ``seed`` is negative or not an integer.

    >>> ExperimentKey(0, "target").root().hex()[:8], ExperimentKey(0, "shadow").root().hex()[:8]
    ('e475a29e', 'bb6a7167')
    >>> ExperimentKey(0, "target")
    ExperimentKey(0, 'target')
    """

    __slots__ = ("_path", "_seed")

    def __init__(self, seed: int, *path: str | int) -> None:
        derive_bytes(seed)  # refuses invalid seeds
        self._seed, self._path = seed, path

    def __repr__(self) -> str:
        return f"ExperimentKey({', '.join(repr(part) for part in (self._seed, *self._path))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExperimentKey) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def settings(self) -> dict[str, object]:
        """Seed and path, as JSON can hold them."""
        return {"seed": self._seed, "path": list(self._path)}

    def root(self) -> bytes:
        """Derive the root key, 32 bytes."""
        return derive_bytes(self._seed, "keyed noise of an experiment", *self._path)
