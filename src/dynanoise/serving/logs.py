"""Structured logs: a JSON object a line, of fields that are known to hold nothing private.

A thread writes the lines, so that a reader that stalls never delays a response: lines that do not
fit into memory are dropped and counted. Refusals that repeat are thinned.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from dynanoise.serving.tracing import trace_id

_LOGGER = "dynanoise.gateway"

_LINES = 10_000
"""Lines that wait for a slow reader; further ones are dropped."""

_AT_ONCE = 256
"""Lines that are written by one call."""

_PAUSE_SECONDS = 0.01
"""Time in which lines gather before they are written."""

_FLUSH_SECONDS = 1.0
"""Longest wait for a reader at the end."""

_REPEATED = 20
"""Lines a second of one kind, such as refusals of one client for one reason."""

_KINDS = 4096
"""Kinds of lines that are counted at the same time."""

_THINNED = ("refused", "failed", "cancelled", "store_failed", "upstream_failed", "library")


class JsonLines(logging.Formatter):
    """Formatter of the gateway's events with their fields, and of other libraries without text.

    Libraries quote their arguments: a traceback or message may hold a client's input or a model's
    output. Of their events only the library's name, the line and the class of an exception remain.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        own_event = record.name == _LOGGER
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.msg if own_event else "library",
        }
        if own_event:
            fields |= getattr(record, "fields", {})
        else:
            fields |= {"library": record.name, "line": record.lineno}
        if record.exc_info and record.exc_info[0]:
            fields["exception"] = record.exc_info[0].__name__
        if getattr(record, "suppressed", 0):
            fields["suppressed"] = record.suppressed  # type: ignore[attr-defined]
        return json.dumps(fields)


class Thinning(logging.Filter):
    """A filter that passes at most 20 lines a second of one kind, and counts the others.

    The count is in the field ``suppressed`` of the next line of that kind.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[Any, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line passes."""
        event = record.msg if record.name == _LOGGER else "library"
        if event not in _THINNED:
            return True
        fields = getattr(record, "fields", {})
        kind = (record.name, event, *(fields.get(name) for name in ("route", "client", "reason")))
        now = self._clock()
        begun, lines = self._kinds.pop(kind, (now, 0))
        if now - begun >= 1:
            record.suppressed = max(0, lines - _REPEATED)
            begun, lines = now, 0
        self._kinds[kind] = (begun, lines + 1)
        if len(self._kinds) > _KINDS:
            del self._kinds[next(iter(self._kinds))]
        return lines < _REPEATED


class BackgroundLines(logging.Handler):
    """A handler whose lines a thread writes.

    Args:
        file: file descriptor to write to.
    """

    def __init__(self, file: int) -> None:
        super().__init__()
        self._file = file
        self._lines: queue.Queue[bytes] = queue.Queue(_LINES)
        self._dropped = 0
        threading.Thread(target=self._write, name="logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, or count it as dropped."""
        try:
            self._lines.put_nowait(self.format(record).encode() + b"\n")
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        # By the descriptor: a stream's lock would be held where the process ends.
        while True:
            lines = [self._lines.get()]
            # To wake this thread for each line would take longer than to write it.
            time.sleep(_PAUSE_SECONDS)
            while len(lines) < _AT_ONCE and not self._lines.empty():
                lines.append(self._lines.get())
            self.acquire()  # `emit` holds it, too
            dropped, self._dropped = self._dropped, 0
            self.release()
            text = b"".join(lines)
            if dropped:
                event = logging.LogRecord(_LOGGER, logging.WARNING, "", 0, "dropped", None, None)
                event.fields = {"lines": dropped}
                text = self.format(event).encode() + b"\n" + text
            with suppress(OSError):  # the reader has gone
                while text:
                    text = text[os.write(self._file, text) :]
            for _ in lines:
                self._lines.task_done()

    def flush(self) -> None:
        """Wait until the lines are written, at most a second."""
        end = time.monotonic() + _FLUSH_SECONDS
        while self._lines.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.001)


def start_logging(stream: TextIO | None = None) -> None:
    """Send all logs of this process to one stream; of other libraries from warnings on.

    Args:
        stream: written to at once; None for standard error, written to by a thread.
    """
    handler: logging.Handler
    if stream is None:
        handler = BackgroundLines(sys.stderr.fileno())
    else:
        handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    handler.addFilter(Thinning())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_LOGGER).setLevel(logging.INFO)
    # A failure to write a log must not print the record.
    logging.raiseExceptions = False


def flush_logs() -> None:
    """Wait until the lines so far are written, at most a second."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def log(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with fields: names, counts and times only; and the trace id of the request."""
    trace = trace_id()
    if trace is not None:
        fields["trace_id"] = trace
    logging.getLogger(_LOGGER).log(level, event, extra={"fields": fields})
