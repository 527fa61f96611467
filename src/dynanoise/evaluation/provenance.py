"""The software and hardware a Result was made with. No names of machines, users or folders."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("dynanoise", "numpy", "scipy", "scikit-learn", "torch", "opacus", "pillow")


def versions(also: Iterable[str] = ()) -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers.

    Args:
        also: packages that only this run needs.

    >>> sorted(versions())[:2]
    ['dynanoise', 'numpy']
    """
    found = {"python": platform.python_version()}
    for name in (*_PACKAGES, *also):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores and memory (GiB) of this machine.

    >>> sorted(hardware())
    ['cores', 'memory_gib', 'processor', 'system']
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def device(name: str) -> str:
    """The processor's word for "cpu", the card's own name for a GPU.

    >>> device("cpu")
    'cpu'
    """
    if name == "cpu":
        return name
    from dynanoise.training.loop import device_name

    return device_name(name)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return round(size / 2**30, 1)


def peak_gib() -> float:
    """The largest resident memory of this process so far, in GiB; not on Windows."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 2)
