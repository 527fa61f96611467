"""Weights that a configuration was written for, wherever the model runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.factories.gateways import OTHER_SECRET, SECRET, defense_file, digest, onnx_file

pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("aiohttp", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("prometheus_client", reason="the gateway: pip install 'dynanoise[serve]'")
from dynanoise.core.errors import InputError
from dynanoise.partition.cells import Cells
from dynanoise.serving import startup
from dynanoise.serving.clients import add_client
from dynanoise.serving.options import Serving
from dynanoise.serving.startup import make_gateway
from dynanoise.serving.workers import DIFFERS


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


def test_budgets_for_a_day_are_refused_with_another_period(tmp_path: Path) -> None:
    """Unscaled, a client would have 24 of them a day."""
    given: Any = {"upstream": "http://127.0.0.1:9", "model_name": "m", "no_auth": True}
    near = {"budget": 16, "cells": "cells.json"}
    path = defense_file(tmp_path / "defense.yaml", budget=2500)
    with pytest.raises(InputError, match=r"^--period is 3600 .* defense.yaml.* Pass --budget"):
        make_gateway(Serving(path, period=3600.0, **given))
    make_gateway(Serving(path, period=3600.0, budget=100, **given))
    defense_file(path, neighbourhood=near)
    with pytest.raises(InputError, match=r"^neighbourhood.budget in defense.yaml .* 3600 seconds"):
        make_gateway(Serving(path, period=3600.0, budget=100, **given))


def test_settings_of_tls_without_an_upstream_are_refused(tmp_path: Path) -> None:
    defense = defense_file(tmp_path / "defense.yaml", upstream_tls={"ca": "ca.pem"})
    model = tmp_path / "m.onnx"
    with pytest.raises(InputError, match=r"^defense.yaml has upstream_tls, and there is no upstr"):
        make_gateway(Serving(defense, model, no_auth=True))
    with pytest.raises(InputError, match=r"^upstream_tls.ca cannot be read \(No such file"):
        make_gateway(Serving(defense, upstream="https://a", model_name="m", no_auth=True))


@pytest.mark.parametrize("changed", ["key", "defense.yaml", "model", "weights", "cells", None])
def test_a_worker_has_the_key_and_settings_of_the_gateways_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    changed: str | None,
) -> None:
    """Two of them behind one port would give two samples of noise for one record."""
    pytest.importorskip("onnxruntime", reason="ONNX models: pip install 'dynanoise[onnx]'")
    pytest.importorskip("safetensors", reason="cells in files: pip install 'dynanoise[serve]'")

    def write_cells(seed: int) -> None:
        reference = np.random.default_rng(seed).normal(size=(20, 8))
        Cells.fit(reference, width=2.0, components=2).write(tmp_path / "cells.json")

    write_cells(0)
    model = onnx_file(tmp_path / "m.onnx")
    near = {"budget": 3, "cells": "cells.json"}
    defense = defense_file(tmp_path / "defense.yaml", digest(model), neighbourhood=near)
    clients = tmp_path / "clients.txt"
    add_client(clients, "alice")
    options = Serving(defense, model, clients=clients)
    *_, origin = startup._make(options)
    if changed == "key":
        monkeypatch.setenv("DYNANOISE_KEY", OTHER_SECRET)
    elif changed == "defense.yaml":
        text = defense.read_text()
        defense.write_text(text.replace("temperature: 4.0", "temperature: 4.1"))
    elif changed in ("model", "weights"):  # another one, also under its old configuration
        model.write_bytes(model.read_bytes() + b"\x32\x00")
        if changed == "model":
            defense_file(defense, digest(model), neighbourhood=near)
    elif changed == "cells":
        write_cells(1)
    if changed is None:
        clients.write_text("")  # which revokes the last key, and ends no worker
        gateway, _ = startup.make_worker(origin, options)
        assert gateway.metrics.key_id == origin["key"]
        with pytest.raises(InputError, match="names no client"):
            make_gateway(options)
        return
    with pytest.raises(SystemExit) as ended:
        startup.make_worker(origin, options)
    assert ended.value.code == (1 if changed == "weights" else DIFFERS)
    (event,) = [row for row in caplog.records if row.msg == "worker_not_started"]
    problem = event.fields["problem"]  # type: ignore[attr-defined]
    what = {
        "key": "start: key, cells.",  # which are keyed, too
        "model": "start: defense.yaml, model.",
        "weights": "defense.yaml was written for other weights than",
    }
    assert what.get(changed, f"start: {changed}. Start it anew.") in problem
    assert SECRET not in problem and OTHER_SECRET not in problem
