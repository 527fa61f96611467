"""HTTP to a server that is audited: one connection, an API key, and patience."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from dynanoise.core.errors import InputError, SecretError
from dynanoise.noise.keys import Secret

KEY = "env:DYNANOISE_API_KEY"
"""Where the API key is, unless somebody says otherwise; there it may be missing."""

_ANSWER = 64 << 20
"""Bytes that are read of an answer."""

_PATIENCE = 900.0
"""Seconds that a server may tell us to wait."""

_FAILURES = 5
"""Connections lost, or servers not ready, one after the other, before it is given up."""


class Exchange:
    """Requests to a model's URL, one after the other; redirects are not followed.

    Args:
        url: ``http://HOST:PORT/v2/models/NAME``, or with ``/versions/V`` behind it.
        key: where the API key is, as `Secret` takes it; None for `KEY` if it is there.
        timeout: seconds for an answer.
        sleep: waits; the tests' clock.

    Attributes:
        path: of the model.

    Raises:
        InputError: if the URL is no model's, or there is no key where it should be.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._address, self.path = _parsed(url)
        self._key = _key(key)
        self._timeout, self._sleep = timeout, sleep
        self._connection: http.client.HTTPConnection | None = None

    @property
    def name(self) -> str:
        """The model's, as the URL has it."""
        return unquote(self.path.split("/")[3])

    def __call__(
        self, method: str, path: str, body: bytes | None = None, headers: Any = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and headers with small letters; waits where it is told to.

        Raises:
            InputError: if there is no answer, or not for a long time.
        """
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        if self._key is not None:
            sent["Authorization"] = f"Bearer {self._key}"
        failures = 0
        while True:
            try:
                status, said, told = self._once(method, path, body, sent)
            except ssl.SSLCertVerificationError:
                raise InputError(
                    f"{self._where} has no certificate that is trusted here.",
                    "Set SSL_CERT_FILE to the authority that signed it.",
                ) from None
            except (OSError, http.client.HTTPException) as error:
                self.close()
                failures += 1
                if failures > _FAILURES:
                    raise InputError(
                        f"{self._where} does not answer ({type(error).__name__}).",
                        "Check the URL, and that the server runs.",
                    ) from None
                self._sleep(0.25 * 2**failures)
                continue
            if status not in (429, 503):
                return status, said, told
            failures += status == 503
            if failures > _FAILURES:
                raise refused(path, status, said)
            self._sleep(_wait(told.get("retry-after"), said))

    def _once(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, Mapping[str, str]]:
        if self._connection is None:
            scheme, host, port = self._address
            kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
            self._connection = kind(host, port, timeout=self._timeout)
        self._connection.request(method, path, body, dict(headers))
        with self._connection.getresponse() as response:
            said = response.read(_ANSWER + 1)
            if len(said) > _ANSWER:
                self.close()
                raise InputError("An answer is longer than 64 MiB.", "Ask a model with less.")
            told = {name.lower(): value for name, value in response.getheaders()}
            return response.status, said, told

    @property
    def _where(self) -> str:
        scheme, host, port = self._address
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def close(self) -> None:
        """Ends the connection; another question opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _parsed(url: str) -> tuple[tuple[str, str, int], str]:
    """Scheme, host and port; and the path."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, port = urlsplit(""), 0
    path = parts.path.rstrip("/")
    pieces = path.split("/")
    fits = pieces[:3] == ["", "v2", "models"] and all(pieces[3:])
    fits = fits and (len(pieces) == 4 or (len(pieces) == 6 and pieces[4] == "versions"))
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in ("http", "https") or not parts.hostname or not fits or not plain:
        # Not shown: it may hold a password.
        raise InputError(
            "--url is not that of a model.",
            "Pass http://HOST:PORT/v2/models/NAME, without user, password or query.",
        )
    if not path.isascii() or any(one.isspace() or not one.isprintable() for one in path):
        raise InputError("--url holds signs that no URL has.", "Write them as %XX.")
    return (parts.scheme, parts.hostname, port), path


def _key(reference: str | None) -> str | None:
    try:
        key = Secret(reference or KEY).text()
    except SecretError as error:
        if reference is None:
            return None
        raise InputError(error.problem, "Put the API key there.") from None
    except InputError:
        raise InputError(
            "--api-key is no reference to a key.",
            f"Pass env:NAME or file:PATH, such as {KEY}, never the key itself.",
        ) from None
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError("The API key holds signs that no header takes.", "Make another.")
    return key


def printable(text: str) -> str:
    """What a server said, for a terminal.

    >>> printable("a" + chr(27) + "[2J")
    'a?[2J'
    """
    return "".join(one if one.isprintable() else "?" for one in text[:200])


def refused(path: str, status: int, body: bytes) -> InputError:
    """What a status that is no success means."""
    remedies = {
        401: "Pass --api-key env:NAME or file:PATH with a key that it knows.",
        403: "Pass --api-key env:NAME or file:PATH with a key that may ask.",
        404: "Check the model's name in --url.",
        413: "It takes no record as large as these.",
    }
    told = printable(body[:300].decode("utf-8", "replace"))
    return InputError(
        f"{path} was answered with {status}: {told}",
        remedies.get(status, "Look into the server's log."),
    )


def _wait(retry_after: str | None, body: bytes) -> float:
    """Seconds that the server asks for.

    Raises:
        InputError: if they are too many.
    """
    seconds = float(retry_after) if (retry_after or "").isdigit() else 1.0  # type: ignore[arg-type]
    if seconds > _PATIENCE:
        raise InputError(
            f"The server's own budget is spent; it says to come again in {seconds:.0f} s "
            f"({printable(body[:200].decode('utf-8', 'replace'))}).",
            "Come again, give this client a larger budget, or pass a smaller --budget.",
        )
    return max(seconds, 0.05)
