"""Where trained models are kept: a folder, or an address that fsspec opens."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from dynanoise.core.errors import InputError

Place = Path | str
"""A folder, or an address such as "s3://bucket/models"."""


def place(told: Place) -> Place:
    """A folder for a path or a file:// address, an address without a final slash for others.

    Raises:
        InputError: if the address names no bucket or host, or holds a password, a key or a query,
            which would stand in process lists and logs; the message shows none of it.

    >>> place("s3://bucket/models/"), place("file:///tmp/models"), place("models")
    ('s3://bucket/models', PosixPath('/tmp/models'), PosixPath('models'))
    """
    if isinstance(told, Path) or "://" not in told:
        return Path(told)
    try:
        parts = urlsplit(told)
        scheme, host = parts.scheme, parts.netloc
    except ValueError:
        scheme = host = ""
    if scheme == "file" and host in ("", "localhost"):
        return Path(unquote(parts.path))
    if not scheme or "@" in told or "?" in told or "#" in told:
        raise InputError(
            "The store's address holds a name with a password, a key or a query."
            if scheme
            else "The store's address cannot be read.",
            "Write SCHEME://BUCKET/FOLDER, and give credentials as the file system's own settings, "
            "such as AWS_PROFILE or FSSPEC_S3.",
        )
    if not host or scheme == "file":
        raise InputError(f"The store {told} names no bucket.", "Write SCHEME://BUCKET/FOLDER.")
    return told.rstrip("/")
