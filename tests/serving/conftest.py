"""Gateways in both modes, started once for the tests that only ask them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories.gateways import (
    ROOT,
    WEIGHTS,
    Running,
    ask,
    defense_file,
    digest,
    gateway,
    onnx_file,
)
from tests.factories.waiting import limited

if TYPE_CHECKING:
    from dynanoise.serving.gateway import Gateway


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    for package in ("starlette", "uvicorn", "aiohttp", "orjson", "prometheus_client", "grpc"):
        pytest.importorskip(package, reason="the gateway: pip install 'dynanoise[serve]'")


@asynccontextmanager
async def grpc_port(gateway: Gateway) -> AsyncIterator[int]:
    """Serve gRPC in this process; yields the port."""
    from dynanoise.serving import grpc

    server = grpc.server(gateway)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@dataclass
class Plain:
    """The server in plain Python."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def behave(self, how: str) -> None:
        assert ask(f"{self.url}/behave", json.dumps(how).encode()).status == 200


@contextmanager
def plain_server(port: int = 0) -> Iterator[Plain]:
    script = ROOT / "tests" / "serving" / "upstream_server.py"
    weights = json.dumps(WEIGHTS.astype(float).tolist())
    command = [sys.executable, str(script), weights, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        with limited(process):
            port = int(process.stdout.readline())
        yield Plain(process, port)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@dataclass(frozen=True)
class Served:
    """A gateway and what it was told."""

    running: Running
    defense: Path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="session")
def served_onnx(folder: Path) -> Iterator[Served]:
    pytest.importorskip("onnxruntime", reason="ONNX models: pip install 'dynanoise[onnx]'")
    model = onnx_file(folder / "linear.onnx")
    defense = defense_file(folder / "onnx.yaml", digest(model))
    options = (
        "--model",
        model,
        "--defense",
        defense,
        "--no-auth",
        "--rate",
        0,
        "--budget",
        0,
        "--grpc-port",
        0,
    )
    with gateway(*options, "--model-version", "1", kernel=True) as running:
        yield Served(running, defense)


@pytest.fixture(scope="session")
def plain() -> Iterator[Plain]:
    with plain_server() as one:
        yield one


@pytest.fixture(scope="session")
def served_upstream(folder: Path, plain: Plain) -> Iterator[Served]:
    defense = defense_file(folder / "upstream.yaml")
    options = ("--upstream", plain.url, "--model-name", "linear", "--defense", defense)
    more = ("--no-auth", "--rate", 0, "--budget", 0, "--grpc-port", 0)
    with gateway(*options, *more) as running:
        yield Served(running, defense)


@pytest.fixture(params=["onnx", "upstream"])
def served(request: pytest.FixtureRequest) -> Served:
    found: Served = request.getfixturevalue(f"served_{request.param}")
    if request.param == "upstream":
        request.getfixturevalue("plain").behave("well")
    return found
