"""Data sets of the Hugging Face hub, and whether the hub can be reached."""

from __future__ import annotations

import socket
import threading
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from dynanoise.core.errors import MissingExtraError
from dynanoise.core.extras import require

PATIENCE = 3.0
"""Seconds after which a hub that does not respond counts as out of reach."""


class HubError(Exception):
    """A data set that the hub does not give; its text is the reason, in one line."""


def tables(hub_id: str) -> dict[str, Any]:
    """Fetch the parts of a data set, as the library `datasets` prepares them.

    Where the hub is out of reach, only the library's cache of earlier calls is read.

    Args:
        hub_id: "OWNER/NAME", or "OWNER/NAME:CONFIGURATION" where it has several.

    Returns:
        A ``pyarrow.Table`` for each part, such as "train"; images stay encoded.

    Raises:
        HubError: if it cannot be fetched, or has no part called train.
        MissingExtraError: if `datasets` is not installed.
    """
    library = require("datasets", f"Fetching {hub_id} from the hub")
    name, _, configuration = hub_id.partition(":")
    try:
        if reachable():
            parts = library.load_dataset(name, *([configuration] if configuration else []))
        else:
            parts = _cached(name, configuration)
        if "train" not in parts:
            raise ValueError(f"it has the parts {', '.join(map(str, parts))}, and no train")
        # As Arrow the library leaves images encoded: decoding is the same for files and the hub.
        return {str(part): parts[part].with_format("arrow")[:] for part in parts}
    except MissingExtraError:
        raise
    except Exception as error:  # the library's and its HTTP client's errors have no common base
        raise HubError(reason(error)) from error


def _cached(name: str, configuration: str) -> Any:
    """The newest version in the library's cache, read without a look at the network.

    The library's switch for this, HF_HUB_OFFLINE, is for the whole process and read at its import.
    """
    cache = require("datasets.packaged_modules.cache.cache", "Reading the cache of the hub")
    try:
        builder = cache.Cache(
            repo_id=name,
            dataset_name=name.rpartition("/")[2],
            config_name=configuration or None,
            version="auto",
            hash="auto",
        )
        builder.download_and_prepare()
        return builder.as_dataset()
    except Exception as error:
        raise ConnectionError("the hub is out of reach") from error


def reason(error: Exception) -> str:
    """The type and the first line of an error's text.

    >>> reason(ValueError("no such name")), reason(OSError())
    ('ValueError: no such name', 'OSError')
    """
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__


def reachable() -> bool:
    """True if the hub responds within `PATIENCE`; its libraries would try for half a minute."""
    if urllib.request.getproxies():
        return True  # only the proxy may be able to resolve its name
    endpoint = urlsplit(require("huggingface_hub.constants", "Fetching data").ENDPOINT)
    address = (endpoint.hostname or "", endpoint.port or (80 if endpoint.scheme == "http" else 443))
    responded: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection(address, timeout=PATIENCE).close()
            responded.append(True)
        except OSError:
            pass

    # In a thread, because looking up a name has no timeout of its own.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(responded)
