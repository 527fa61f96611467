"""Compilation of the kernel by numba: flags, files of compiled code, and the message."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
from numba.core import event
from numba.core.caching import FunctionCache
from numba.extending import overload

from dynanoise.noise import cells, portable

# EXACT has no fastmath: no sum is reordered, and no product and sum share one rounding. FAST allows
# the latter, and x (1 / y) for x / y. error_model="numpy" gives x / 0 its IEEE 754 value instead of
# a branch. nogil lets threads run side by side.
EXACT: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
FAST: dict[str, Any] = {**EXACT, "fastmath": {"contract", "nsz", "arcp"}}

exact = numba.njit(**EXACT)
exact_inline = numba.njit(forceinline=True, **EXACT)
exact_whole = numba.njit(inline="always", **EXACT)
fast = numba.njit(**FAST)
fast_inline = numba.njit(forceinline=True, **FAST)


@overload(portable.choose, strict=False)  # its lambda has no annotations
def _choose(condition: Any, yes: Any, no: Any) -> Any:
    return lambda condition, yes, no: yes if condition else no


exp = exact_inline(portable.exp)
log = exact_inline(portable.log)
cos_sin = exact_inline(portable.cos_sin)


def source_files() -> list[Path]:
    """List the files that the kernel is compiled from, functions and constants, sorted."""
    modules = (cells.__file__, portable.__file__)
    return sorted([*Path(__file__).parent.glob("*.py"), *map(Path, modules)])


@cache
def source_digest() -> str:
    """Compute the SHA-256 over the files that the kernel is compiled from.

    numba keeps compiled code by the one file that defines an entry. Entries close over this text,
    which numba compares too, so that code from other versions of their parts is not used.

    Returns:
        64 hexadecimal digits.
    """
    digest = sha256()
    for path in source_files():
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _CodeFiles(FunctionCache):
    """numba's files of compiled code, whose failures are ignored.

    Plain numba raises where a full disk leaves half a file, at that call and at all later ones.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load compiled code, or None; files that cannot be read are written anew."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # unpickling damaged bytes raises any exception
            with suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save compiled code if there is room."""
        with suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


def entry(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that Python calls, and keep the code on disk.

    The folder is ``NUMBA_CACHE_DIR``, ``__pycache__`` beside the source, or the user's cache
    folder. Where none can be written, every process compiles.
    """
    dispatcher = exact(function)
    with suppress(RuntimeError):  # no folder to write to
        dispatcher._cache = _CodeFiles(function)  # type: ignore[no-untyped-call]
    compiled: Callable[..., Any] = dispatcher
    return compiled


class _Announcement(event.Listener):
    """Writes once that compiling takes a while; loading code from disk is not such an event."""

    silent = False

    def on_start(self, event: Any) -> None:
        # A listener's error would stop other packages' compiling; a module may be None.
        module = getattr(event.data.get("dispatcher"), "__module__", None) or ""
        if not self.silent and module.startswith(__package__):
            self.silent = True
            # A service may have no stderr (None), or have closed it.
            with suppress(AttributeError, OSError, ValueError):
                sys.stderr.write("dynanoise: compiling the kernel, some seconds, once.\n")
                sys.stderr.flush()

    def on_end(self, event: Any) -> None:
        """Do nothing."""


_announcement = _Announcement()
event.register("numba:compile", _announcement)  # type: ignore[no-untyped-call]


def announce(enabled: bool) -> None:
    """Turn the message about compiling on standard error on (the default) or off."""
    _announcement.silent = not enabled
