"""`dynanoise demo`: the web page on this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from dynanoise.cli.output.folder import read_folder
from dynanoise.core.errors import InputError
from dynanoise.core.options import Option


def demo(
    *,
    port: Annotated[int, Option("Port of 127.0.0.1; 0 takes any that is free.")] = 8765,
    browser: Annotated[bool, Option("Open the page in the browser.")] = True,
    out: Annotated[
        Path | None,
        Option(
            "Folder to write the page's files into instead, for any static host.",
            metavar="DIR",
            read=read_folder,
        ),
    ] = None,
) -> None:
    """Show membership inference and the defense in the browser, from committed results.

    The page works offline: it is served to this machine alone and makes no other request.

    Examples:
        dynanoise demo
        dynanoise demo --out site
    """
    from dynanoise.web import server

    if not 0 <= port < 1 << 16:
        raise InputError(f"--port is {port}.", "Ports go from 0 to 65535.")
    if out is not None:
        _write(out)
        return
    with server.make_server(port) as running:
        address = f"http://{server.HOST}:{running.server_port}/"
        typer.echo(f"The page is at {address} (Ctrl-C ends it).")
        if browser:
            import webbrowser

            webbrowser.open(address)
        with suppress(KeyboardInterrupt):  # its usual end
            running.serve_forever()


def _write(folder: Path) -> None:
    from dynanoise.core.files import write_atomically
    from dynanoise.web import server

    pages = server.read_page()
    try:
        for name, content in pages.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
    except OSError as error:
        raise InputError(
            f"{folder} could not be written ({error.strerror}).", "Pass another folder to --out."
        ) from error
    size = sum(map(len, pages.values()))
    typer.echo(f"Wrote {len(pages)} files, {size / 1000:.0f} kB, to {folder}.", err=True)
