"""What is told of noise, against the definitions, row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dynanoise.config.configuration import Configuration
from tests.factories.gateways import SECRET, defense_file

pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
from dynanoise.serving.monitoring import Window, Windows


def entropy(row: npt.NDArray[Any]) -> float:
    p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
    return float(1 + sum(one * np.log(one) for one in p if one) / np.log(len(p)))


@pytest.mark.behaviour
@pytest.mark.parametrize("noise", ["keyed", "fresh"])
def test_a_window(noise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    more: Any = {} if noise == "keyed" else {"noise": {"name": "fresh"}}
    configuration = Configuration.read(defense_file(tmp_path / "defense.yaml", **more))
    told: list[Window] = []
    windows = Windows(configuration, told.append, size=10)
    rows = np.random.default_rng(0).normal(0, 3, (9, 4))
    assert windows.add(rows, configuration.defend(rows)) == []
    last = rows[:3]
    taken = windows.add(last, configuration.defend(last))
    assert told == [] and len(taken) == 2
    windows.complete(taken)
    (window,) = told
    assert window.queries == 12 and window.repeats >= 3
    if noise == "keyed":
        keyed = configuration.noise
        assert not isinstance(keyed, str)
        base, _ = keyed.draw(rows, 1, configuration.defense.purpose)  # type: ignore[attr-defined]
    else:
        base = rows
        assert window.repeats == 3
    wanted = [entropy(row) for row in [*base, *base[:3]]]
    np.testing.assert_allclose(window.sensitivity, wanted, atol=1e-12)
    np.testing.assert_allclose(window.sigma, np.sqrt(0.3 * (1 + 2 * np.array(wanted))), atol=1e-12)
    if noise == "keyed":
        answers = configuration.defend(rows)
        flips = answers.argmax(axis=1) != rows.argmax(axis=1)
        assert window.flips == flips.sum() + flips[:3].sum()
    assert windows.add(last, last) == []
