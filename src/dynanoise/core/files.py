"""Writing files atomically: a file appears whole or not at all; and their digests."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dynanoise.core.errors import InputError


@contextmanager
def writing(path: Path, remedy: str = "Name another file.") -> Iterator[None]:
    """Turn an error of the file system into one that names the file and a remedy.

    Args:
        path: the file that is written inside the ``with`` statement.
        remedy: the sentence that says what to do.

    Raises:
        InputError: if it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}).", remedy) from error


def file_sha256(path: Path, remedy: str) -> str:
    """Compute the SHA-256 of a file.

    Args:
        path: the file.
        remedy: the sentence that says what to do if it cannot be read.

    Returns:
        64 hexadecimal digits.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).", remedy) from error


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file through a temporary one beside it, which an interruption removes.

    Args:
        path: the file; replaced if it exists.
        content: all bytes of the file.

    Raises:
        OSError: if it cannot be written; ``path`` is then unchanged.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner can read; results are meant to be shared.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> str:
    """Write indented JSON, and make the folders above it.

    Args:
        path: the file; replaced if it exists.
        value: anything that ``json.dumps`` takes.

    Returns:
        The text of the file.

    Raises:
        OSError: if it cannot be written.
    """
    text = json.dumps(value, indent=1) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
    return text


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
