"""TLS to a model on another server: whom the gateway trusts, and how it names itself."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any, NoReturn

from dynanoise.config.configuration import UpstreamTls
from dynanoise.core.errors import DynaNoiseError, InputError
from dynanoise.noise.keys import Secret
from dynanoise.serving.followed import Followed
from dynanoise.serving.logs import log


def tls_context(tls: UpstreamTls) -> ssl.SSLContext:
    """Make the settings of connections to the upstream.

    Args:
        tls: files of certificates, and of the private key, which only its owner may read.

    Returns:
        A context that checks the server's certificate and name, TLS 1.2 or later.

    Raises:
        InputError: if a file cannot be read or used, with the name of its setting.
        SecretError: if others may read the private key.
    """
    for name in ("ca", "certificate", "key"):
        path: Path | None = getattr(tls, name)
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            # The path is not shown: the key itself may stand in its place.
            _refuse(f"{name} cannot be read ({error.strerror})", "Name a file in PEM")
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except ssl.SSLError:
        _refuse("ca holds no certificate", "Name a file in PEM, with BEGIN CERTIFICATE")
    if tls.certificate is not None and tls.key is not None:
        Secret(f"file:{tls.key}").text()
        try:
            context.load_cert_chain(tls.certificate, tls.key, password=_refuse_passphrase)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                _refuse("key is not that of certificate", "Name the two that were made together")
            _refuse(
                "certificate or key is not one in PEM", "Name files in PEM, the right way round"
            )
    return context


class FollowedTls:
    """Settings of connections to the upstream that follow their files.

    New files count for new connections; files that cannot be used change nothing.

    Args:
        tls: files of certificates and of the private key.

    Raises:
        InputError: if a file cannot be read or used.
        SecretError: if others may read the private key.
    """

    def __init__(self, tls: UpstreamTls) -> None:
        paths = (tls.ca, tls.certificate, tls.key)
        self._tls, self._files = tls, Followed(*(path for path in paths if path is not None))
        self._context = tls_context(tls)

    def current(self) -> ssl.SSLContext:
        """Return the settings for the next connection."""
        if self._files.changed():
            try:
                self._context = tls_context(self._tls)
            except (DynaNoiseError, OSError):  # also where files are just being replaced
                log("upstream_tls_not_read", logging.ERROR)
            else:
                log("upstream_tls_read")
        return self._context


def describe_failure(error: BaseException | None) -> dict[str, str]:
    """Describe why there is no connection to the upstream, for the log; nothing in it is secret.

    Args:
        error: an error of aiohttp or of the system.

    Returns:
        "problem", and "reason": of TLS in OpenSSL's words, else the class of the error.
    """
    cause: Any = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return {"problem": "certificate_not_trusted", "reason": cause.verify_message}
    if isinstance(cause, ssl.SSLError):
        return {"problem": "tls", "reason": cause.reason or "unknown"}
    # A server that demands a certificate and gets none closes the connection, too.
    return {"problem": "connection", "reason": type(cause).__name__}


def _refuse_passphrase() -> str:
    # Else OpenSSL would ask at the terminal.
    _refuse("key has a passphrase", "Write it without one, readable by its owner alone")


def _refuse(problem: str, remedy: str) -> NoReturn:
    raise InputError(f"upstream_tls.{problem}.", f"{remedy}.") from None
