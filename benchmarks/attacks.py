"""Time of LiRA and RMIA, beside tensorflow/privacy, ML Privacy Meter and LeakPro.

    git clone https://github.com/tensorflow/privacy PEERS/privacy
    git clone https://github.com/privacytrustlab/ml_privacy_meter PEERS/ml_privacy_meter
    git clone https://github.com/aidotse/LeakPro PEERS/LeakPro
    python -m benchmarks.attacks --peers PEERS

Without --peers only this package is timed. All sides have the same numbers. They start from the
stored signal of every model about every record, as an audit has it, LeakPro from logits and ratios
of the population, and end with the scores of one target. What only this
package does, once for all attacks on a target, is drawing equal numbers of in- and out-models at
random; that has a time of its own. The best of --repeats runs counts, in CPU seconds, one after the
other in turn, so that what else the machine does meets both; the first run computes the signals, so
that there are at least two. Nothing of the peers is kept here: the functions that are timed are
read from your clone, without what they import for plots and training.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy
import scipy.special
import scipy.stats

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.attacks.lira import Lira
from dynanoise.attacks.rmia import Rmia
from dynanoise.core import membership, numerics
from dynanoise.core.files import write_json
from dynanoise.core.numerics import Bools, Float64, Int8
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs
from dynanoise.core.seeding import derive
from dynanoise.evaluation.provenance import hardware, peak_gib, versions
from dynanoise.metrics.roc import roc

PLOT = Path("privacy/research/mi_lira_2021/plot.py")
METER = Path("ml_privacy_meter/attacks.py")
LEAKPRO = Path("LeakPro/leakpro/attacks/mia_attacks/rmia.py")

LIRA: tuple[tuple[str, dict[str, bool], Attack], ...] = (
    ("generate_ours", {}, Lira("online", "median", "example")),
    ("generate_ours", {"fix_variance": True}, Lira("online", "median", "raw")),
    ("generate_ours_offline", {}, Lira("offline_two_sided", "median", "example")),
    ("generate_ours_offline", {"fix_variance": True}, Lira("offline_two_sided", "median", "raw")),
)
"""Their function and its options, and the same attack here; their scores are negated."""


class Peer:
    """Functions and methods of a file in a clone, compiled without the rest of the file.

    ``given`` are values that they use of what the file imports.
    """

    def __init__(self, folder: Path | None, path: Path, names: Sequence[str], **given: Any) -> None:
        self.path, self.given = path, given
        self.functions: dict[str, Callable[..., Any]] = {}
        self.missing: str | None = None
        if folder is None:
            self.missing = "no folder of peers was given: --peers DIR"
        elif not (folder / path).is_file():
            self.missing = f"there is no {path} in the folder of peers"
        else:
            self._read((folder / path).read_bytes(), names)

    def _read(self, source: bytes, names: Sequence[str]) -> None:
        self.sha256 = hashlib.sha256(source).hexdigest()
        kept: list[ast.stmt] = [
            node
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef) and node.name in names
        ]
        namespace: dict[str, Any] = {"np": np, "scipy": scipy, "Self": Any, **self.given}
        code = compile(ast.Module(kept, type_ignores=[]), str(self.path), "exec")
        exec(code, namespace)  # noqa: S102 - the user's own clone, named on the command line
        absent = [name for name in names if name not in namespace]
        if absent:
            self.missing = f"{self.path} has no function {absent[0]}"
        self.functions = {name: namespace[name] for name in names if name in namespace}

    def about(self) -> dict[str, str]:
        """Name and digest of the file, or the reason why it is missing."""
        if self.missing is not None:
            return {"skipped": self.missing}
        return {"file": str(self.path), "sha256": self.sha256}


def best(
    runs: Mapping[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """CPU seconds of the best of several runs of each, in turn, and what each returned last."""
    seconds = dict.fromkeys(runs, float("inf"))
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.process_time()
            results[name] = run()
            seconds[name] = min(seconds[name], round(time.process_time() - started, 6))
    return seconds, results


def observed(column: Float64, population: Observation | None = None) -> Observation:
    """Answers of one model whose true class, 0 of two, has log-odds ``own`` [N]."""
    rows = numerics.log_softmax(np.stack([column, np.zeros_like(column)], axis=-1))[:, None]
    count = len(column)
    return Observation(np.zeros(count, np.int64), np.arange(count), rows, population=population)


def shadows_of(others: tuple[Observation, ...], use: Int8) -> ShadowObservations:
    """Shadow models' answers with who was trained on what."""
    logits = np.stack([model.log_probs for model in others])
    return ShadowObservations(others, use, Outputs(logits, others[0].labels, others[0].ids, use))


def score(attack: Attack, target: Observation, shadows: ShadowObservations) -> Float64:
    """Fit and score once, which is timed; from the second run on statistics are stored."""
    shadows.drawn.clear()  # else the second run would find the in- and out-models of each record
    return attack.fit(shadows).score(target)


def halves(generator: np.random.Generator, models: int, count: int) -> Bools:
    """Each record in exactly half of the models, so that both sides use all of them, [M, N]."""
    return np.asarray(generator.random((models, count)).argsort(axis=0) < models // 2)


def time_lira(peer: Peer, models: int, count: int, repeats: int, seed: int) -> dict[str, Any]:
    """Scores of one target beside ``models`` shadow models."""
    generator = np.random.default_rng(derive(seed, "lira"))
    keep = np.concatenate([generator.random((1, count)) < 0.5, halves(generator, models, count)])
    log_odds = generator.normal(generator.normal(2, 2, count), 1, (1 + models, count)) + 1.5 * keep
    target, *others = (observed(column) for column in log_odds)
    phi = np.stack([statistics.compute(each, "scaled_logit") for each in (target, *others)])
    use = keep[1:].astype(np.int8)
    drawing, _ = best(
        {"drawing": partial(membership.balance_shadows, use, models // 2, 0)}, repeats
    )
    shadows = shadows_of(tuple(others), use)
    rows: list[dict[str, Any]] = []
    for name, options, attack in (*LIRA, ("", {}, Lira())):
        runs: dict[str, Callable[[], Any]] = {"dynanoise": partial(score, attack, target, shadows)}
        if peer.missing is None and name:
            theirs = peer.functions[name]
            runs["peer"] = partial(theirs, keep[1:], phi[1:], keep[:1], phi[:1], **options)
        seconds, results = best(runs, repeats)
        row = {"attack": repr(attack), "auc": roc(results["dynanoise"], keep[0]).auc}
        row |= {f"{side}_seconds": value for side, value in seconds.items()}
        if "peer" in results:
            other = -np.array(results["peer"][0])
            row["peer_function"] = " ".join([name, *options])
            row["times_faster"] = round(seconds["peer"] / seconds["dynanoise"], 2)
            row["largest_difference"] = float(np.abs(other - results["dynanoise"]).max())
        rows.append(row)
    sizes = {"shadow_models": models, "records": count}
    return {**sizes, "drawing_seconds": drawing["drawing"], "peer": peer.about(), "rows": rows}


def leakpro_run(
    peer: Peer, log_odds: Float64, of_population: Float64, keep: Bools, a: float
) -> Callable[[], Float64]:
    """LeakPro's offline RMIA with gamma = 1 on the records, its own state around it.

    Args:
        peer: its method ``_run_attack``.
        log_odds: float64 [1 + S, N], the target's first.
        of_population: float64 [1 + S, P], log odds on the population.
        keep: bool [1 + S, N], membership.
        a: its ``offline_a``.

    Returns:
        A function without arguments that returns the scores [N].
    """
    target, *shadows = np.stack([log_odds, np.zeros_like(log_odds)], axis=-1)
    of_target, *of_shadows = scipy.special.expit(of_population)
    outside = 0.5 * ((a + 1) * np.mean(of_shadows, axis=0) + (1 - a))
    count = log_odds.shape[1]
    state = SimpleNamespace(
        online=False,
        offline_a=a,
        gamma=1.0,
        temperature=1.0,
        epsilon=1e-6,
        logits_theta=target,
        logits_shadow_models=shadows,
        ground_truth_indices=np.zeros(count, np.int64),
        out_indices=~keep[1:],
        ratio_z=(of_target / (outside + 1e-6))[None],
        audit_dataset={"in_members": np.arange(count), "out_members": np.arange(0)},
    )

    def run() -> Float64:
        peer.functions["_run_attack"](state)
        scores: Float64 = state.in_member_signals[:, 0]
        return scores

    return run


def time_rmia(
    meter: Peer, leakpro: Peer, k: int, count: int, population: int, repeats: int, seed: int
) -> dict[str, Any]:
    """Offline scores of one target beside k in- and k out-models, a = 0.3 and gamma = 1.

    Models come in complementary pairs, as Privacy Meter expects. For the population it averages the
    k largest of 2 k probabilities, where LeakPro and this package average all 2 k, so scores are
    not the same, but their order is.
    """
    generator = np.random.default_rng(derive(seed, "rmia"))
    first = generator.random((1 + k, count)) < 0.5
    keep = np.stack([first, ~first], axis=1).reshape(2 + 2 * k, count)
    shape = (2 + 2 * k, count)
    log_odds = generator.normal(generator.normal(1, 2, count), 1, shape) + 1.5 * keep
    of_population = generator.normal(generator.normal(1, 2, population), 1, (2 + 2 * k, population))
    everybody = [observed(x, observed(z)) for x, z in zip(log_odds, of_population, strict=True)]
    target, others = everybody[0], tuple(everybody[2:])
    signals, known_signals = (
        np.exp(np.stack([statistics.compute(each, "loss")[:, 0] for each in some], axis=1))
        for some in (everybody, [each.population for each in everybody if each.population])
    )
    use = keep[2:].astype(np.int8)
    attack = Rmia(offline=True, a=0.3, gamma=1.0)
    runs: dict[str, Callable[[], Any]] = {
        "dynanoise": partial(score, attack, target, shadows_of(others, use))
    }
    if meter.missing is None:
        theirs = meter.functions["run_rmia"]
        runs["privacy_meter"] = partial(theirs, 0, signals, known_signals, keep.T, k, 0.3)
    if leakpro.missing is None:
        rows = np.array([0, *range(2, len(keep))])
        runs["leakpro"] = leakpro_run(leakpro, log_odds[rows], of_population[rows], keep[rows], 0.3)
    drawing, _ = best({"drawing": partial(membership.balance_shadows, use, k, 0)}, repeats)
    seconds, results = best(runs, repeats)
    row: dict[str, Any] = {"attack": repr(attack), "auc": roc(results["dynanoise"], keep[0]).auc}
    row |= {f"{side}_seconds": value for side, value in seconds.items()}
    for side in [side for side in results if side != "dynanoise"]:
        row[f"auc_of_{side}"] = roc(results[side], keep[0]).auc
        row[f"times_faster_than_{side}"] = round(seconds[side] / seconds["dynanoise"], 2)
        ranks = scipy.stats.spearmanr(results[side], results["dynanoise"])
        row[f"rank_correlation_with_{side}"] = float(ranks.statistic)
    sizes = {"in_models": k, "out_models": k, "records": count, "population": population}
    return {**sizes, "drawing_seconds": drawing["drawing"], **row}


def main(arguments: Sequence[str] | None = None) -> None:
    """Times both attacks and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--peers", type=Path, help="folder with clones of the peers")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/attacks.json"))
    parser.add_argument("--models", type=int, default=64, help="LiRA's shadow models, even")
    parser.add_argument("--examples", type=int, default=50_000, help="LiRA's records")
    parser.add_argument("--records", type=int, default=10_000, help="RMIA's records")
    parser.add_argument("--population", type=int, default=10_000, help="RMIA's known non-members")
    parser.add_argument("--k", type=int, default=[1, 2, 4], nargs="+", help="RMIA's out-models")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)

    plot = Peer(chosen.peers, PLOT, ("generate_ours", "generate_ours_offline"))
    meter = Peer(chosen.peers, METER, ("run_rmia", "get_rmia_out_signals"))
    leakpro = Peer(
        chosen.peers,
        LEAKPRO,
        ("_run_attack",),
        logger=logging.getLogger("leakpro"),
        softmax_logits=lambda logits, temperature: scipy.special.softmax(logits / temperature, -1),
    )
    sizes = ["models", "examples", "records", "population", "repeats", "seed"]
    arguments = [f"--{name} {vars(chosen)[name]}" for name in sizes]
    arguments.append(f"--k {' '.join(map(str, chosen.k))}")
    # Where the clones lie says nothing about the numbers, and something about the machine.
    peers = ["--peers PEERS"] if chosen.peers else []
    repeats, seed = chosen.repeats, chosen.seed
    counts = chosen.records, chosen.population
    measured = {
        "command": " ".join(["python -m benchmarks.attacks", *peers, *arguments]),
        "versions": versions(),
        "hardware": {**hardware(), "load_average": round(os.getloadavg()[0], 1)},
        "lira": time_lira(plot, chosen.models, chosen.examples, repeats, seed),
        "rmia": {
            "privacy_meter": meter.about(),
            "leakpro": leakpro.about(),
            "rows": [time_rmia(meter, leakpro, k, *counts, repeats, seed) for k in chosen.k],
        },
        "peak_memory_gib": peak_gib(),
    }
    sys.stdout.write(write_json(chosen.out, measured))


if __name__ == "__main__":
    main()
