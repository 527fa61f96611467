"""Chosen inputs against a gateway: what they regain, and that the server counts each of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier
from typer.testing import CliRunner

from dynanoise.audits.endpoint import endpoint_audit
from dynanoise.audits.endpoint.client import Endpoint
from dynanoise.cli.main import app
from dynanoise.core.errors import InputError
from tests.factories.gateways import FEATURES, defense_file, digest, gateway, onnx_file

pytestmark = [pytest.mark.process, pytest.mark.behaviour]

RECORDS, QUERIES, BUDGET = 60, 7, 2_000


def tables(folder: Path) -> list[str]:
    """Records near a linear model's border, half of them said to be members."""
    generator = np.random.default_rng(0)
    arguments = []
    for name in ("members", "nonmembers"):
        labels = np.arange(RECORDS) % 4
        path = folder / f"{name}.npz"
        inputs = generator.normal(0, 1, (RECORDS, FEATURES)).astype(np.float32)
        # Two records a patient, who are others in each table.
        patient = [f"{name} {record // 2}" for record in range(RECORDS)]
        np.savez(path, X=inputs, y=labels, patient=patient, ward=["A"] * RECORDS)
        arguments += [f"--{name}", str(path)]
    return arguments


def test_the_server_counts_what_the_audit_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = MLPClassifier((4,), max_iter=1)
    monkeypatch.setattr(endpoint_audit, "default_classifier", lambda: small)
    monkeypatch.setattr("dynanoise.evaluation.feasibility.STRONG", ("lira",))
    monkeypatch.setattr("dynanoise.evaluation.feasibility.SINGLE", ("loss",))
    model = onnx_file(tmp_path / "linear.onnx")
    defense = defense_file(tmp_path / "defense.yaml", digest(model))
    options = ("--model", model, "--defense", defense, "--no-auth", "--rate", 0)
    with gateway(*options, "--budget", BUDGET) as served:
        url = f"{served.url}/v2/models/linear"
        audit = ["audit", "--url", url, *tables(tmp_path), "--defense", str(defense)]
        audit += ["--chosen", str(QUERIES), "--budget", str(BUDGET), "--json"]
        audit += ["--by", "ward", "--groups", "patient"]
        result = CliRunner().invoke(app, audit, env={"DYNANOISE_API_KEY": ""})
        assert result.exit_code in (0, 1), result.output
        records: list[dict[str, Any]] = json.loads(result.stdout)["results"]
        probed = [r for r in records if r["attack"] == "boundary_probing"]
        assert [r["protocol"] for r in probed] == [f"adaptive_chosen_{QUERIES}"]
        # Twice each directly, 16 of them four times alone, and one path of six queries.
        assert probed[0]["metrics"]["queries"]["value"] == 1 + 6
        assert probed[0]["counts"]["shadow_models"] == 16
        assert probed[0]["counts"]["persons"] == RECORDS
        choices = [r["metrics"] for r in records if r["attack"] == "strongest"]
        assert any("ward=A auc" in metrics for metrics in choices)
        spent = 2 * RECORDS * (2 + 6) + 16 * 4
        # The server answers as many more as its own budget has left, and no further one.
        rest = Endpoint(url, BUDGET + 1)
        metadata = rest.metadata()
        left = np.zeros((BUDGET - spent, FEATURES), np.float32)
        assert len(rest.query(metadata, left)) == len(left)
        with pytest.raises(InputError, match="own budget is spent"):
            rest.query(metadata, left[:1])
        rest.close()
