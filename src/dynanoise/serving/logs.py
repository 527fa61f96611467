"""Structured logs: a JSON object a line, of fields that are known to hold nothing private."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

_LOGGER = "dynanoise.gateway"


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
        return json.dumps(fields)


def start_logging(stream: TextIO | None = None) -> None:
    """Send all logs of this process to one stream; of other libraries from warnings on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_LOGGER).setLevel(logging.INFO)
    # A failure to write a log must not print the record.
    logging.raiseExceptions = False


def log(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with fields: names, counts and times only."""
    logging.getLogger(_LOGGER).log(level, event, extra={"fields": fields})
