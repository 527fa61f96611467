"""How the kernel is compiled: ahead on first use, kept on disk, and announced."""

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

from dynanoise.noise import portable

# Without fastmath: no sum is reordered, no product and sum share one rounding. With FAST the latter
# may, and x / y may be x (1 / y). error_model="numpy"
# makes x / 0 what IEEE 754 says, instead of a branch. nogil lets threads run side by side.
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


@cache
def sources() -> str:
    """SHA-256 over every file that the kernel is compiled from.

    numba keeps compiled code by the one file that an entry stands in. Entries close over this
    text, which numba looks at too, so that code from other versions of their parts is not used.
    """
    files = [*Path(__file__).parent.glob("*.py"), Path(portable.__file__)]
    digest = sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _Kept(FunctionCache):
    """numba's files of compiled code, without which answers are made all the same.

    numba raises where a full disk leaves half a file, at that call and for good at all later ones.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What is kept, or None; files that cannot be read are begun anew."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # unpickling what is no pickle raises anything
            with suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps it if there is room."""
        with suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


def entry(function: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled function that Python calls, kept on disk where numba finds a folder to write in.

    That is ``NUMBA_CACHE_DIR``, ``__pycache__`` beside the source, or the user's cache folder.
    """
    made = exact(function)
    with suppress(RuntimeError):  # no folder to write in: it is compiled in every process
        made._cache = _Kept(function)  # type: ignore[no-untyped-call]
    compiled: Callable[..., Any] = made
    return compiled


class _Announcement(event.Listener):
    """Says once that compiling takes a while. Code that is found on disk is no such event."""

    said = False

    def on_start(self, event: Any) -> None:
        # A listener's error would stop other packages' compiling; a module may be None.
        module = getattr(event.data.get("dispatcher"), "__module__", None) or ""
        if not self.said and module.startswith(__package__):
            self.said = True
            # A service may have no stderr (None), or have closed it.
            with suppress(AttributeError, OSError, ValueError):
                sys.stderr.write("dynanoise: compiling the kernel, some seconds, once.\n")
                sys.stderr.flush()

    def on_end(self, event: Any) -> None:
        """Nothing: the call goes on."""


_announcement = _Announcement()
event.register("numba:compile", _announcement)  # type: ignore[no-untyped-call]


def announce(wanted: bool) -> None:
    """Whether compiling is said on standard error, as it is unless somebody logs there."""
    _announcement.said = not wanted
