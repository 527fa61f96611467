"""How a worker process begins and ends."""

from __future__ import annotations

import os
import signal
import threading
import time


def begin(parent: int) -> None:
    """Leaves Ctrl-C to the driver, and ends this worker when the driver is gone.

    Args:
        parent: the driver's process id.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """Ends this worker when its driver is gone, however it died."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
