"""In front of MLServer, which serves a model that was trained here.

MLServer pins older versions of packages than the project uses, so that it has an environment of its
own: DYNANOISE_MLSERVER_PYTHON names its interpreter (`python -m venv mlserver &&
mlserver/bin/pip install mlserver mlserver-sklearn`, then mlserver/bin/python).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dynanoise.config.configuration import Configuration
from tests.factories.gateways import (
    ROOT,
    SECRET,
    ask,
    defense_file,
    free_ports,
    gateway,
    infer_body,
    upstream,
    values_of,
)
from tests.factories.waiting import LONG

PYTHON = os.environ.get("DYNANOISE_MLSERVER_PYTHON")
pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="MLServer: DYNANOISE_MLSERVER_PYTHON names no interpreter that has it"
)


@pytest.mark.process
def test_a_trained_model_behind_mlserver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    http = pytest.importorskip("tritonclient.http", reason="pip install tritonclient[all]")
    assert PYTHON is not None
    ports = free_ports(3)
    script = ROOT / "tests" / "serving" / "mlserver_model.py"
    subprocess.run([PYTHON, str(script), str(tmp_path), *map(str, ports)], check=True, timeout=LONG)
    with np.load(tmp_path / "known.npz") as known:
        images, labels, probs = known["images"], known["labels"], known["probs"]
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    settings = {"name": "dynanoise", "base_variance": 0.3, "temperature": 2.0, "keep_label": True}
    place = {"output": "predict_proba", "input": "probabilities"}
    defense = defense_file(tmp_path / "defense.yaml", defense=settings, **place)
    command = [PYTHON, "-c", "from mlserver.cli import main; main()", "start", str(tmp_path)]
    with upstream(command, ports[0], tmp_path / "log.txt", 90, cwd=tmp_path) as url:
        # What it answers itself; in single precision, and its library in double.
        asked = infer_body(images, outputs=[{"name": "predict_proba"}])
        own = values_of(ask(f"{url}/v2/models/digits/infer", asked))
        np.testing.assert_allclose(own, probs, atol=1e-5)
        wanted = Configuration.read(defense).defend(own)
        given = ("--upstream", url, "--model-name", "digits", "--defense", defense, "--no-auth")
        with gateway(*given, "--rate", 0, "--budget", 0, "--grpc-port", 0) as one:
            assert ask(f"{one.url}/v2/health/ready").status == 200
            with http.InferenceServerClient(one.address) as client:
                x = http.InferInput("x", list(images.shape), "FP32")
                x.set_data_from_numpy(images)
                answer = client.infer("digits", [x]).as_numpy("predict_proba")
            told = ask(f"{one.url}/v1/models/digits:predict", {"instances": images[:2].tolist()})
    np.testing.assert_array_equal(answer, wanted)
    np.testing.assert_array_equal(np.array(told.json["predictions"], np.float32), wanted[:2])
    assert (answer.argmax(axis=1) == own.argmax(axis=1)).all()
    assert (answer.argmax(axis=1) == labels).mean() > 0.85
