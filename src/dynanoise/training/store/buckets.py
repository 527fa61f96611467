"""Storage at any address that fsspec opens: s3://, gs://, abfs:// and others.

An entry is complete with its `ENTRY`, which is written last; an object store shows an object whole
or not at all. The other parts carry their SHA-256 in their names, so that of two machines that
write the same entry neither mixes its parts with the other's.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from dynanoise.core.errors import MissingExtraError, StoreError
from dynanoise.core.extras import missing_extra, require
from dynanoise.training.store.storage import ENTRY, Listed

log = logging.getLogger(__name__)

_CLAIMS = "claims"
_FLAT = {"abfs", "abfss", "adl", "az", "gcs", "gs", "memory", "oci", "oss", "r2", "s3", "s3a"}
"""Schemes without folders, where none need be made."""


@dataclass(frozen=True)
class Bucket:
    """Entries as objects under a common prefix.

    A claim is an object that says until when it holds, and is renewed as long as its owner lives.
    Claims are compared by clocks, so machines whose clocks differ by more than a quarter
    of ``lease`` may train a model twice; so may one that was stopped for longer than it.

    Args:
        url: "SCHEME://BUCKET/FOLDER", see `storage.place`. Credentials and endpoints are the file
            system's own settings and are not kept here.
        lease: seconds after which the claim of a machine that died ends, > 0.
    """

    url: str
    lease: float = 120.0

    @property
    def pause(self) -> float:
        """See `Storage`."""
        return min(2.0, self.lease / 4)

    def _path(self, *parts: str) -> str:
        return "/".join((_root(self.url), *parts))

    def _part(self, name: str, part: str, sha256: str) -> str:
        kind = PurePosixPath(part)
        return self._path(name[:2], name, f"{kind.stem}-{sha256[:16]}{kind.suffix}")

    def holds(self, name: str) -> bool:
        """See `Storage`."""
        return self.entry(name) is not None

    def entry(self, name: str) -> bytes | None:
        """See `Storage`.

        Raises:
            StoreError: if the store cannot be reached; so do all others here but `put`.
        """
        try:
            return self._read(self._path(name[:2], name, ENTRY))
        except FileNotFoundError:
            return None

    def part(self, name: str, part: str, sha256: str) -> bytes:
        """See `Storage`. A part that was copied here from a folder has no digest in its name."""
        try:
            return self._read(self._part(name, part, sha256))
        except FileNotFoundError:
            return self._read(self._path(name[:2], name, part))

    def fits(self, name: str, part: str, sha256: str) -> bool:
        """See `Storage`: by name alone, because a large part would have to be fetched."""
        paths = self._part(name, part, sha256), self._path(name[:2], name, part)
        with self._reading() as files:
            return any(files.exists(path) for path in paths)

    def put(self, name: str, parts: Mapping[str, bytes]) -> bool:
        """See `Storage`.

        Raises:
            OSError: if it cannot be written.
        """
        digests = json.loads(parts[ENTRY])["sha256"]
        try:
            files = _files(self.url)
            if not _flat(self.url):
                files.makedirs(self._path(name[:2], name), exist_ok=True)
            for part, sha256 in digests.items():
                files.pipe_file(self._part(name, part, sha256), parts[part])
            if files.exists(self._path(name[:2], name, ENTRY)):
                return False
            files.pipe_file(self._path(name[:2], name, ENTRY), parts[ENTRY])
        except Exception as error:  # the libraries' errors have no common base
            raise OSError(_reason(error)) from error
        return True

    def remove(self, name: str) -> None:
        """See `Storage`. `ENTRY` goes first, so that no reader meets an entry without its parts."""
        with self._reading() as files:
            folder = self._path(name[:2], name)
            paths = sorted(files.find(folder), key=lambda path: not path.endswith(f"/{ENTRY}"))
            for path in paths:
                self._remove(path)

    def entries(self) -> Iterator[Listed]:
        """See `Storage`."""
        for name, parts in self._listed().items():
            try:
                text = self._read(self._path(name[:2], name, ENTRY)) if ENTRY in parts else None
            except FileNotFoundError:
                continue
            if text is not None:
                size = sum(int(about.get("size") or 0) for about in parts.values())
                yield Listed(name, text, size, _made(parts[ENTRY]))

    def sweep(self, older_than: float) -> None:
        """See `Storage`."""
        for name, parts in self._listed().items():
            newest = max(map(_made, parts.values()))
            if ENTRY not in parts and 0 < newest < time.time() - older_than:
                self.remove(name)

    @contextmanager
    def claim(self, name: str, owner: str) -> Iterator[bool]:
        """See `Storage`."""
        path = self._path(_CLAIMS, f"{name}.json")
        if not self._taken(path, owner):
            yield False
            return
        ended = threading.Event()
        keeper = threading.Thread(target=self._renew, args=(path, owner, ended), daemon=True)
        keeper.start()
        try:
            yield True
        finally:
            ended.set()
            keeper.join()
            if self._owner(path)[0] == owner:
                self._remove(path)

    def _text(self, owner: str) -> bytes:
        return json.dumps({"owner": owner, "until": time.time() + self.lease}).encode()

    def _taken(self, path: str, owner: str) -> bool:
        """True if the claim is this run's now, or cannot be made at all."""
        files = _files(self.url)
        for attempt in range(3):
            try:
                if not _flat(self.url):
                    files.makedirs(self._path(_CLAIMS), exist_ok=True)
                files.pipe_file(path, self._text(owner), mode="create")
            except Exception as error:
                theirs, until = self._owner(path)
                if theirs is None and attempt < 2:  # given back this moment
                    continue
                if theirs is None:
                    log.warning("no claim can be made for what is trained (%s)", _reason(error))
                    return True
                if theirs != owner and until > time.time():
                    return False
                self._remove(path)  # of a run that died, or of an earlier attempt
            else:
                return True
        return False

    def _owner(self, path: str) -> tuple[str | None, float]:
        """The owner of a claim and the end of its lease; None if there is no claim."""
        try:
            claim = json.loads(_files(self.url).cat_file(path))
            return str(claim["owner"]), float(claim["until"])
        except Exception:
            return None, 0.0

    def _renew(self, path: str, owner: str, ended: threading.Event) -> None:
        while not ended.wait(self.lease / 4):
            try:
                _files(self.url).pipe_file(path, self._text(owner))
            except Exception as error:
                log.warning("a claim could not be renewed (%s)", _reason(error))

    def _remove(self, path: str) -> None:
        try:
            _files(self.url).rm_file(path)
        except FileNotFoundError:
            pass
        except Exception as error:
            log.warning("%s could not be removed (%s)", path, _reason(error))

    def _read(self, path: str) -> bytes:
        with self._reading() as files:
            content: bytes = files.cat_file(path)
        return content

    def _listed(self) -> dict[str, dict[str, Any]]:
        """The parts of each entry by name, with the file system's details of each."""
        entries: dict[str, dict[str, Any]] = {}
        try:
            with self._reading() as files:
                listed = files.find(self._path(), detail=True)
        except FileNotFoundError as error:
            if not _flat(self.url):
                return {}
            raise StoreError(f"There is no bucket of {self.url}.", "Make it first.") from error
        for path, about in listed.items():
            name, _, part = path.removeprefix(self._path()).lstrip("/")[3:].partition("/")
            if part and "/" not in part and len(name) == 64:
                entries.setdefault(name, {})[part] = about
        return entries

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        """The file system; its errors become a StoreError, which is not taken for damage."""
        try:
            yield _files(self.url)
        except (FileNotFoundError, StoreError, MissingExtraError):
            raise
        except Exception as error:  # the libraries' errors have no common base
            raise StoreError(
                f"The store {self.url} cannot be read ({_reason(error)}).",
                "Check its address, the connection and your credentials for it.",
            ) from error


def _flat(url: str) -> bool:
    return url.partition("://")[0] in _FLAT


def _reason(error: Exception) -> str:
    """The first line of an error; those of the libraries name addresses, and no credentials."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _made(about: Mapping[str, Any]) -> float:
    """The time an object was written, in seconds since the epoch; 0 if it is unknown."""
    for name in ("LastModified", "last_modified", "mtime", "created", "updated"):
        value = about.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0


@lru_cache(maxsize=8)
def _opened(url: str) -> tuple[Any, str]:
    core = require("fsspec.core", f"The store {url}")
    try:
        # Other machines change listings at any time.
        files, root = core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        scheme = url.partition("://")[0]
        message = f"The store {url} needs a package that is not installed ({_reason(error)})."
        if scheme in ("s3", "s3a"):
            raise missing_extra("remote", message) from error
        raise MissingExtraError(
            message, f"Install the package that fsspec names for {scheme}://."
        ) from error
    except ValueError as error:
        raise StoreError(f"fsspec cannot open {url} ({_reason(error)}).", "Check it.") from error
    return files, str(root).rstrip("/")


def _files(url: str) -> Any:
    return _opened(url)[0]


def _root(url: str) -> str:
    return _opened(url)[1]
