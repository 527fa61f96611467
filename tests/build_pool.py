"""A made-up pool: models that answered the same records, one of them the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core import membership
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs
from dynanoise.evaluation.responses import observe_undefended


def pool_outputs(
    seed: int,
    leak: float = 3.0,
    count: int = 400,
    models: int = 10,
    classes: int = 4,
    inputs: int = 1,
    target_leak: float | None = None,
) -> Outputs:
    """Logits of records that are easy or hard, ``leak`` higher at the true class for members."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    use = (generator.random((models, count)) < 0.5).astype(np.int8)
    ease = generator.normal(1.5, 1.5, count)
    logits = generator.normal(0, 1, (models, count, inputs, classes))
    leaks = np.full(models, leak)
    leaks[0] = leak if target_leak is None else target_leak
    own = ease + leaks[:, None] * use
    logits[:, np.arange(count), :, labels] += own.T[:, :, None]
    return Outputs(logits, labels, np.arange(count), use)


def case_of(
    outputs: Outputs, seed: int = 0
) -> tuple[Observation, npt.NDArray[np.bool_], ShadowObservations]:
    """Model 0 as the target with its truth, the others as its shadows; records that have some."""
    use = outputs.use[1:]
    masked = membership.balance_shadows(use, membership.shadows_per_record(use), seed)
    kept = np.flatnonzero(membership.has_shadows(masked))
    outputs = outputs.select(records=kept)
    seen = observe_undefended(outputs).observations
    clean = outputs.select(models=slice(1, None))
    return seen[0], outputs.use[0] == 1, ShadowObservations(tuple(seen[1:]), masked[:, kept], clean)


def pool_case(
    seed: int, leak: float = 3.0, **shape: Any
) -> tuple[Observation, npt.NDArray[np.bool_], ShadowObservations]:
    """A target that leaks ``leak``, and shadow models that leak 3, of one pool."""
    return case_of(pool_outputs(seed, 3.0, target_leak=leak, **shape), seed)
