"""Whether the hub can be asked, and what it says when it cannot."""

from __future__ import annotations

import socket
import threading
import urllib.request
from urllib.parse import urlsplit

from dynanoise.core.extras import require

PATIENCE = 3.0
"""Seconds until a hub that does not answer counts as out of reach."""


def reason(error: Exception) -> str:
    """An error as a few words in one line."""
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__


def reachable() -> bool:
    """False if the hub does not answer soon; its libraries would try for half a minute."""
    if urllib.request.getproxies():
        return True  # only the proxy may be able to resolve its name
    endpoint = urlsplit(require("huggingface_hub.constants", "Fetching data").ENDPOINT)
    address = (endpoint.hostname or "", endpoint.port or (80 if endpoint.scheme == "http" else 443))
    answered: list[bool] = []

    def knock() -> None:
        try:
            socket.create_connection(address, timeout=PATIENCE).close()
            answered.append(True)
        except OSError:
            pass

    # In a thread, because looking up a name has no timeout of its own.
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(answered)
