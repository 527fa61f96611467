"""Chosen inputs through the gateway: keyed noise on digits, with every query counted by the server.

    dynanoise bench --preset digits --protocol adaptive_chosen --store STORE
    python -m benchmarks.chosen_gateway --store STORE

Some MLPs of the stored pool are served by `dynanoise serve` behind keyed DynaNoise, each by a
gateway of its own with a query budget; the other 15 are the attacker's shadow models. After the
attack further queries are sent until the server refuses one, which tells the server's own count.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.gateway import gateway
from dynanoise.attacks.thresholds import auc
from dynanoise.audits.chosen.one_target import OneTarget
from dynanoise.audits.endpoint.client import Endpoint
from dynanoise.audits.endpoint.served_target import ServedTarget
from dynanoise.benchmark.stored_pool import stored_pool
from dynanoise.config.configuration import Configuration
from dynanoise.core import numerics
from dynanoise.core.defense import Method
from dynanoise.core.errors import InputError
from dynanoise.core.files import write_json
from dynanoise.core.observation import Observation
from dynanoise.evaluation.chosen_inputs import prepare_paths
from dynanoise.evaluation.protocols import chosen
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.evaluation.trial import attack_trials

WIDTH = 16.0
BUDGET = 80_000
"""Queries that a gateway answers, more than the attack needs."""


NAMES = ("1.weight", "1.bias", "3.weight", "3.bias")


def model_file(path: Path, state: dict[str, Any]) -> Path:
    """Write an MLP of one hidden layer as ONNX."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    first, b, last, c = (
        np.asarray(state[name]) for name in ("1.weight", "1.bias", "3.weight", "3.bias")
    )
    arrays = {"w": first.T.copy(), "b": b, "v": last.T.copy(), "c": c}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["xw"]),
            helper.make_node("Add", ["xw", "b"], ["sum"]),
            helper.make_node("Relu", ["sum"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "v"], ["hv"]),
            helper.make_node("Add", ["hv", "c"], ["logits"]),
        ],
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", len(arrays["w"])])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(c)])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def defense_file(path: Path, model: Path) -> Path:
    """Write the defense.yaml of keyed DynaNoise for a model."""
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    settings = {
        "version": 1,
        "defense": {
            "name": "dynanoise",
            "base_variance": 0.3,
            "lambda_scale": 2.0,
            "temperature": 10.0,
            "keep_label": True,
        },
        "noise": {"name": "keyed", "cell_width": WIDTH, "model": "mlp", "weights": digest},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def refused_after(url: str, rows: Any) -> int:
    """Send single queries and batches until the server refuses one; count those answered."""
    answered = 0

    endpoint = Endpoint(url, BUDGET)
    metadata = endpoint.metadata()
    for size in (64, 1):
        try:
            while True:
                endpoint.query(metadata, rows[:size])
                answered += size
        except InputError:  # the server's budget is spent
            endpoint.close()
    return answered


def attack(
    target: int, queries: int, pool: Any, functions: Any, folder: Path
) -> list[dict[str, Any]]:
    """Serve one model and attack it with the others: by cells, and by labels alone."""
    state = functions.models[target]._module().state_dict()
    model = model_file(folder / f"mlp{target}.onnx", state)
    path = defense_file(folder / f"defense{target}.yaml", model)
    configured = Configuration.read(path)
    others = [other for other in range(pool.models) if other != target]
    shadows = pool.originals()
    member = shadows.records.use[target]

    shadows = replace(
        shadows,
        records=shadows.records.select(models=others),
        test=shadows.test.select(models=others),
        reference=shadows.reference.select(models=others, records=np.arange(0)),
        random=None,
    )
    inputs = functions.inputs[shadows.records.ids]
    models = [functions.models[other] for other in others]
    started = time.perf_counter()
    prepared = prepare_paths(models, shadows.records, inputs, functions.space, functions.seed)
    preparation = time.perf_counter() - started
    rows = []
    for cells in (True, False):
        arguments = ("--model", model, "--defense", path, "--model-name", "m", "--budget", BUDGET)
        with gateway(folder, *arguments) as served:
            url = f"http://127.0.0.1:{served.port}/v2/models/m"
            endpoint = Endpoint(url, BUDGET)
            metadata = endpoint.metadata()

            def query(part: Any, endpoint: Endpoint = endpoint, metadata: Any = metadata) -> Any:
                return endpoint.query(metadata, part)

            started = time.perf_counter()
            direct = numerics.log_probabilities(query(inputs).astype(np.float64))
            responses = Observation(
                shadows.records.labels,
                shadows.records.ids,
                direct[:, None],
                undo=configured.defense.undo,
                constant=True,
            )
            width = WIDTH if cells else None
            one = OneTarget(
                shadows,
                member,
                responses,
                ServedTarget(query, True, configured.defense, width),
                prepared,
                configured.defense,
            )
            method = Method("served", configured.defense, cell_width=WIDTH)
            threat = chosen(queries).threat
            trials = list(one.trials([], threat, one.noise(method)))
            seconds = time.perf_counter() - started
            endpoint.close()
            counted = BUDGET - refused_after(url, inputs)
        for scores in attack_trials(trials, ["lira", "boundary_probing"]):
            if scores.name == "strongest" or (scores.name == "lira" and not cells):
                continue
            part = scores.scores
            kept = part.scored[0]
            name = scores.name if cells else "boundary_distance"
            name = "lira, direct query" if scores.name == "lira" else name
            rows.append(
                {
                    "target": target,
                    "attack": name,
                    "queries_a_record": 1.0 if scores.name == "lira" else trials[0].queries,
                    "queries_of_the_client": endpoint.spent,
                    "queries_counted_by_the_server": counted,
                    "seconds": round(seconds, 1),
                    "seconds_of_preparation": round(preparation, 1),
                    "auc": float(auc(part.scores[0][kept], part.members[0][kept])),
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Attack gateways and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--targets", type=int, default=4)
    parser.add_argument("--queries", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/chosen_gateway.json"))
    options = parser.parse_args()
    pool, _, load = stored_pool("digits", options.store)
    functions = load()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for target in range(options.targets):
            rows += attack(target, options.queries, pool, functions, Path(folder))
    names = dict.fromkeys(row["attack"] for row in rows)
    content = {
        "command": "python -m benchmarks.chosen_gateway --store STORE",
        "defense": f"dynanoise(0.3, 2, 10, keep_label), keyed, cells of {WIDTH:g} logits",
        "records": len(pool.records.ids),
        "shadow_models": pool.models - 1,
        "mean_auc": {
            name: float(np.mean([row["auc"] for row in rows if row["attack"] == name]))
            for name in names
        },
        "rows": rows,
        "hardware": hardware(),
        "versions": versions(),
    }
    write_json(options.out, content)
    print(content["mean_auc"])


if __name__ == "__main__":
    main()
