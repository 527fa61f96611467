"""Queries close to each other have a budget of their own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.core.errors import InputError
from dynanoise.oip.tensors import Description, Spec, Tensor
from dynanoise.partition.cells import Cells
from dynanoise.serving import startup
from dynanoise.serving.budgets import Budget, LocalBudgets
from dynanoise.serving.gateway import Gateway, Limits
from dynanoise.serving.http import application
from dynanoise.serving.monitoring import Metrics
from tests.factories.gateways import SECRET, defense_file
from tests.serving.test_leaks import asgi

REFERENCE = np.random.default_rng(0).normal(0, 1, (50, 2))
NEAR = 3


class Plain:
    """logits = x."""

    name, version = "m", None

    async def describe(self) -> Description:
        spec = Spec("x", "FP32", (-1, 2), missing=True)
        return Description((spec,), Spec("logits", "FP32", (-1, 2)), "test")

    async def infer(self, inputs: Any, authorization: str | None) -> Tensor:
        return Tensor("logits", "FP32", np.nan_to_num(inputs[0].values))


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, LocalBudgets]:
    """The gateway's application, and its budgets: 11 queries, 3 of them in one cell."""
    pytest.importorskip("safetensors", reason="cells in files: pip install 'dynanoise[serve]'")
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    Cells.fit(REFERENCE, width=2.0, components=2).write(tmp_path / "cells.json")
    path = tmp_path / "defense.yaml"
    defense_file(path, neighbourhood={"budget": NEAR, "cells": "cells.json"})
    configuration = startup.read_configuration(path, False)
    budgets = LocalBudgets(Budget(rate=0, total=11, near=NEAR))
    cells = configuration.input_cells()
    assert cells is not None
    assert cells.digests(REFERENCE) != Cells.read(tmp_path / "cells.json").digests(REFERENCE)
    gateway = Gateway(
        Plain(),  # type: ignore[arg-type]
        configuration,
        None,
        budgets,
        Limits(),
        Metrics("id"),
        cells=cells,
    )
    return application(gateway), budgets


def query(app: Any, *rows: Any) -> int:
    return asgi(app, "/v1/models/m:predict", json.dumps({"instances": rows}).encode())[0]


def test_probing_of_one_record_ends_before_the_budget(served: tuple[Any, LocalBudgets]) -> None:
    """What is refused for its place is charged: nothing is parsed for free."""
    app, _ = served
    probes = [[0.1 + 1e-3 * step, 0.2] for step in range(NEAR)]
    assert query(app, *probes[:2]) == 200
    assert query(app, *probes[:2]) == 429  # all or none
    assert query(app, probes[2]) == 200
    assert query(app, probes[2]) == 429
    assert query(app, [50.0, -50.0]) == 200
    assert query(app, *[[90.0, 9.0]] * (NEAR + 1)) == 413
    assert query(app, [None, 70.0]) == 429  # 2 + 2 + 1 + 1 + 1 + 4 = 11


def test_nothing_readable_is_kept(served: tuple[Any, LocalBudgets]) -> None:
    app, budgets = served
    assert query(app, [0.1, None]) == 200
    (account,) = budgets._accounts.values()
    (digest,) = account.cells
    assert len(digest) == 16 and account.cells[digest] == 1
    assert np.float32(0.1).tobytes() not in digest


def test_cells_of_other_inputs_are_not_answered(
    served: tuple[Any, LocalBudgets], tmp_path: Path
) -> None:
    Cells.fit(np.eye(5), width=2.0).write(tmp_path / "cells.json")
    configuration = startup.read_configuration(tmp_path / "defense.yaml", False)
    gateway = Gateway(
        Plain(),  # type: ignore[arg-type]
        configuration,
        None,
        served[1],
        Limits(),
        Metrics("id"),
        cells=configuration.input_cells(),
    )
    assert query(application(gateway), [0.1, 0.2]) == 500
    assert asyncio.run(served[1].spend("anyone", 11))  # and given back


def test_it_needs_a_key_and_a_budget(served: tuple[Any, LocalBudgets], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="keyed noise"):
        startup.read_configuration(tmp_path / "defense.yaml", True)
