"""Structured logs: a JSON object a line, made of fields that are known to hold nothing private."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

_OWN = "dynanoise.gateway"


class JsonLines(logging.Formatter):
    """Own events with their fields; of other libraries only that they spoke.

    Libraries quote what they were given: a traceback or message may hold a client's input or a
    model's answer. So their messages are left out, and of exceptions only the class is told.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        own = record.name == _OWN
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.msg if own else "library",
        }
        if own:
            said |= getattr(record, "fields", {})
        else:
            said |= {"library": record.name, "line": record.lineno}
        if record.exc_info and record.exc_info[0]:
            said["exception"] = record.exc_info[0].__name__
        return json.dumps(said)


def begin(stream: TextIO | None = None) -> None:
    """Sends all logs of this process, from warnings on of other libraries, to one stream."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OWN).setLevel(logging.INFO)
    # A failure to write a log must not print the record.
    logging.raiseExceptions = False


def log(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Writes an event with fields: names, counts and times only."""
    logging.getLogger(_OWN).log(level, event, extra={"fields": fields})
