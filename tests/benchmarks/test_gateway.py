"""The benchmark of the gateway runs for a moment and says what it measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="the circumstances are read from the resource module")
from benchmarks import gateway


@pytest.mark.process
def test_both_gateways_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("starlette", "uvicorn", "aiohttp", "orjson", "prometheus_client"):
        pytest.importorskip(package, reason="the gateway: pip install 'dynanoise[serve]'")
    pytest.importorskip("onnxruntime", reason="ONNX models: pip install 'dynanoise[onnx]'")
    pytest.importorskip("onnx", reason="makes the model: pip install 'dynanoise[dev]'")
    if shutil.which("wrk") is None:
        pytest.skip("the load generator: apt-get install wrk")
    out = tmp_path / "gateway.json"
    short = ["--widths", "8", "--clients", "2", "--seconds", "1", "--turns", "1"]
    gateway.main([*short, "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    assert [row["mode"] for row in rows] == list(gateway.MODES)
    for row in rows:
        for way in ("undefended", "defended"):
            assert row[way]["requests"] > 0 and row[way]["errors"] == 0
            assert 0 < row[way]["p50_ms"] <= row[way]["p99_ms"]
            seen = row[way]["requests"] / row[way]["requests_per_second"]
            assert 0.9 < seen < 2
        ratio = row["defended"]["p50_ms"] / row["undefended"]["p50_ms"]
        assert row["p50_ratio"] == pytest.approx(ratio, abs=1e-3)
