"""A target model with its truth, and shadow models, for tests of attacks."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.attacks.base import Attack
from dynanoise.core import membership
from dynanoise.core.membership import balance_shadows, has_shadows, shadows_per_record
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs
from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits, observe_undefended


def leaky_logits(
    generator: np.random.Generator, members: npt.NDArray[np.bool_], classes: int, leak: float
) -> tuple[Float64, npt.NDArray[np.int64]]:
    """Logits [N, K] whose true class is ``leak`` higher for members, and labels [N]."""
    count = len(members)
    labels = generator.integers(0, classes, count)
    rows = generator.normal(0, 1, (count, classes))
    rows[np.arange(count), labels] += 1.5 + leak * members
    return rows, labels


def target_and_shadows(
    seed: int, leak: float, count: int = 600, classes: int = 4, models: int = 3
) -> tuple[Observation, npt.NDArray[np.bool_], ShadowObservations]:
    """A target with its truth, and shadow models that leak 3; all independent.

    The target has answers about 100 known non-members, too.
    """
    generator = np.random.default_rng(seed)
    truth = generator.permutation(count) < count // 2
    rows, labels = leaky_logits(generator, truth, classes, leak)
    members = np.arange(count) < count // 2
    shadow_labels = generator.integers(0, classes, count)
    shadow_rows = generator.normal(0, 1, (models, count, classes))
    shadow_rows[:, np.arange(count), shadow_labels] += 1.5 + 3.0 * members
    use = np.broadcast_to(members, (models, count)).astype(np.int8)
    apart = np.random.default_rng([seed, 1])
    population = observe_logits(*leaky_logits(apart, np.zeros(100, bool), classes, leak))
    target = replace(observe_logits(rows, labels), population=population)
    return target, truth, observe_shadow_logits(shadow_rows, shadow_labels, use)


def pool_target_and_shadows(
    seed: int,
    leak: float,
    count: int = 600,
    classes: int = 4,
    models: int = 13,
    inputs: int = 1,
    shadow_leak: float = 3.0,
) -> tuple[Observation, npt.NDArray[np.bool_], ShadowObservations]:
    """A target with its truth, and shadow models, that all answered the same records.

    Membership is a fair coin for each of ``models`` models and each record. A record's logits are
    its own, with noise from model to model and input to input; members' true class is ``leak``
    higher (``shadow_leak`` for shadow models). All models answer 100 known non-members. Each record
    has the same number of in- and out-models among the shadows; records with too few are left out.
    """
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count + 100)
    easy = generator.normal(0, 1, (count + 100, 1, classes))
    easy[np.arange(len(labels)), 0, labels] += 1.5
    logits = easy + generator.normal(0, 0.7, (models, len(labels), inputs, classes))
    member = generator.random((models, len(labels))) < 0.5
    member[:, count:] = False
    leaks = np.where(np.arange(models) == 0, leak, shadow_leak)
    for model in range(models):
        rows = np.flatnonzero(member[model])
        logits[model, rows, :, labels[rows]] += leaks[model]

    use = member[1:, :count].astype(np.int8)
    kept = balance_shadows(use, shadows_per_record(use), seed)
    chosen = np.flatnonzero(has_shadows(kept))
    outputs = Outputs(logits, labels, np.arange(len(labels)), member.astype(np.int8))
    population = observe_undefended(outputs.select(records=slice(count, None)))
    observed = observe_undefended(outputs.select(records=chosen))
    target, *others = (
        replace(observation, population=reference)
        for observation, reference in zip(
            observed.observations, population.observations, strict=True
        )
    )
    shadow_use = kept[:, chosen]
    clean = replace(outputs.select(models=slice(1, None), records=chosen), use=shadow_use)
    return target, member[0, chosen], ShadowObservations(tuple(others), shadow_use, clean)


def attack_case(
    attack: Attack, seed: int, leak: float, count: int = 600
) -> tuple[Observation, npt.NDArray[np.bool_], ShadowObservations]:
    """A target with its truth, and shadows of the kind the attack needs."""
    return _case_of_kind(attack.aligned, seed, leak, count)


@cache  # the same for all attacks of a kind
def _case_of_kind(
    aligned: bool, seed: int, leak: float, count: int
) -> tuple[Observation, npt.NDArray[np.bool_], ShadowObservations]:
    make = pool_target_and_shadows if aligned else target_and_shadows
    target, truth, shadows = make(seed, leak, count)
    return with_inputs(target), truth, shadows


def with_inputs(target: Observation) -> Observation:
    """A target and its population with two numbers a record that say nothing about membership."""
    inputs = np.random.default_rng(0).normal(0, 1, (2_000, 2))
    assert target.population is not None
    population = replace(target.population, inputs=inputs)
    return replace(target, inputs=inputs, population=population)


def reorder(observed: Observation, order: npt.NDArray[Any]) -> Observation:
    """Answers about the same records in another order, or about some of them."""
    return replace(
        observed,
        labels=observed.labels[order],
        ids=observed.ids[order],
        log_probs=observed.log_probs[order],
    )


def reorder_shadows(shadows: ShadowObservations, order: npt.NDArray[Any]) -> ShadowObservations:
    """Shadow models that answered the same records in another order."""
    return ShadowObservations(
        tuple(reorder(shadow, order) for shadow in shadows.observations),
        shadows.use[:, order],
        shadows.clean.select(records=order),
    )


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
    lead = ease + leaks[:, None] * use
    logits[:, np.arange(count), :, labels] += lead.T[:, :, None]
    return Outputs(logits, labels, np.arange(count), use)


def case_of(
    outputs: Outputs, seed: int = 0
) -> tuple[Observation, npt.NDArray[np.bool_], ShadowObservations]:
    """Model 0 as the target with its truth, the others as its shadows; records that have some."""
    use = outputs.use[1:]
    masked = membership.balance_shadows(use, membership.shadows_per_record(use), seed)
    kept = np.flatnonzero(membership.has_shadows(masked))
    outputs = outputs.select(records=kept)
    target, *others = observe_undefended(outputs).observations
    clean = outputs.select(models=slice(1, None))
    return target, outputs.use[0] == 1, ShadowObservations(tuple(others), masked[:, kept], clean)


def pool_case(
    seed: int, leak: float = 3.0, **shape: Any
) -> tuple[Observation, npt.NDArray[np.bool_], ShadowObservations]:
    """A target that leaks ``leak``, and shadow models that leak 3, of one pool."""
    return case_of(pool_outputs(seed, 3.0, target_leak=leak, **shape), seed)
