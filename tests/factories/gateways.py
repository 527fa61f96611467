"""Models, configurations, and gateways in processes of their own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml

from dynanoise.config.configuration import Configuration

ROOT = Path(__file__).parents[2]
SECRET = "5f" * 32
OTHER_SECRET = "a3" * 32
FEATURES, CLASSES = 8, 4
LAST_RESORT = 120.0
"""Seconds after which a test gives up; a loaded machine takes as long as it takes."""

WEIGHTS = np.random.default_rng(0).normal(0, 1, (FEATURES, CLASSES)).astype(np.float32)


def queries(count: int, seed: int = 1) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 2, (count, FEATURES)).astype(np.float32)


def onnx_file(path: Path) -> Path:
    """logits = x W, and a second output that must never leave: the hidden 7 x W."""
    onnx = pytest.importorskip("onnx", reason="makes the model: pip install 'dynanoise[dev]'")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["logits"]),
            helper.make_node("Mul", ["logits", "seven"], ["hidden"]),
        ],
        "linear",
        [helper.make_tensor_value_info("x", kind, ["batch", FEATURES])],
        [helper.make_tensor_value_info(n, kind, ["batch", CLASSES]) for n in ("logits", "hidden")],
        [
            onnx.numpy_helper.from_array(WEIGHTS, "w"),
            onnx.numpy_helper.from_array(np.float32(7), "seven"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def defense_file(path: Path, weights: str = "ab" * 32, **changed: Any) -> Path:
    said: dict[str, Any] = {
        "version": 1,
        "defense": {"name": "dynanoise", "base_variance": 0.3, "temperature": 4.0},
        "output": "logits",
        "noise": {"name": "keyed", "cell_width": 2.0, "model": "linear", "weights": weights},
    }
    path.write_text(yaml.safe_dump({**said, **changed}))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def expected(defense: Path, rows: npt.NDArray[np.float32], secret: str = SECRET) -> Any:
    """Outputs of the configuration in this process for the model's logits."""
    os.environ["DYNANOISE_KEY"] = secret
    try:
        return Configuration.read(defense).defend(rows @ WEIGHTS)
    finally:
        del os.environ["DYNANOISE_KEY"]


@dataclass
class Running:
    """A gateway in a process of its own, and all that it logged."""

    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports['port']}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def text(self) -> str:
        return "\n".join(self.log)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in map(json.loads, list(self.log)) if event["event"] == name]

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def gateway(
    *arguments: object,
    secret: str | None = SECRET,
    kernel: bool = False,
    read: bool = True,
    files: int | None = None,
    **environment: str,
) -> Iterator[Running]:
    """`dynanoise serve` with these arguments, on free ports, ended at the end.

    Its log is read all the time, or only until it listens. It may open so many files.

    Without the compiled kernel, unless asked for: answers are the same bits, and a process starts
    in half the time.
    """
    paths = [ROOT / "src", *([] if kernel else [Path(__file__).with_name("without_kernel")])]
    path = os.pathsep.join(map(str, reversed(paths)))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, **environment}
    if secret is not None:
        environment["DYNANOISE_KEY"] = secret
    command = [sys.executable, "-m", "dynanoise", "serve", "--port", "0", *map(str, arguments)]
    if files is not None:
        if shutil.which("prlimit") is None:
            pytest.skip("needs prlimit")
        command = ["prlimit", f"--nofile={files}:{files}", *command]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    running = Running(process)
    listening = threading.Event()

    def follow() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            running.log.append(line.rstrip("\n"))
            if '"listening"' in line:
                said = json.loads(line)
                running.ports.update({k: v for k, v in said.items() if k.endswith("port")})
                listening.set()
                if not read:
                    return
        listening.set()

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    try:
        # Where the kernel was never run before, it is compiled first.
        assert listening.wait(180) and running.ports, running.text
        yield running
    finally:
        # Not told to end, which takes a second: the tests of that do so themselves.
        process.kill()
        process.wait()
        reader.join(LAST_RESORT)
        # To close what a thread reads would wait for that thread.
        assert not reader.is_alive(), "A worker of the gateway has not ended."
        assert process.stderr is not None
        process.stderr.close()


@dataclass(frozen=True)
class Told:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, body: Any = None, trusted: Path | None = None, /, **headers: str) -> Told:
    """GET, or POST where there is a body; header names with _ for -; trusts a CA for https."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **sent})
    context = None if trusted is None else ssl.create_default_context(cafile=trusted)
    try:
        with urllib.request.urlopen(request, timeout=LAST_RESORT, context=context) as response:
            return Told(response.status, response.read(), lowered(response.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Told(error.code, error.read(), lowered(error.headers))


def lowered(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def infer_body(rows: npt.NDArray[Any], name: str = "x", **more: Any) -> dict[str, Any]:
    said = {
        "name": name,
        "datatype": "FP32",
        "shape": list(rows.shape),
        "data": rows.ravel().tolist(),
    }
    return {"inputs": [said], **more}


def values_of(told: Told) -> npt.NDArray[np.float32]:
    (output,) = told.json["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def wait_until(condition: Any, seconds: float = LAST_RESORT) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def free_ports(count: int) -> list[int]:
    """Different ports that are free at the moment."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in held]
    for listener in held:
        listener.close()
    return ports


@contextmanager
def upstream(
    command: list[str], port: int, log: Path, seconds: float, **options: Any
) -> Iterator[str]:
    """The address of a server of another make, from when its model digits is ready.

    Args:
        command: starts it.
        port: where it listens.
        log: gets what it prints.
        seconds: that it has to get ready.
        options: arguments of `subprocess.Popen`.
    """
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, **options)
    url = f"http://127.0.0.1:{port}"

    def up() -> bool:
        try:
            return ask(f"{url}/v2/models/digits/ready").status == 200
        except OSError:
            return False

    try:
        assert wait_until(up, seconds), log.read_text()
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
