"""A limit on queries close to each other, against chosen inputs through the gateway.

    dynanoise bench --preset digits --protocol adaptive_chosen --store STORE
    python -m benchmarks.neighbourhood --store STORE

Some MLPs of the stored pool are served by `dynanoise serve`; the other 15 are the attacker's shadow
models. The attacker probes as many records as a budget of 10,000 queries allows, by labels alone,
from one or more clients: a query that is refused is sent by the next client, and replaced by the
label that most shadow models give where all clients are refused.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.chosen_gateway import WIDTH, defense_file, model_file
from benchmarks.gateway import gateway
from dynanoise.attacks.thresholds import auc
from dynanoise.audits.chosen.one_target import OneTarget
from dynanoise.audits.endpoint.served_target import ServedTarget
from dynanoise.benchmark.stored_pool import stored_pool
from dynanoise.config.configuration import Configuration
from dynanoise.core import numerics
from dynanoise.core.defense import Method
from dynanoise.core.files import write_json
from dynanoise.core.observation import Observation
from dynanoise.evaluation.chosen_inputs import prepare_paths
from dynanoise.evaluation.protocols import chosen
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.evaluation.trial import attack_trials
from dynanoise.partition.cells import Cells
from dynanoise.serving.clients import add_client

BATCH = 64
SETTINGS = ((0, 1), (16, 1), (16, 2), (16, 4), (4, 1), (4, 2), (4, 4))
"""Queries in one cell a day (0: no limit), and colluding clients."""


class Attacker:
    """Clients that share what they are refused.

    Args:
        port: of the gateway.
        keys: API keys.
        shadows: the attacker's own models.
    """

    def __init__(self, port: int, keys: list[str], shadows: list[Any]) -> None:
        self.connection = HTTPConnection("127.0.0.1", port)
        self.keys, self.shadows, self.answered, self.refused = keys, shadows, 0, 0

    def __call__(self, rows: Any) -> Any:
        """Query; rows that all clients are refused get the shadow models' mean probabilities."""
        return np.concatenate(
            [self._send(rows[i : i + BATCH], 0) for i in range(0, len(rows), BATCH)]
        )

    def _send(self, rows: Any, client: int) -> Any:
        if client == len(self.keys):
            self.refused += len(rows)
            logits = [np.asarray(model(rows), np.float64) for model in self.shadows]
            return np.exp(np.mean([numerics.log_softmax(part) for part in logits], axis=0))
        tensor = {"name": "x", "datatype": "FP32", "shape": list(rows.shape)}
        body = json.dumps({"inputs": [{**tensor, "data": rows.ravel().tolist()}]})
        headers = {"X-API-Key": self.keys[client], "Content-Type": "application/json"}
        self.connection.request("POST", "/v2/models/m/infer", body, headers)
        response = self.connection.getresponse()
        content = json.loads(response.read())
        if response.status == 200:
            self.answered += len(rows)
            (output,) = content["outputs"]
            return np.array(output["data"]).reshape(output["shape"])
        if response.status not in (413, 429) or "close" not in content["error"]:
            raise RuntimeError(content)
        if len(rows) > 1:
            half = len(rows) // 2
            return np.concatenate([self._send(part, client) for part in (rows[:half], rows[half:])])
        return self._send(rows, client + 1)


def attack(
    target: int, options: argparse.Namespace, pool: Any, functions: Any, folder: Path, cells: Path
) -> Iterator[list[dict[str, Any]]]:
    """Serve one model and attack it with the others; yield the figures of each setting."""
    state = functions.models[target]._module().state_dict()
    model = model_file(folder / f"mlp{target}.onnx", state)
    path = defense_file(folder / f"defense{target}.yaml", model)
    plain = path.read_text()
    others = [other for other in range(pool.models) if other != target]
    attacked = np.arange(options.records)
    shadows = pool.originals()
    member = shadows.records.use[target][attacked]
    shadows = replace(
        shadows,
        records=shadows.records.select(models=others, records=attacked),
        test=shadows.test.select(models=others),
        reference=shadows.reference.select(models=others, records=np.arange(0)),
        random=None,
    )
    inputs = functions.inputs[shadows.records.ids]
    models = [functions.models[other] for other in others]
    prepared = prepare_paths(models, shadows.records, inputs, functions.space, functions.seed)
    names = {"lira": "lira, direct query", "boundary_probing": "boundary_distance"}
    for near, clients in SETTINGS:
        settings = yaml.safe_load(plain)
        if near:
            settings["neighbourhood"] = {"budget": near, "cells": str(cells)}
        path.write_text(yaml.safe_dump(settings))
        file = folder / f"clients{target}-{near}-{clients}.txt"
        keys = [add_client(file, f"client-{number}") for number in range(clients)]
        arguments = ("--model", model, "--defense", path, "--model-name", "m", "--clients", file)
        with gateway(folder, *arguments, "--budget", 10**6) as served:
            attacker = Attacker(served.port, keys, models)
            defense = Configuration.read(path).defense
            direct = numerics.log_probabilities(attacker(inputs))
            records = shadows.records
            responses = Observation(
                records.labels, records.ids, direct[:, None], undo=defense.undo, constant=True
            )
            served_target = ServedTarget(attacker, True, defense, None)
            one = OneTarget(shadows, member, responses, served_target, prepared, defense)
            method = Method("served", defense, cell_width=WIDTH)
            threat = chosen(options.queries).threat
            trials = list(one.trials([], threat, one.noise(method)))
        rows = []
        for scores in attack_trials(trials, ["lira", "boundary_probing"]):
            if scores.name == "strongest":
                continue
            part, kept = scores.scores, scores.scores.scored[0]
            rows.append(
                {
                    "target": target,
                    "attack": names[scores.name],
                    "near": near,
                    "clients": clients,
                    "answered_a_record": round(attacker.answered / len(attacked), 2),
                    "refused_by_all_a_record": round(attacker.refused / len(attacked), 2),
                    "auc": float(auc(part.scores[0][kept], part.members[0][kept])),
                }
            )
            print(rows[-1], flush=True)
        yield rows


def average(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the targets of each setting, and the names of settings without figures."""
    means, missing = {}, []
    for near, clients in SETTINGS:
        name = f"{near} in a cell, {clients} clients"
        part = [row for row in rows if (row["near"], row["clients"]) == (near, clients)]
        if not part:
            missing.append(name)
            continue
        means[name] = {
            "answered_a_record": float(np.mean([row["answered_a_record"] for row in part])),
            **{
                attack: float(np.mean([row["auc"] for row in part if row["attack"] == attack]))
                for attack in ("lira, direct query", "boundary_distance")
            },
        }
    return {"mean": means, "not_measured": missing}


def main() -> None:
    """Attack gateways and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--targets", type=int, default=2)
    parser.add_argument("--records", type=int, default=100)
    parser.add_argument("--queries", type=int, default=64)
    parser.add_argument("--components", type=int, default=8)
    parser.add_argument("--width", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/neighbourhood.json"))
    options = parser.parse_args()
    pool, _, load = stored_pool("digits", options.store)
    functions = load()
    originals = pool.originals()
    cells = Cells.fit(
        functions.inputs[originals.reference.ids],
        width=options.width,
        components=options.components,
        standardise=False,
    )
    held_out = functions.inputs[originals.test.ids]
    counts = Counter(cells.digests(held_out)).values()
    about = {
        "command": f"python -m benchmarks.neighbourhood --store STORE --targets {options.targets}",
        "cells": f"{options.components} principal components, width {options.width:g}",
        "held_out_queries": len(held_out),
        "most_in_one_cell": max(counts),
        "held_out_refused": {
            near: sum(max(0, count - near) for count in counts) / len(held_out) for near in (16, 4)
        },
        "records": options.records,
        "shadow_models": pool.models - 1,
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cells.write(folder / "cells.json")
        for target in range(options.targets):
            for part in attack(target, options, pool, functions, folder, folder / "cells.json"):
                # After each setting, because one takes minutes and a run may be cut short.
                rows += part
                content = {**about, **average(rows), "rows": rows}
                content |= {"hardware": hardware(), "versions": versions()}
                write_json(options.out, content)
    print(average(rows))


if __name__ == "__main__":
    main()
