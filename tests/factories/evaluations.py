"""Made-up pools of models, their evaluation, and results by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dynanoise.core.defense import Method
from dynanoise.core.outputs import Outputs, Pool, Run
from dynanoise.core.result import AttackProtocol, Result
from dynanoise.data.canaries import Canaries
from dynanoise.evaluation.design import Design
from dynanoise.evaluation.engine import evaluate
from dynanoise.evaluation.paper_split import paper_splits
from dynanoise.evaluation.provenance import Provenance
from dynanoise.evaluation.shadow_pool import shadow_pools
from dynanoise.evaluation.single_model import SingleModel

ATTACKS = ("modified_entropy", "lira_by_class")
PROVENANCE = Provenance("made up", "made up", "dynanoise", versions={}, hardware={})


def made_up(leak: float = 2.0, models: int = 8, records: int = 400, seed: int = 0) -> Pool:
    """A pool of models that are surer of what they were trained on."""
    generator = np.random.default_rng(seed)

    def rows(count: int, use: np.ndarray[tuple[int, int], np.dtype[np.int8]]) -> Outputs:
        labels = generator.integers(0, 4, count)
        logits = generator.normal(0, 1, (models, count, 1, 4))
        logits[:, np.arange(count), 0, labels] += 1.5 + leak * use
        return Outputs(logits, labels, np.arange(count), use)

    coins = (generator.random((models, records)) < 0.5).astype(np.int8)
    nobody = np.zeros((models, 100), dtype=np.int8)
    return Pool(rows(records, coins), rows(100, nobody), rows(100, nobody), seed, "made up")


def evaluate_designs(
    designs: Mapping[str, Design],
    methods: Sequence[Method],
    protocol: AttackProtocol,
    **options: Any,
) -> list[Result]:
    """All results of designs by recipe."""
    provenance = dict.fromkeys(designs, PROVENANCE)
    return list(evaluate(designs, methods, protocol, provenance, **options))


def evaluate_runs(
    runs: Mapping[str, Run], methods: Sequence[Method], protocol: AttackProtocol, **options: Any
) -> list[Result]:
    """All results in the paper's layout."""
    baseline = methods[0].recipe if methods else next(iter(runs))
    return evaluate_designs(paper_splits(runs, baseline), methods, protocol, **options)


def evaluate_pools(
    pools: Mapping[str, Pool],
    methods: Sequence[Method],
    protocol: AttackProtocol,
    *,
    attackers: Mapping[str, Pool] | None = None,
    canaries: Canaries | None = None,
    **options: Any,
) -> list[Result]:
    """All results of leave-one-out."""
    designs = shadow_pools(pools, protocol, attackers, canaries)
    return evaluate_designs(designs, methods, protocol, **options)


def evaluate_alone(
    pool: Pool, methods: Sequence[Method], protocol: AttackProtocol, **options: Any
) -> list[Result]:
    """All results of one model."""
    return evaluate_designs({"plain": SingleModel(pool)}, methods, protocol, **options)


def by_name(results: Sequence[Result]) -> dict[tuple[str, str | None], Result]:
    """Results by method and attack."""
    return {(result.method, result.attack): result for result in results}
