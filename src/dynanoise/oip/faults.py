"""Refusals: errors of the protocol with a status, a reason and a text for the client."""

from __future__ import annotations

from dataclasses import dataclass

NEAR = "The budget for queries close to these is spent."
"""Message of a refusal by the limit `neighbourhood` of defense.yaml, by which clients know it."""


@dataclass
class Refused(Exception):
    """A request without a response.

    Args:
        status: HTTP status: 400, 401, 404, 405, 413, 429, 500 or 503.
        reason: one word for logs and metrics.
        message: for the client; never an input, an output, a secret or another program's text.
        retry_after: seconds after which the client may try again.

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
    """Refusal of a request that breaks the protocol, or does not fit the model."""
    return Refused(400, "request", message)


def invalid_json(body: bytes) -> Refused:
    """Refusal of a body that is not JSON; its text names the constants that some writers add.

    >>> str(invalid_json(b"[NaN]"))
    'The body is not valid JSON, which has no NaN and no Infinity: write null for a missing value.'
    """
    if b"NaN" in body or b"Infinity" in body:
        return bad(
            "The body is not valid JSON, which has no NaN and no Infinity: write null for a "
            "missing value."
        )
    return bad("The body is not valid JSON.")


def unavailable(reason: str, message: str) -> Refused:
    """Refusal because the model or the gateway cannot respond now."""
    return Refused(503, reason, message, retry_after=1.0)


def unusable(reason: str) -> Refused:
    """Refusal because the model's output cannot be defended; the log has the reason, one word."""
    return Refused(500, f"response_{reason}", "The model gave no usable output.")
