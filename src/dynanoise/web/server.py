"""The page's files, and a server for them on this machine alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from dynanoise.core.errors import InputError

HOST = "127.0.0.1"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
"""The kinds of files that belong to the page; a system's own table may lack or change some."""


def page_files(folder: Path) -> Iterator[Path]:
    """What belongs to the page, relative to its folder, in order: no Python, nothing hidden.

    >>> names = {path.as_posix() for path in page_files(Path(__file__).parent)}
    >>> {"index.html", "data.json", "lib/roc.js"} <= names, "serve.py" in names
    (True, False)
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in _TYPES:
            yield path.relative_to(folder)


def contents() -> dict[str, bytes]:
    """The page's files by name: what `make site` writes and `dynanoise demo` serves."""
    with as_file(files("dynanoise.web")) as folder:
        return {path.as_posix(): (folder / path).read_bytes() for path in page_files(folder)}


class _Handler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD with files that were read beforehand; there is no path to climb."""

    protocol_version = "HTTP/1.1"

    def __init__(self, pages: dict[str, bytes], *args: object) -> None:
        self._pages = pages
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        content = self._send()
        if content is not None:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self._send()

    def _send(self) -> bytes | None:
        name = self.path.partition("?")[0].lstrip("/") or "index.html"
        content = self._pages.get(name)
        if content is None:
            self.send_error(404)
            return None
        self.send_response(200)
        self.send_header("Content-Type", _TYPES[name[name.rindex(".") :]])
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        return content

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nobody's visits are written anywhere."""


class _Server(ThreadingHTTPServer):
    """A server to which a visitor who leaves is no error."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes a page drops its connections; anything else is a bug, and said."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def server(port: int) -> ThreadingHTTPServer:
    """A server of the page on 127.0.0.1 that answers once `serve_forever` is called.

    Args:
        port: 0..65535; 0 takes any that is free, see the result's ``server_port``.

    Raises:
        InputError: if the port cannot be had.
    """
    handler = partial(_Handler, contents())
    try:
        return _Server((HOST, port), handler)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"Port {port} of {HOST} cannot be had ({why}).",
            "Name another with --port, or --port 0 for any that is free.",
        ) from error
