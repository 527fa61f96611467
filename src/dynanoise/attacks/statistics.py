"""Statistics of an output, one number each; larger = more likely a member.

Each takes log-probabilities float64 [N, K] (rows sum to 1 after exponentiation) and labels int64
[N] in 0..K-1, and returns float64 [N]. Loss and entropies are negated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special, stats

from dynanoise.core import numerics
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
    return np.asarray(np.exp(log_probs.max(axis=-1)))


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


def compute(outputs: Observation, name: str) -> Float64:
    """Compute a registered statistic of every output, once, or take a further column.

    The values are kept with the outputs: attacks on the targets of a pool share their shadow
    models, and attacks share statistics.

    Args:
        outputs: outputs of one model, [N, A, K].
        name: registered name of the statistic, or the name of one of ``outputs.columns``.

    Returns:
        float64 [N, A], read-only.

    >>> from dynanoise.evaluation.responses import observe_logits
    >>> compute(observe_logits(np.log([[0.9, 0.1]]), labels=[0]), "loss").round(4).tolist()
    [[-0.1054]]
    """
    if name in outputs.columns:
        return outputs.columns[name]
    if name not in outputs.memo:
        formula = STATISTICS[name]
        inputs = range(outputs.log_probs.shape[1])
        columns = [formula(outputs.log_probs[:, index], outputs.labels) for index in inputs]
        values = np.stack(columns, axis=1)
        values.flags.writeable = False
        outputs.memo[name] = values
    return outputs.memo[name]  # type: ignore[no-any-return]


def compute_shadows(shadows: ShadowObservations, name: str, *, clean: bool = False) -> Float64:
    """Compute a registered statistic of every shadow model's outputs.

    Args:
        shadows: outputs of S shadow models.
        name: registered name of the statistic.
        clean: True for their undefended outputs.

    Returns:
        float64 [S, N, A].

    >>> from dynanoise.evaluation.responses import observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.9, 0.1], [0.3, 0.7]]]), [0, 0], [[1, 0]])
    >>> compute_shadows(shadows, "correctness").tolist()
    [[[1.0], [0.0]]]
    """
    if clean:
        return np.stack(compute_clean(shadows, (name,))[0])
    return np.stack([compute(model, name) for model in shadows.observations])


def compute_clean(shadows: ShadowObservations, names: Sequence[str]) -> list[list[Float64]]:
    """Compute registered statistics of every shadow model's undefended outputs.

    The values are kept beside the defended outputs of the same model, which all targets of a pool
    share; undefended log-probabilities are not kept, which are as large as all else.

    Args:
        shadows: outputs of S shadow models.
        names: registered names of statistics.

    Returns:
        For each name a list of float64 [N, A], one for each of S models; nothing is copied.
    """
    positions = shadows.positions or range(len(shadows.observations))
    for defended, position in zip(shadows.observations, positions, strict=True):
        missing = [name for name in names if f"clean {name}" not in defended.memo]
        if missing:
            logits = shadows.outputs.logits[position].astype(np.float64)
            log_probs = numerics.log_softmax(logits)
            clean = Observation(defended.labels, defended.ids, log_probs)
            defended.memo.update({f"clean {name}": compute(clean, name) for name in missing})
    return [[model.memo[f"clean {name}"] for model in shadows.observations] for name in names]


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
    visible = shadows.use >= 0
    labels = np.broadcast_to(shadows.observations[0].labels, visible.shape)
    values = compute_shadows(shadows, name).mean(axis=2)
    return values[visible], labels[visible], shadows.use[visible] == 1
