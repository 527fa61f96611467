"""A limit on queries close to each other, against chosen inputs through the gateway.

    dynanoise bench --preset digits --protocol adaptive_chosen --store STORE
    OMP_NUM_THREADS=1 python -m benchmarks.neighbourhood --store STORE

Some MLPs of the stored pool are served by `dynanoise serve`; the other 15 are the attacker's shadow
models. The attacker probes about as many records as a budget of 10,000 queries allows, by labels
alone, from one or more clients: a query that is refused is sent by the next client, and replaced by
the label that most shadow models give where all clients are refused.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from benchmarks.chosen_gateway import Attacker, begin
from benchmarks.gateway import gateway
from dynanoise.core import numerics
from dynanoise.core.files import write_json
from dynanoise.core.numerics import Float64, Floats, Int64
from dynanoise.core.queries import Inputs, QueryFunction
from dynanoise.core.result import Metric
from dynanoise.core.seeding import derive
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.metrics.bootstrap import PoolScores, bootstrap
from dynanoise.partition.cells import Cells
from dynanoise.serving.clients import add_client

BATCH = 64


class Setting(NamedTuple):
    """Queries in one cell a day (0: no limit), colluding clients, and queries a record."""

    near: int
    clients: int
    queries: int


SETTINGS = (
    *(Setting(near, 1, queries) for near in (0, 16) for queries in (8, 16, 32, 64)),
    *(Setting(16, clients, 64) for clients in (2, 4, 8)),
    *(Setting(4, clients, 64) for clients in (1, 2, 4, 8)),
)


class Clients:
    """Clients that share what they are refused.

    Args:
        port: port of the gateway.
        keys: API keys.
        shadows: the attacker's own models.

    Attributes:
        answered: number of queries that got a response.
        refused: number of queries that all clients were refused.
    """

    def __init__(self, port: int, keys: Sequence[str], shadows: Sequence[QueryFunction]) -> None:
        self._connection = HTTPConnection("127.0.0.1", port)
        self._keys, self._shadows, self.answered, self.refused = keys, shadows, 0, 0

    def __call__(self, inputs: Inputs) -> Float64:
        """Query; inputs that all clients are refused get the shadow models' mean probabilities."""
        logits = [np.asarray(model(inputs), np.float64) for model in self._shadows]
        probs = np.exp(np.mean([numerics.log_softmax(part) for part in logits], axis=0))
        left = np.arange(len(inputs))
        for key in self._keys:
            parts = [left[start : start + BATCH] for start in range(0, len(left), BATCH)]
            left = np.array([row for part in parts for row in self._send(key, inputs, part, probs)])
        self.answered += len(inputs) - len(left)
        self.refused += len(left)
        return np.asarray(probs)

    def _send(self, key: str, inputs: Inputs, rows: Int64, probs: Float64) -> list[int]:
        """Send some rows; write responses into ``probs``, and return the rows that are refused."""
        part = inputs[rows]
        tensor = {
            "name": "x",
            "datatype": "FP32",
            "shape": part.shape,
            "data": part.ravel().tolist(),
        }
        body = json.dumps({"inputs": [tensor]})
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        self._connection.close()  # one that was idle may be closed by the gateway at any time
        self._connection.request("POST", "/v2/models/m/infer", body, headers)
        with self._connection.getresponse() as response:
            content = json.loads(response.read())
        if response.status == 200:
            (output,) = content["outputs"]
            probs[rows] = np.reshape(output["data"], output["shape"])
            return []
        if response.status not in (413, 429) or "close" not in content["error"]:
            raise RuntimeError(content)
        if len(rows) == 1:
            return [int(row) for row in rows]
        half = len(rows) // 2
        halves = rows[:half], rows[half:]
        return [row for part in halves for row in self._send(key, inputs, part, probs)]


class Outcome(NamedTuple):
    """Queries that reached one target under a setting, and the scores by attack."""

    answered: float
    refused: float
    scores: Mapping[str, PoolScores]


def attack(attacker: Attacker, setting: Setting, folder: Path, cells: Path) -> Outcome:
    """Serve the attacker's target under a limit, and attack it."""
    settings = yaml.safe_load(attacker.path.read_text())
    if setting.near:
        settings["neighbourhood"] = {"budget": setting.near, "cells": str(cells)}
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path, file = Path(name) / "defense.yaml", Path(name) / "clients.txt"
        path.write_text(yaml.safe_dump(settings))
        keys = [add_client(file, f"client-{number}") for number in range(setting.clients)]
        arguments = ("--model", attacker.model, "--model-name", "m", "--defense", path)
        with gateway(folder, *arguments, "--clients", file, "--budget", 10**6) as served:
            clients = Clients(served.port, keys, attacker.models)
            _, scores = attacker.attack(clients, setting.queries, None)
    records = len(attacker.inputs)
    print(setting, clients.answered / records, clients.refused / records, flush=True)
    return Outcome(clients.answered / records, clients.refused / records, scores)


def summary(setting: Setting, outcomes: Sequence[Outcome], seed: int) -> dict[str, Any]:
    """Means over the targets, with bootstrap intervals over targets and records."""

    def auc_of(attack: str) -> dict[str, Any]:
        parts = [outcome.scores[attack] for outcome in outcomes]
        fields = ("scores", "decisions", "members", "scored")
        pool = PoolScores(*(np.concatenate([getattr(p, name) for p in parts]) for name in fields))
        metric: Metric = bootstrap(pool, seed).metrics["auc"]
        return asdict(metric)

    return {
        **setting._asdict(),
        "answered_a_record": float(np.mean([outcome.answered for outcome in outcomes])),
        "refused_by_all_a_record": float(np.mean([outcome.refused for outcome in outcomes])),
        "auc_direct_query": auc_of("lira"),
        "auc": auc_of("boundary_probing"),
        "auc_of_each_target": [
            float(bootstrap(outcome.scores["boundary_probing"], seed, 1).point["auc"])
            for outcome in outcomes
        ],
    }


def honest_refusals(cells: Cells, records: Floats) -> dict[str, Any]:
    """Count the held-out records that a limit refuses, if one client sends all of them in a day."""
    counts = Counter(cells.digests(records)).values()
    limits = sorted({setting.near for setting in SETTINGS} - {0})
    return {
        "held_out_queries": len(records),
        "most_in_one_cell": max(counts),
        "held_out_refused": {
            near: sum(max(0, count - near) for count in counts) / len(records) for near in limits
        },
    }


def main() -> None:
    """Attack gateways and write the figures, after each target."""
    numbers = {"records": 150, "components": 8, "width": 2.0}
    options, pool, functions = begin(__doc__, "neighbourhood", 2, **numbers)
    originals = pool.originals()
    cells = Cells.fit(
        functions.inputs[originals.reference.ids],
        width=options.width,
        components=options.components,
        standardise=False,
    )
    content = {
        "command": "",
        "cells": f"{options.components} principal components, width {options.width:g}",
        **honest_refusals(cells, functions.inputs[originals.test.ids]),
        "records": options.records,
        "shadow_models": pool.models - 1,
        "hardware": hardware(),
        "versions": versions(),
    }
    outcomes: dict[Setting, list[Outcome]] = {setting: [] for setting in SETTINGS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cells.write(folder / "cells.json")
        for target in range(options.targets):
            attacker = Attacker(pool, functions, target, folder, options.records)
            for setting in SETTINGS:
                outcome = attack(attacker, setting, folder, folder / "cells.json")
                outcomes[setting].append(outcome)
            count = target + 1  # which that many targets alone repeat
            content["command"] = (
                f"python -m benchmarks.neighbourhood --store STORE --targets {count}"
            )
            content["targets"] = count
            content["rows"] = [
                summary(setting, parts, derive(pool.seed, "bootstrap"))
                for setting, parts in outcomes.items()
            ]
            write_json(options.out, content)


if __name__ == "__main__":
    main()
