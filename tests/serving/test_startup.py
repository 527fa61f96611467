"""Weights that a configuration was written for, wherever the model runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.factories.gateways import SECRET, defense_file, digest, onnx_file

pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("aiohttp", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("prometheus_client", reason="the gateway: pip install 'dynanoise[serve]'")
from dynanoise.core.errors import InputError
from dynanoise.serving.options import Serving
from dynanoise.serving.startup import make_gateway


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)


BUDGET = "budget_not_chosen"


def weaknesses(caplog: pytest.LogCaptureFixture, options: Serving) -> list[str]:
    """As `dynanoise serve` logs them at its start."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "dynanoise.gateway"):
        make_gateway(options)
    events: list[Any] = [record for record in caplog.records if record.msg == "weakness"]
    return [event.fields["weakness"] for event in events]


def test_weights_behind_an_upstream_are_compared_or_said_to_be_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(bytes(100_000))
    defense = defense_file(tmp_path / "defense.yaml", digest(weights))
    given: Any = {"upstream": "http://127.0.0.1:9", "model_name": "m", "no_auth": True}
    assert weaknesses(caplog, Serving(defense, **given)) == [
        "weights_not_checked",
        "no_auth",
        BUDGET,
    ]
    assert weaknesses(caplog, Serving(defense, weights=weights, **given)) == ["no_auth", BUDGET]
    assert weaknesses(caplog, Serving(defense, fresh=True, **given))[0] == "fresh_noise"
    weights.write_bytes(bytes(100_001))
    with pytest.raises(InputError, match=digest(weights)):
        make_gateway(Serving(defense, weights=weights, **given))
    with pytest.raises(InputError, match="cannot be read"):
        make_gateway(Serving(defense, weights=tmp_path / "nowhere", **given))


def test_weights_beside_a_graph_can_be_compared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    onnx = pytest.importorskip("onnx", reason="makes the model: pip install 'dynanoise[dev]'")
    pytest.importorskip("onnxruntime", reason="ONNX models: pip install 'dynanoise[onnx]'")
    model, path = onnx.load(onnx_file(tmp_path / "inside.onnx")), tmp_path / "outside.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    defense = defense_file(tmp_path / "defense.yaml", digest(tmp_path / "weights.bin"))
    options = Serving(defense, path, weights=tmp_path / "weights.bin", no_auth=True)
    assert weaknesses(caplog, options) == ["no_auth", BUDGET]
    with pytest.raises(InputError, match="other weights"):
        make_gateway(Serving(defense, path, weights=path, no_auth=True))


def test_a_digest_of_zeros_names_no_model(tmp_path: Path) -> None:
    defense = defense_file(tmp_path / "defense.yaml", "0" * 64)
    with pytest.raises(InputError, match="all zeros"):
        make_gateway(Serving(defense, upstream="http://a", model_name="m", no_auth=True))


def test_the_budget_is_the_options_then_the_configurations_then_a_small_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(bytes(100))
    defense = defense_file(tmp_path / "defense.yaml", digest(weights))
    given: Any = {"upstream": "http://127.0.0.1:9", "model_name": "m", "weights": weights}

    def start(path: Path, **options: Any) -> tuple[int | None, list[str]]:
        found = weaknesses(caplog, Serving(path, no_auth=True, **given, **options))
        starting: list[Any] = [row for row in caplog.records if row.msg == "starting"]
        return starting[0].fields["budget"], found

    assert start(defense) == (10_000, ["no_auth", BUDGET])
    assert start(defense, budget=77) == (77, ["no_auth"])
    assert start(defense, budget=0) == (None, ["no_auth", "no_budget"])
    own = tmp_path / "own.yaml"
    own.write_text(defense.read_text() + "budget: 2500\n")
    assert start(own) == (2_500, ["no_auth"])
    assert start(own, budget=3_000) == (3_000, ["no_auth"])


def test_settings_of_tls_without_an_upstream_are_refused(tmp_path: Path) -> None:
    defense = defense_file(tmp_path / "defense.yaml", upstream_tls={"ca": "ca.pem"})
    model = tmp_path / "m.onnx"
    with pytest.raises(InputError, match=r"^defense.yaml has upstream_tls, and there is no upstr"):
        make_gateway(Serving(defense, model, no_auth=True))
    with pytest.raises(InputError, match=r"^upstream_tls.ca cannot be read \(No such file"):
        make_gateway(Serving(defense, upstream="https://a", model_name="m", no_auth=True))
