"""Files that the gateway follows: a change counts within a second, without a restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

_SECONDS = 1.0
"""Time after which a change counts, at most."""

_Version = tuple[int, ...] | None


class Followed:
    """Files whose changes are noticed.

    Args:
        paths: the files.
        clock: seconds, monotonic.
    """

    def __init__(self, *paths: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._paths, self._clock = paths, clock
        self._versions, self._checked = self._read(), 0.0

    def changed(self) -> bool:
        """Whether a file has changed since the last call; looks once a second."""
        now = self._clock()
        if now - self._checked < _SECONDS:
            return False
        self._checked = now
        before, self._versions = self._versions, self._read()
        return self._versions != before

    def look_again(self) -> None:
        """Let the next look find a change, for content that did not count yet."""
        self._versions = []

    def _read(self) -> list[_Version]:
        return [_version(path) for path in self._paths]


def _version(path: Path) -> _Version:
    """Times, size and number of a file: others where it was changed, or a link leads elsewhere."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
