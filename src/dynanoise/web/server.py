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
"""Media types of the page's files by ending; a system's own table may lack or change some."""


def page_files(folder: Path) -> Iterator[Path]:
    """List the files of the page, relative to its folder, in order; Python files are left out.

    Args:
        folder: the folder of the page.

    Yields:
        Paths relative to ``folder``.

    >>> names = {path.as_posix() for path in page_files(Path(__file__).parent)}
    >>> {"index.html", "data.json", "lib/roc.js"} <= names, "serve.py" in names
    (True, False)
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in _TYPES:
            yield path.relative_to(folder)


def read_page() -> dict[str, bytes]:
    """Read the page's files, by name: `make site` writes them, `dynanoise demo` serves them."""
    with as_file(files("dynanoise.web")) as folder:
        return {path.as_posix(): (folder / path).read_bytes() for path in page_files(folder)}


class _Handler(SimpleHTTPRequestHandler):
    """Handler of GET and HEAD with files that were read beforehand, so no path leads elsewhere."""

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
        """Write nothing: visits are not logged."""


class _Server(ThreadingHTTPServer):
    """A server that takes closed connections for granted."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print errors, but for connections that a browser drops when it closes a page."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def make_server(port: int) -> ThreadingHTTPServer:
    """Make a server of the page on 127.0.0.1; it answers once `serve_forever` is called.

    Args:
        port: 0..65535; 0 takes any that is free, see the result's ``server_port``.

    Raises:
        InputError: if the port cannot be opened.
    """
    handler = partial(_Handler, read_page())
    try:
        return _Server((HOST, port), handler)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"Port {port} of {HOST} cannot be opened ({why}).",
            "Name another with --port, or --port 0 for any that is free.",
        ) from error
