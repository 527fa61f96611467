"""What a client is told when it gets no answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Refused(Exception):
    """A request that is not answered.

    Args:
        status: of HTTP: 400, 401, 404, 413, 429, 500 or 503.
        reason: one word for logs and metrics.
        message: for the client; never an input, an output, a secret, or what another program said.
        retry_after: seconds after which asking again makes sense.

    >>> str(Refused(429, "rate", "Too many queries.", 1.5))
    'Too many queries.'
    """

    status: int
    reason: str
    message: str
    retry_after: float | None = None

    def __str__(self) -> str:
        return self.message


def bad(message: str) -> Refused:
    """A request that breaks the protocol, or does not fit the model."""
    return Refused(400, "request", message)


def unknown(message: str) -> Refused:
    """Something that is not served."""
    return Refused(404, "unknown", message)


def unavailable(reason: str, message: str) -> Refused:
    """A model that cannot be asked now."""
    return Refused(503, reason, message, retry_after=1.0)


def unusable(why: str) -> Refused:
    """A model's answer that cannot be defended; only the log says why, in one word."""
    return Refused(500, f"answer_{why}", "The model gave no usable answer.")
