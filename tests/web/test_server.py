"""The server of the page: its own files, to this machine alone."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from docs.generate import ROOT
from dynanoise.core.errors import InputError
from dynanoise.web.server import HOST, make_server, read_page

SITE = ROOT / "src" / "dynanoise" / "web"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with make_server(0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running.server_port
        running.shutdown()
        thread.join()


def _ask(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("path", "kind", "file"),
    [
        ("/", "text/html; charset=utf-8", "index.html"),
        ("/?T=4#simulator", "text/html; charset=utf-8", "index.html"),
        ("/lib/roc.js", "text/javascript; charset=utf-8", "lib/roc.js"),
        ("/style.css", "text/css; charset=utf-8", "style.css"),
        ("/data.json", "application/json", "data.json"),
        ("/icon.svg", "image/svg+xml", "icon.svg"),
    ],
)
def test_files_are_served_as_what_they_are(port: int, path: str, kind: str, file: str) -> None:
    status, headers, body = _ask(port, path)
    assert (status, headers["Content-Type"]) == (200, kind)
    assert body == (SITE / file).read_bytes()
    assert headers["X-Content-Type-Options"] == "nosniff"
    status, headers, body = _ask(port, path, "HEAD")
    assert status == 200 and body == b"" and int(headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    "path",
    ["/serve.py", "/__init__.py", "/../__init__.py", "/%2e%2e/cli.py", "//etc/passwd", "/lib/",
     "/lib/README.md", "/nothing.html"],
)  # fmt: skip
def test_nothing_else_is_served(port: int, path: str) -> None:
    assert _ask(port, path)[0] == 404


def test_other_methods_are_refused(port: int) -> None:
    assert _ask(port, "/", "POST")[0] == 501


def test_a_visitor_who_leaves_midway_is_no_event(
    port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for said in (b"", b"GET / HT", b"GET /data.json HTTP/1.1\r\n\r\n" * 40):
        with socket.create_connection((HOST, port)) as leaving:
            leaving.sendall(said)
            time.sleep(0.05)
            # Closed without a farewell: what is not read yet is thrown away.
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.2)
    assert _ask(port, "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_it_listens_on_this_machine_alone() -> None:
    with make_server(0) as running:
        assert running.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_an_error_with_a_remedy() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(InputError, match=r"cannot be opened .* --port 0"):
            make_server(taken.getsockname()[1])


def test_the_page_names_no_file_that_is_not_there_and_no_other_host() -> None:
    pages = read_page()
    assert sum(map(len, pages.values())) < 500_000
    for name, content in pages.items():
        text = content.decode()
        # The namespaces of SVG and the paper's address, which is a link, are not requested.
        addresses = {
            part.split('"')[0].split("'")[0].split()[0]
            for part in text.split("http")[1:]
            if part.startswith(("://", "s://"))
        }
        links = ("s://arxiv.org/abs/",) if name in ("data.json", "index.html") else ()
        known = ("://www.w3.org/", *links)
        assert all(one.startswith(known) for one in addresses), (name, addresses)
        if name.endswith(".js"):
            folder = "lib/" if name.startswith("lib/") else ""
            for line in text.splitlines():
                if ' from "./' in line and not line.lstrip().startswith(("*", "/")):
                    target = line.split('from "./')[1].split('"')[0]
                    assert folder + target in pages, f"{name} imports {target}"
