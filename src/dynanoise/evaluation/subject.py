"""The models that results are about: their names, and how many records are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dynanoise.core import membership
from dynanoise.core.numerics import Int8
from dynanoise.core.outputs import Pool
from dynanoise.core.result import AUDIT, AttackProtocol, Result
from dynanoise.evaluation.paper_split import Finding
from dynanoise.evaluation.single_model import halves


@dataclass(frozen=True)
class Subject:
    """What is audited, for results.

    Attributes:
        dataset: what the data are called.
        model: what the models are called.
        command: what makes these numbers again.
        parameters: of the models.
        recipe: how they were trained.
        preset: what the comparison is called.
    """

    dataset: str
    model: str
    command: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = "as given"
    preset: str = AUDIT

    def record(
        self,
        finding: Finding,
        protocol: AttackProtocol,
        pool: Pool,
        counts: Mapping[str, int],
        versions: Mapping[str, str],
        hardware: Mapping[str, Any],
    ) -> Result:
        """The Result of a finding about a pool."""
        return finding.record(
            protocol,
            dataset=self.dataset,
            model=self.model,
            model_parameters=self.parameters,
            recipe=self.recipe,
            recipe_parameters={},
            preset=self.preset,
            seed=pool.seed,
            split=pool.split,
            counts=counts,
            command=self.command,
            versions=versions,
            hardware=hardware,
        )


def counts_of(pool: Pool) -> dict[str, int]:
    """How many models and records there are, and pairs of them that are scored."""
    use = pool.examples.use
    alone = pool.models == 1
    scored = use[:, halves(use[0], pool.seed).scored] if alone else _scored(use)
    return {
        "models": pool.models,
        "pool": int(use.shape[1]),
        "reference": len(pool.reference.labels),
        "test": len(pool.test.labels),
        "scored_members": int((scored == 1).sum()),
        "scored_non_members": int((scored == 0).sum()),
    }


def _scored(use: Int8) -> Int8:
    """The same use, hidden where a target's example has too few shadows to be scored."""
    rest = [np.delete(use, target, axis=0) for target in range(len(use))]
    k = min(membership.shadows_an_example(others) for others in rest)
    least = [np.minimum((one == 1).sum(axis=0), (one == 0).sum(axis=0)) for one in rest]
    return np.where(np.array(least) >= k, use, np.int8(-1))
