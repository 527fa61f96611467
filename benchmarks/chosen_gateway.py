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
from collections.abc import Callable
from dataclasses import replace
from functools import partial
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
from dynanoise.core.numerics import Floats
from dynanoise.core.observation import Observation
from dynanoise.core.outputs import Pool
from dynanoise.core.queries import Inputs
from dynanoise.evaluation.chosen_inputs import ModelFunctions, prepare_paths
from dynanoise.evaluation.protocols import chosen
from dynanoise.evaluation.provenance import hardware, versions
from dynanoise.evaluation.trial import attack_trials
from dynanoise.metrics.bootstrap import PoolScores

WIDTH = 16.0
BUDGET = 80_000
"""Queries that a gateway answers, more than the attack needs."""

NAMES = ("1.weight", "1.bias", "3.weight", "3.bias")
"""Weights of an MLP of one hidden layer."""


def begin(
    description: str | None, name: str, targets: int, **numbers: float
) -> tuple[argparse.Namespace, Pool, ModelFunctions]:
    """Read the options of a benchmark of the stored pool on digits, and load its models.

    Args:
        description: text of the help.
        name: name of the file of results.
        targets: number of models that are attacked, by default.
        numbers: further options, with their defaults.

    Returns:
        The options, the outputs of the pool, and its models.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(f"results/benchmarks/{name}.json"))
    for option, default in {"targets": targets, "queries": 64, **numbers}.items():
        parser.add_argument(f"--{option}", type=type(default), default=default)
    options = parser.parse_args()
    pool, _, load = stored_pool("digits", options.store)
    return options, pool, load()


def model_file(path: Path, state: dict[str, Any]) -> Path:
    """Write an MLP of one hidden layer as ONNX."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    first, b, last, c = (np.asarray(state[name]) for name in NAMES)
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


class Attacker:
    """The other models of the pool as an attacker's, before one of them that is served.

    Args:
        pool: outputs of all models.
        functions: the models.
        target: position of the served model.
        folder: folder for its ONNX file and its defense.yaml.
        records: how many records are attacked, from the first on; None for all.

    Attributes:
        model: the ONNX file.
        path: the defense.yaml.
        models: the attacker's models.
        inputs: inputs of the records that are attacked.
        seconds: duration of the preparation.
    """

    def __init__(
        self,
        pool: Pool,
        functions: ModelFunctions,
        target: int,
        folder: Path,
        records: int | None = None,
    ) -> None:
        served: Any = functions.models[target]
        self.model = model_file(folder / f"mlp{target}.onnx", served._module().state_dict())
        self.path = defense_file(folder / f"defense{target}.yaml", self.model)
        self.defense = Configuration.read(self.path).defense
        others = [other for other in range(pool.models) if other != target]
        originals = pool.originals()
        attacked = np.arange(len(originals.records.ids))[:records]
        self._member = originals.records.use[target][attacked]
        self._shadows = replace(
            originals,
            records=originals.records.select(models=others, records=attacked),
            test=originals.test.select(models=others),
            reference=originals.reference.select(models=others, records=np.arange(0)),
            random=None,
        )
        self.inputs = functions.inputs[self._shadows.records.ids]
        self.models = [functions.models[other] for other in others]
        started = time.perf_counter()
        self._prepared = prepare_paths(
            self.models, self._shadows.records, self.inputs, functions.space, functions.seed
        )
        self.seconds = time.perf_counter() - started

    def attack(
        self, query: Callable[[Inputs], Floats], queries: int, width: float | None
    ) -> tuple[float, dict[str, PoolScores]]:
        """Attack the served model.

        Args:
            query: from inputs [n, ...] to the server's probabilities [n, K].
            queries: budget of a record.
            width: width of the cells of logits that are probed; None to probe labels alone.

        Returns:
            Queries spent on a record, and the scores of each attack.
        """
        direct = numerics.log_probabilities(query(self.inputs).astype(np.float64))
        records = self._shadows.records
        responses = Observation(
            records.labels, records.ids, direct[:, None], undo=self.defense.undo, constant=True
        )
        target = ServedTarget(query, True, self.defense, width)
        design = OneTarget(
            self._shadows, self._member, responses, target, self._prepared, self.defense
        )
        noise = design.noise(Method("served", self.defense, cell_width=WIDTH))
        trials = list(design.trials([], chosen(queries).threat, noise))
        scores = attack_trials(trials, ["lira", "boundary_probing"])
        return trials[0].queries, {part.name: part.scores for part in scores}


def pair_auc(scores: PoolScores) -> float:
    """AUC of the records of one target that are scored."""
    kept = scores.scored[0]
    return float(auc(scores.scores[0][kept], scores.members[0][kept]))


def attack(attacker: Attacker, target: int, queries: int, folder: Path) -> list[dict[str, Any]]:
    """Serve one model and attack it with the others: by cells, and by labels alone."""
    rows = []
    arguments = ("--model", attacker.model, "--defense", attacker.path, "--model-name", "m")
    for name, width in (("boundary_probing", WIDTH), ("boundary_distance", None)):
        with gateway(folder, *arguments, "--budget", BUDGET) as served:
            url = f"http://127.0.0.1:{served.port}/v2/models/m"
            endpoint = Endpoint(url, BUDGET)
            query = partial(endpoint.query, endpoint.metadata())
            started = time.perf_counter()
            spent, scores = attacker.attack(query, queries, width)
            seconds = time.perf_counter() - started
            endpoint.close()
            counted = BUDGET - refused_after(url, attacker.inputs)
        attacks = {name: (spent, scores["boundary_probing"])}
        if width is not None:
            attacks = {"lira, direct query": (1.0, scores["lira"]), **attacks}
        for attack_name, (of_record, part) in attacks.items():
            rows.append(
                {
                    "target": target,
                    "attack": attack_name,
                    "queries_a_record": of_record,
                    "queries_of_the_client": endpoint.spent,
                    "queries_counted_by_the_server": counted,
                    "seconds": round(seconds, 1),
                    "seconds_of_preparation": round(attacker.seconds, 1),
                    "auc": pair_auc(part),
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Attack gateways and write the figures."""
    options, pool, functions = begin(__doc__, "chosen_gateway", 4)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for target in range(options.targets):
            attacker = Attacker(pool, functions, target, folder)
            rows += attack(attacker, target, options.queries, folder)
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
