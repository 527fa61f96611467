"""The W3C trace context of a request, for the log and the upstream."""

from __future__ import annotations

import re
from contextvars import ContextVar

_FORM = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_CURRENT: ContextVar[str | None] = ContextVar("traceparent", default=None)


def begin_trace(traceparent: str | None) -> None:
    """Take the header traceparent of a request; one in another form counts as none.

    Args:
        traceparent: value of the header; nothing of it but hexadecimal digits is kept.

    >>> begin_trace("00-" + "ab" * 16 + "-" + "cd" * 8 + "-01")
    >>> trace_id()
    'abababababababababababababababab'
    >>> begin_trace("not of this form")
    >>> print(current_trace())
    None
    """
    usable = traceparent is not None and _FORM.fullmatch(traceparent)
    _CURRENT.set(traceparent if usable else None)


def current_trace() -> str | None:
    """The header traceparent of the request that is being worked on."""
    return _CURRENT.get()


def trace_id() -> str | None:
    """Its trace id, 32 hexadecimal digits."""
    trace = _CURRENT.get()
    return None if trace is None else trace[3:35]
