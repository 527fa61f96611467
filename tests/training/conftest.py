"""An S3 server for tests of stores at an address."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator

import pytest

from tests.factories.waiting import until


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server, a process of its own, and credentials for it."""
    pytest.importorskip("moto.server", reason="the server comes with: pip install 'dynanoise[dev]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: _responds(address, server))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", address)
            patch.setenv("AWS_ACCESS_KEY_ID", "testing")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "no-secret-at-all")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            yield address
    finally:
        server.kill()  # its handler of SIGTERM raises an exception, which may be lost
        server.wait()


@pytest.fixture
def bucket(s3: str) -> str:
    """An address of its own on the S3 server."""
    pytest.importorskip("s3fs", reason="S3 needs: pip install 'dynanoise[remote]'")
    import fsspec

    name = f"bucket-{uuid.uuid4().hex[:12]}"
    files, _ = fsspec.core.url_to_fs(f"s3://{name}")
    files.mkdir(name)
    return f"s3://{name}/models"


def _responds(address: str, server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, "the S3 server ended"
    try:
        with urllib.request.urlopen(address, timeout=60):
            return True
    except OSError:
        return False
