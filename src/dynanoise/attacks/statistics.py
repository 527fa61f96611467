"""Statistics of an output, one number each; larger = more likely a member.

Each takes log-probabilities float64 [N, K] (rows sum to 1 after exponentiation) and labels int64
[N] in 0..K-1, and returns float64 [N]. Loss and entropies are negated.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special, stats

from dynanoise.core import numerics
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations


def confidence(log_probs: Float64, labels: Int64) -> Float64:
    """Return max_i p_i, in (0, 1] (Salem et al. 2019). Labels are not used.

    Args:
        log_probs: float64 [N, K].
        labels: int64 [N].

    Returns:
        float64 [N].

    >>> confidence(np.log([[0.7, 0.3]]), np.array([1])).round(6).tolist()
    [0.7]
    """
    return np.asarray(np.exp(numerics.row_max(log_probs)))


def loss(log_probs: Float64, labels: Int64) -> Float64:
    """Return ln p_y, at most 0: the cross-entropy in nats, negated (Yeom et al. 2018).

    Args:
        log_probs: float64 [N, K].
        labels: int64 [N].

    Returns:
        float64 [N].

    >>> loss(np.log([[0.7, 0.3]]), np.array([1])).round(4).tolist()
    [-1.204]
    """
    return numerics.take_label(log_probs, labels)


def entropy(log_probs: Float64, labels: Int64) -> Float64:
    """Return -H(p) in nats, in [-ln K, 0] (Salem et al. 2019). Labels are not used.

    Args:
        log_probs: float64 [N, K].
        labels: int64 [N].

    Returns:
        float64 [N].

    >>> entropy(np.log([[0.5, 0.5]]), np.array([0])).round(4).tolist()
    [-0.6931]
    """
    return -numerics.entropy(log_probs)


def modified_entropy(log_probs: Float64, labels: Int64) -> Float64:
    """Return minus the modified entropy in nats, at most 0 (Song & Mittal 2021, equation 6).

    Args:
        log_probs: float64 [N, K].
        labels: int64 [N].

    Returns:
        float64 [N].

    >>> modified_entropy(np.log([[0.9, 0.1]]), np.array([0])).round(4).tolist()
    [-0.0211]
    """
    return -numerics.modified_entropy(log_probs, labels)


def correctness(log_probs: Float64, labels: Int64) -> Float64:
    """Return 1.0 where the largest entry (the first of equals) is the label's, else 0.0.

    The statistic of the gap attack (Yeom et al. 2018).

    Args:
        log_probs: float64 [N, K].
        labels: int64 [N].

    Returns:
        float64 [N].

    >>> correctness(np.log([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1])).tolist()
    [1.0, 0.0]
    """
    return np.asarray((log_probs.argmax(axis=-1) == labels).astype(np.float64))


def scaled_logit(log_probs: Float64, labels: Int64) -> Float64:
    """Return ln p_y - ln sum_{i != y} p_i (Carlini et al. 2022, section IV-C).

    Args:
        log_probs: float64 [N, K].
        labels: int64 [N].

    Returns:
        float64 [N].

    >>> scaled_logit(np.log([[0.9, 0.1]]), np.array([0])).round(4).tolist()
    [2.1972]
    """
    return numerics.scaled_logit(log_probs, labels)


def hinge(log_probs: Float64, labels: Int64) -> Float64:
    """Return z_y - max_{i != y} z_i (Carlini et al. 2022).

    Args:
        log_probs: float64 [N, K].
        labels: int64 [N].

    Returns:
        float64 [N].

    >>> hinge(np.log([[0.9, 0.06, 0.04]]), np.array([0])).round(4).tolist()
    [2.7081]
    """
    return numerics.hinge(log_probs, labels)


def normal_score(log_probs: Float64, labels: Int64) -> Float64:
    """Return the normal score of a record's scaled logit among all records of the model.

    Phi^-1((r - 1/2) / N) of its rank r, ties at their mean rank: the same distribution for every
    model, whatever the scale and the shape of its logits, so that records are compared over models
    that were trained differently long.

    Args:
        log_probs: float64 [N, K].
        labels: int64 [N].

    Returns:
        float64 [N].

    >>> probs = np.log([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> normal_score(probs, np.array([0, 0, 0])).round(4).tolist()
    [0.9674, -0.9674, 0.0]
    """
    ranks = stats.rankdata(scaled_logit(log_probs, labels))
    return np.asarray(special.ndtri((ranks - 0.5) / max(1, len(ranks))))


STATISTICS = {
    "confidence": confidence,
    "loss": loss,
    "entropy": entropy,
    "modified_entropy": modified_entropy,
    "correctness": correctness,
    "scaled_logit": scaled_logit,
    "hinge": hinge,
    "normal_score": normal_score,
}

RANKED = frozenset({"normal_score"})
"""Statistics that rank a record among all records of the model, so that they need all at once."""

CLEAN = (
    "scaled_logit",
    "normal_score",
    "entropy",
    "modified_entropy",
    "confidence",
    "correctness",
)
"""Statistics of undefended outputs that `stack_clean` has."""


def compute(
    outputs: Observation, name: str, formula: Callable[[Float64, Int64], Float64] | None = None
) -> Float64:
    """Compute a statistic of every output, once, or take a further column.

    The values are kept with the outputs: attacks on the targets of a pool share their shadow
    models, and attacks share statistics.

    Args:
        outputs: outputs of one model, [N, A, K].
        name: registered name of the statistic, the name of one of ``outputs.columns``, or any name
            for the values of ``formula``.
        formula: from log-probabilities [N, K] and labels [N] to [N]; None for the registered one.

    Returns:
        float64 [N, A], read-only.

    >>> from dynanoise.evaluation.responses import observe_logits
    >>> compute(observe_logits(np.log([[0.9, 0.1]]), labels=[0]), "loss").round(4).tolist()
    [[-0.1054]]
    """
    if name in outputs.columns:
        return outputs.columns[name]
    if name not in outputs.memo:
        formula = formula or STATISTICS[name]
        inputs = range(outputs.log_probs.shape[1])
        columns = [formula(outputs.log_probs[:, index], outputs.labels) for index in inputs]
        outputs.memo[name] = _frozen(np.stack(columns, axis=1))
    return outputs.memo[name]  # type: ignore[no-any-return]


def stack_models(
    shadows: ShadowObservations, name: str, formula: Callable[[Observation], Float64] | None = None
) -> Float64:
    """Compute values of the outputs of every model of a pool, once for all selections of it.

    Args:
        shadows: outputs of shadow models, from a pool of M models.
        name: registered name of a statistic, name of a column, or of what ``formula`` computes.
        formula: values [N, A] of one model's outputs; None for `compute`.

    Returns:
        float64 [M, N, A], read-only.

    >>> from dynanoise.evaluation.responses import observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.9, 0.1], [0.3, 0.7]]]), [0, 0], [[1, 0]])
    >>> stack_models(shadows, "correctness").tolist()
    [[[1.0], [0.0]]]
    """
    memo = shadows.pool.memo
    if name not in memo:
        models = shadows.pool.observations
        first = compute(models[0], name) if formula is None else formula(models[0])
        values = np.empty((len(models), *first.shape))
        for row, model in zip(values, models, strict=True):
            row[:] = compute(model, name) if formula is None else formula(model)
            if name in model.memo:  # memory holds the values once
                model.memo[name] = _frozen(row)
        memo[name] = _frozen(values)
    stacked: Float64 = memo[name]
    return stacked


def stack_clean(shadows: ShadowObservations, name: str) -> Float64:
    """Compute a registered statistic of the undefended outputs, as `stack_models` does.

    The values are kept with the undefended outputs, which are the same for every defense. Their
    log-probabilities are not kept, which are as large as all else, so that of several statistics
    all are computed at once.

    Args:
        shadows: outputs of shadow models, from a pool of M models.
        name: one of `CLEAN`.

    Returns:
        float64 [M, N, A], read-only.
    """
    outputs = shadows.outputs
    if name not in outputs.memo:
        models, records, inputs, _ = outputs.logits.shape
        stacks = {each: np.empty((models, records, inputs)) for each in CLEAN}
        for model in range(models):
            clean = Observation(
                outputs.labels, outputs.ids, numerics.log_softmax(outputs.logits[model])
            )
            for each, stacked in stacks.items():
                stacked[model] = compute(clean, each)
            del clean  # before those of the next model are made
        outputs.memo.update({each: _frozen(stacked) for each, stacked in stacks.items()})
    values: Float64 = outputs.memo[name]
    positions = shadows.pool.positions
    return values if positions is None else values[list(positions)]


def _frozen(values: Float64) -> Float64:
    values.flags.writeable = False
    return values


def take(stacked: Float64, places: Int64) -> Float64:
    """Take values of pairs of model and record.

    Args:
        stacked: float64 [M, N, A].
        places: int64 [...], see `ShadowObservations.locate`.

    Returns:
        float64 [..., A].
    """
    inputs = stacked.shape[2]
    if inputs == 1:  # indices of single numbers are several times as fast
        return np.asarray(stacked.take(places)[..., None])
    return np.asarray(stacked.reshape(-1, inputs)[places])


def take_sides(
    shadows: ShadowObservations, stacked: Float64, slots: Slots | None = None
) -> tuple[Float64, Float64]:
    """Take the values of the in- and of the out-models of each record.

    Args:
        shadows: outputs of S shadow models.
        stacked: float64 [M, N, A] of their pool.
        slots: in- and out-models of some records; None for ``shadows.slots``.

    Returns:
        Two arrays float64 [k, E, A].
    """
    slots = shadows.slots if slots is None else slots
    inside, outside = (
        take(stacked, shadows.locate(side, slots.rows)) for side in (slots.inside, slots.outside)
    )
    return inside, outside


def average_inputs(values: Float64) -> Float64:
    """Average over the inputs of a record: float64 [..., A] to [...].

    >>> average_inputs(np.array([[1.0, 2.0]])).tolist()
    [1.5]
    """
    # NumPy's mean of one number is a loop of its own.
    return np.asarray(values[..., 0] if values.shape[-1] == 1 else values.mean(axis=-1))


def pool_shadows(shadows: ShadowObservations, name: str) -> tuple[Float64, Int64, Bools]:
    """Pool a statistic over all pairs of shadow model and record that are not hidden.

    Args:
        shadows: outputs of S shadow models.
        name: registered name of the statistic; it is averaged over a record's inputs.

    Returns:
        Values float64 [R], labels int64 [R] and membership bool [R] of the R pairs.

    >>> from dynanoise.evaluation.responses import observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.9, 0.1], [0.3, 0.7]]]), [0, 1], use=[[-1, 1]])
    >>> values, labels, members = pool_shadows(shadows, "confidence")
    >>> values.round(6).tolist(), labels.tolist(), members.tolist()
    ([0.7], [1], [True])
    """
    stacked, labels = stack_models(shadows, name), shadows.observations[0].labels
    if "slots" in shadows.drawn:  # then no pair has to be looked for
        slots = shadows.slots
        values = np.concatenate(take_sides(shadows, stacked))
        members = np.repeat([True, False], slots.inside.size)
        return average_inputs(values).ravel(), np.tile(labels[slots.rows], 2 * slots.k), members
    models, records = np.nonzero(shadows.use >= 0)
    values = take(stacked, shadows.locate(models, records))
    return average_inputs(values), labels[records], shadows.use[models, records] == 1
