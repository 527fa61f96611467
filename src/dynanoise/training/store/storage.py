"""Storage under a store: entries that are there whole or not at all, and claims to make one."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from dynanoise.core.errors import InputError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

ENTRY = "entry.json"
"""The part that makes an entry complete; it names the others with their SHA-256."""

_UNFINISHED, _CLAIM = ".unfinished-", ".claim-"

Place = Path | str
"""A folder, or an address that fsspec opens, such as "s3://bucket/models"."""


def place(text: Place) -> Place:
    """Read the place of a store.

    Args:
        text: a path, a file:// address, or "SCHEME://BUCKET/FOLDER".

    Returns:
        A folder for a path or a file:// address, an address without a final slash for others.

    Raises:
        InputError: if the address names no bucket or host, or holds a password, a key or a query,
            which would appear in process lists and logs; the message shows none of it.

    >>> place("s3://bucket/models/"), place("file:///tmp/models"), place("models")
    ('s3://bucket/models', PosixPath('/tmp/models'), PosixPath('models'))
    """
    if isinstance(text, Path) or "://" not in text:
        return Path(text)
    try:
        parts = urlsplit(text)
        scheme, host = parts.scheme, parts.netloc
    except ValueError:
        scheme = host = ""
    if scheme == "file" and host in ("", "localhost"):
        return Path(unquote(parts.path))
    if not scheme or "@" in text or "?" in text or "#" in text:
        raise InputError(
            "The store's address holds a name with a password, a key or a query."
            if scheme
            else "The store's address cannot be read.",
            "Write SCHEME://BUCKET/FOLDER, and give credentials as the file system's own settings, "
            "such as AWS_PROFILE or FSSPEC_S3.",
        )
    if not host or scheme == "file":
        raise InputError(f"The store {text} names no bucket.", "Write SCHEME://BUCKET/FOLDER.")
    return text.rstrip("/")


class Listed(NamedTuple):
    """An entry in a listing.

    Attributes:
        name: its key.
        text: the contents of its `ENTRY`.
        size: bytes of all its parts.
        created: seconds since the epoch.
    """

    name: str
    text: bytes
    size: int
    created: float


class Storage(Protocol):
    """Entries, each of some named parts. Reading raises OSError where a part is missing."""

    @property
    def pause(self) -> float:
        """Seconds between two looks for an entry that another run is making."""

    def holds(self, name: str) -> bool:
        """True if there seems to be such an entry; it may be damaged.

        Args:
            name: the key of the entry.
        """

    def entry(self, name: str) -> bytes | None:
        """The contents of `ENTRY`; None if there is no such entry.

        Args:
            name: the key of the entry.
        """

    def part(self, name: str, part: str, sha256: str) -> bytes:
        """The contents of a part; the caller compares the digest.

        Args:
            name: the key of the entry.
            part: the name of the part.
            sha256: its digest, 64 hexadecimal digits.
        """

    def fits(self, name: str, part: str, sha256: str) -> bool:
        """False if a part that is not read now is missing or damaged, as far as can be seen.

        Args:
            name: the key of the entry.
            part: the name of the part.
            sha256: its digest, 64 hexadecimal digits.
        """

    def put(self, name: str, parts: Mapping[str, bytes]) -> bool:
        """Add an entry, `ENTRY` among its parts; False if another one was first.

        Args:
            name: the key of the entry.
            parts: contents by name.
        """

    def remove(self, name: str) -> None:
        """Remove an entry, if it can be.

        Args:
            name: the key of the entry.
        """

    def entries(self) -> Iterator[Listed]:
        """All entries that can be read."""

    def sweep(self, older_than: float) -> None:
        """Remove what was left unfinished longer than some seconds ago.

        Args:
            older_than: seconds.
        """

    def claim(self, name: str, owner: str) -> AbstractContextManager[bool]:
        """Claim the making of an entry against other runs, for as long as the context lasts.

        The context's value is False if another run has the claim. Where no claim can be made it is
        True: the worst that follows is a model that is trained twice.

        Args:
            name: the key of the entry.
            owner: a name; an owner takes over its own earlier claim.
        """


@dataclass(frozen=True)
class Folder:
    """Entries as folders, which are made under another name and then renamed.

    A claim is a lock that the operating system takes away from a process that dies; machines that
    share the folder share locks where the file system does (NFS 4 and Lustre with flock).

    Args:
        root: made when something is first stored.
    """

    root: Path
    pause: ClassVar[float] = 0.2

    def _folder(self, name: str) -> Path:
        return self.root / name[:2] / name

    def holds(self, name: str) -> bool:
        """See `Storage`."""
        return (self._folder(name) / ENTRY).is_file()

    def entry(self, name: str) -> bytes | None:
        """See `Storage`."""
        folder = self._folder(name)
        return (folder / ENTRY).read_bytes() if folder.exists() else None

    def part(self, name: str, part: str, sha256: str) -> bytes:
        """See `Storage`."""
        return (self._folder(name) / part).read_bytes()

    def fits(self, name: str, part: str, sha256: str) -> bool:
        """See `Storage`."""
        with (self._folder(name) / part).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256

    def put(self, name: str, parts: Mapping[str, bytes]) -> bool:
        """See `Storage`."""
        folder = self._folder(name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_UNFINISHED))
        try:
            for part, content in parts.items():
                with (scratch / part).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            os.rename(scratch, folder)
        except BaseException as error:
            shutil.rmtree(scratch, ignore_errors=True)
            if isinstance(error, OSError) and folder.exists():
                return False
            raise
        return True

    def remove(self, name: str) -> None:
        """See `Storage`."""
        shutil.rmtree(self._folder(name), ignore_errors=True)

    def entries(self) -> Iterator[Listed]:
        """See `Storage`."""
        for path in self.root.glob(f"??/*/{ENTRY}"):
            try:
                size = sum(part.stat().st_size for part in path.parent.iterdir())
                yield Listed(path.parent.name, path.read_bytes(), size, path.stat().st_mtime)
            except OSError:
                continue

    def sweep(self, older_than: float) -> None:
        """See `Storage`."""
        for scratch in self.root.glob(f"??/{_UNFINISHED}*"):
            if _old(scratch, older_than):
                shutil.rmtree(scratch, ignore_errors=True)
        for claim in self.root.glob(f"??/{_CLAIM}*"):
            if _old(claim, older_than) and (handle := _locked(claim)) is not None:
                _release(claim, handle)

    @contextmanager
    def claim(self, name: str, owner: str) -> Iterator[bool]:
        """See `Storage`; the operating system knows the owner."""
        path = self.root / name[:2] / f"{_CLAIM}{name}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = _locked(path)
        except OSError:  # a full disk, or a file system without locks
            yield True
            return
        if handle is None:
            yield fcntl is None
            return
        try:
            yield True
        finally:
            _release(path, handle)


def _old(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime > seconds
    except OSError:
        return False


def _locked(path: Path) -> int | None:
    """A handle that holds the lock of a file; None if another one holds it, or there are no locks.

    Raises:
        OSError: if the file system has no locks.
    """
    if fcntl is None:
        return None
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process that held it before may have removed the file meanwhile.
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _release(path: Path, handle: int) -> None:
    with suppress(OSError):
        path.unlink()
    os.close(handle)
