"""What becomes of a Ray cluster while a driver waits for it: nodes that die, a head that is gone.

Ray ends a driver that cannot reach the head for a minute, by `_exit`: no exception, no `finally`,
one line on standard error. The clock is in its C++ core (`gcs_rpc_client/rpc_client.h`) and cannot
be caught, so the head is asked here, and what is raised comes before it.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import Any

from dynanoise.core.errors import ClusterError

log = logging.getLogger(__name__)

_EXIT = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Ray's own setting: after so many seconds without its head, 60 unless set, it ends a process."""


class Watch:
    """Says which nodes are gone since the last look, and when the head is; for one connection.

    Args:
        ray: the module, connected.
    """

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self.head = str(ray.get_runtime_context().gcs_address)
        self.patience = patience()
        self.silent_since: float | None = None
        self.before, self.next = self._now(), 0.0

    def _now(self) -> dict[str, str]:
        nodes = (node for node in self.ray.nodes() if node["Alive"])
        return {node["NodeID"]: node.get("NodeManagerHostname", "") for node in nodes}

    def look(self) -> None:
        """Warns of nodes that are gone; looks once a second at most.

        Raises:
            ClusterError: if the head has not answered for so long.
        """
        if time.monotonic() < self.next:
            return
        # Ray's questions to a head that is gone never come back: they wait for the end.
        now = self._now() if self._answers() else self.before
        self.next = time.monotonic() + 1.0
        for name in self.before.keys() - now.keys():
            log.warning(
                "node %s/%s is gone; what it was training is done elsewhere",
                self.before[name],
                name[:6],
            )
        self.before = now

    def _answers(self) -> bool:
        asked = time.monotonic()
        try:
            knock(self.head)
        except OSError as error:
            self.silent_since = asked if self.silent_since is None else self.silent_since
            silent = time.monotonic() - self.silent_since
            if silent < self.patience:
                return False
            raise ClusterError(
                f"The cluster's head at {self.head} has not answered for {silent:.0f} seconds "
                f"({error}).",
                "Start the cluster again; what was finished is stored, and the same command goes "
                "on there.",
            ) from error
        self.silent_since = None
        return True


def patience() -> float:
    """Seconds a head may be silent: half of those after which Ray ends the process."""
    return float(os.environ.get(_EXIT) or 60) / 2


def knock(address: str | None) -> None:
    """Raises OSError where nobody listens at HOST:PORT; Ray itself would wait for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
