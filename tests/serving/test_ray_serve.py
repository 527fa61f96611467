"""The gateway mounted in Ray Serve, by the file under examples/, answers as it does by itself.

Ray pins packages of its own, so it may live in an environment of its own: DYNANOISE_RAY_PYTHON
names its interpreter (`python -m venv ray && ray/bin/pip install '.[serve,onnx]' 'ray[serve]'`).
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dynanoise.serving import clients
from tests.factories.gateways import (
    ROOT,
    SECRET,
    ask,
    defense_file,
    digest,
    expected,
    free_ports,
    infer_body,
    onnx_file,
    queries,
    values_of,
    wait_until,
)
from tests.factories.waiting import LONG

pytestmark = pytest.mark.process

PYTHON = os.environ.get("DYNANOISE_RAY_PYTHON") or (
    sys.executable if importlib.util.find_spec("ray") else None
)

SCRIPT = """
import sys
import ray
from ray import serve
port = int(sys.argv[1])
quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
ray.init("local", num_cpus=1, **quiet)  # another test may have a cluster on this machine
serve.start(http_options={"host": "127.0.0.1", "port": port})
import runpy
serve.run(runpy.run_path(sys.argv[2], run_name="deploy_ray_serve")["app"], route_prefix="/")
print("up", flush=True)
sys.stdin.read()
serve.shutdown()
ray.shutdown()
"""


def has_serve(python: str) -> bool:
    found = subprocess.run(
        [python, "-c", "import ray.serve"], capture_output=True, check=False, timeout=LONG
    )
    return found.returncode == 0


def test_the_application_of_the_file_under_examples(tmp_path: Path) -> None:
    if PYTHON is None or not has_serve(PYTHON):
        pytest.skip("Ray Serve: pip install 'ray[serve]', or DYNANOISE_RAY_PYTHON names a python")
    model = onnx_file(tmp_path / "linear.onnx")
    defense = defense_file(tmp_path / "defense.yaml", digest(model))
    key = clients.add_client(tmp_path / "clients.txt", "alice")
    (port,) = free_ports(1)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "HOME": str(tmp_path),
        "DYNANOISE_KEY": SECRET,
        "DYNANOISE_MODEL": str(model),
        "DYNANOISE_DEFENSE": str(defense),
        "DYNANOISE_CLIENTS": str(tmp_path / "clients.txt"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
    }
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen(
            [PYTHON, "-c", SCRIPT, str(port), str(ROOT / "examples" / "ray_serve.py")],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        assert wait_until(
            lambda: "up" in log.read_text().split() or process.poll() is not None, 180
        )
        assert process.poll() is None, log.read_text()
        url = f"http://127.0.0.1:{port}/v2/models/linear"
        rows = queries(5)
        assert ask(f"{url}/infer", infer_body(rows)).status == 401
        told = ask(f"{url}/infer", infer_body(rows), X_API_Key=key)
        np.testing.assert_allclose(values_of(told), expected(defense, rows), rtol=0, atol=1e-6)
        assert ask(f"{url}/infer", infer_body(rows), X_API_Key=key).body == told.body
        assert ask(f"http://127.0.0.1:{port}/v2/health/ready").status == 200
        told = ask(f"{url}/infer", b"{", X_API_Key=key)
        assert told.status == 400 and list(told.json) == ["error"]
        assert ask(url, X_API_Key=key).json["properties"]["noise"] == "keyed"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
