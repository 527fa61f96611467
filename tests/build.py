"""Small inputs for tests, and strategies that make them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dynanoise.attacks.base import Attack
from dynanoise.core.membership import balance_shadows, has_shadows, shadows_per_record
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs, Run, View
from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits, observe_undefended

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def logits(
    largest: float = 30.0, dtype: Any = np.float64, classes: int | None = None, rows: int = 6
) -> st.SearchStrategy[npt.NDArray[Any]]:
    """Finite logits [n, K] within ±largest."""
    elements = hnp.from_dtype(
        np.dtype(dtype),
        min_value=float(np.asarray(-largest, dtype)),
        max_value=float(np.asarray(largest, dtype)),
        allow_nan=False,
        allow_infinity=False,
    )
    shapes = st.tuples(st.integers(1, rows), st.just(classes) if classes else st.integers(2, 12))
    return shapes.flatmap(lambda shape: hnp.arrays(dtype, shape, elements=elements))


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy that cannot be written to."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


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
    known = observe_logits(*leaky_logits(apart, np.zeros(100, bool), classes, leak))
    seen = replace(observe_logits(rows, labels), population=known)
    return seen, truth, observe_shadow_logits(shadow_rows, shadow_labels, use)


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
    own = generator.normal(0, 1, (count + 100, 1, classes))
    own[np.arange(len(labels)), 0, labels] += 1.5
    logits = own + generator.normal(0, 0.7, (models, len(labels), inputs, classes))
    member = generator.random((models, len(labels))) < 0.5
    member[:, count:] = False
    leaks = np.where(np.arange(models) == 0, leak, shadow_leak)
    for model in range(models):
        rows = np.flatnonzero(member[model])
        logits[model, rows, :, labels[rows]] += leaks[model]

    use = member[1:, :count].astype(np.int8)
    kept = balance_shadows(use, shadows_per_record(use), seed)
    chosen = np.flatnonzero(has_shadows(kept))
    everybody = Outputs(logits, labels, np.arange(len(labels)), member.astype(np.int8))
    known = observe_undefended(everybody.select(records=slice(count, None))).observations
    seen = observe_undefended(everybody.select(records=chosen)).observations
    target, *others = (
        replace(one, population=population) for one, population in zip(seen, known, strict=True)
    )
    own_use = kept[:, chosen]
    clean = replace(everybody.select(models=slice(1, None), records=chosen), use=own_use)
    return target, member[0, chosen], ShadowObservations(tuple(others), own_use, clean)


def material(
    attack: Attack, seed: int, leak: float, count: int = 600
) -> tuple[Observation, npt.NDArray[np.bool_], ShadowObservations]:
    """A target with its truth, and shadows of the kind the attack needs."""
    make = pool_target_and_shadows if attack.aligned else target_and_shadows
    return make(seed, leak, count)


def reordered(observed: Observation, order: npt.NDArray[Any]) -> Observation:
    """Answers about the same records in another order, or about some of them."""
    return replace(
        observed,
        labels=observed.labels[order],
        ids=observed.ids[order],
        log_probs=observed.log_probs[order],
    )


def reordered_shadows(shadows: ShadowObservations, order: npt.NDArray[Any]) -> ShadowObservations:
    """Shadow models that answered the same records in another order."""
    return ShadowObservations(
        tuple(reordered(seen, order) for seen in shadows.observations),
        shadows.use[:, order],
        shadows.clean.select(records=order),
    )


def outputs(
    models: int = 1,
    records: int = 40,
    classes: int = 3,
    seed: int = 0,
    first_id: int = 0,
    members: int = 20,
    leak: float = 0.0,
) -> Outputs:
    """Random float32 outputs whose first ``members`` records were trained on."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, records)
    rows = generator.normal(0, 2, (models, records, 1, classes)).astype(np.float32)
    used = np.arange(records) < members
    rows[:, np.arange(records), 0, labels] += 2 + leak * used
    use = np.broadcast_to(used, (models, records)).astype(np.int8)
    return Outputs(rows, labels, np.arange(records) + first_id, use)


def run(
    seed: int = 0, leak: float = 3.0, shadows: int = 3, members: int = 60, classes: int = 3
) -> Run:
    """A made-up run in the paper's layout, without training."""
    return Run(
        target=outputs(1, 100, classes, seed, members=members, leak=leak),
        shadows=outputs(shadows, 100, classes, seed + 1, members=50, leak=leak, first_id=100),
        test=outputs(1, 50, classes, seed + 2, members=0, first_id=200),
        reference=outputs(1 + shadows, 30, classes, seed + 3, members=0, first_id=300),
        seed=seed,
        split="made up",
        random=np.random.default_rng(seed + 4).normal(0, 2, (1 + shadows, 20, classes)),
    )


def view(seed: int = 0, classes: int = 3) -> View:
    """A defender's view of one model."""
    return run(seed, classes=classes).view(0)
