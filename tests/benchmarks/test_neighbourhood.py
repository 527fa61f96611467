"""Figures of the limit on queries close to each other, and the clients that spread queries."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("resource", reason="the circumstances are read from the resource module")
from benchmarks import neighbourhood
from benchmarks.neighbourhood import SETTINGS, Clients, Outcome, Setting, summary
from dynanoise.metrics.bootstrap import PoolScores

RESULTS = Path(__file__).parents[2] / "results" / "benchmarks" / "neighbourhood.json"


def test_every_setting_was_measured_in_one_run() -> None:
    measured = json.loads(RESULTS.read_text())
    rows = measured["rows"]
    assert [Setting(row["near"], row["clients"], row["queries"]) for row in rows] == [*SETTINGS]
    for row in rows:
        assert len(row["auc_of_each_target"]) == measured["targets"]
        assert row["auc"]["value"] == pytest.approx(np.mean(row["auc_of_each_target"]))
        assert row["near"] or not row["refused_by_all_a_record"]
        assert row["answered_a_record"] + row["refused_by_all_a_record"] <= row["queries"]


def test_means_are_over_targets() -> None:
    members = np.array([[True, True, False, False]])

    def scores(*values: float) -> PoolScores:
        return PoolScores(np.array([values]), members, members, members | True)

    outcomes = [
        Outcome(10.0, 2.0, {"lira": scores(4, 3, 2, 1), "boundary_probing": scores(1, 2, 3, 4)}),
        Outcome(20.0, 0.0, {"lira": scores(4, 2, 3, 1), "boundary_probing": scores(4, 3, 2, 1)}),
    ]
    row = summary(Setting(16, 2, 64), outcomes, seed=0)
    assert (row["answered_a_record"], row["refused_by_all_a_record"]) == (15.0, 1.0)
    assert row["auc_of_each_target"] == [0.0, 1.0] and row["auc"]["value"] == 0.5
    assert row["auc_direct_query"]["value"] == (1.0 + 0.75) / 2


class Server:
    """Answers requests of records whose cell, the first number, has room; all or none."""

    def __init__(self, limit: int) -> None:
        self.limit, self.spent, self.status = limit, Counter[tuple[str, float]](), 0

    def request(self, method: str, path: str, body: str, headers: Any) -> None:
        (tensor,) = json.loads(body)["inputs"]
        self.rows = np.reshape(tensor["data"], tensor["shape"])
        wanted = Counter((headers["X-API-Key"], float(row[0])) for row in self.rows)
        fits = all(self.spent[cell] + count <= self.limit for cell, count in wanted.items())
        self.status = 200 if fits else 429
        self.spent.update(wanted if fits else ())

    def getresponse(self) -> Server:
        return self

    def read(self) -> bytes:
        output = {"data": (-self.rows).ravel().tolist(), "shape": self.rows.shape}
        refusal = {"error": "Too many queries close to each other."}
        return json.dumps({"outputs": [output]} if self.status == 200 else refusal).encode()

    def close(self) -> None:
        pass

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.mark.parametrize("clients", [1, 2, 4])
def test_colluding_clients_get_as_many_responses_as_their_limits_together(
    clients: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(3)
    monkeypatch.setattr(neighbourhood, "HTTPConnection", lambda *address: server)
    cells = np.random.default_rng(0).integers(0, 12, 200)
    rows = np.stack([cells, np.arange(200)], axis=1).astype(np.float32)
    group = Clients(0, [f"key {number}" for number in range(clients)], [lambda x: 0 * x])
    probs = group(rows)
    expected = sum(min(count, 3 * clients) for count in Counter(cells.tolist()).values())
    assert (group.answered, group.refused) == (expected, 200 - expected)
    own = (probs == 0.5).all(axis=1)  # the mean of the shadow models
    assert own.sum() == group.refused
    np.testing.assert_array_equal(probs[~own], -rows[~own])
