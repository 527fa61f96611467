"""Signals: one number for each answer, turned so that larger = more likely a member.

Each takes log-probabilities float64 [N, K] (rows sum to 1 after exponentiation) and labels int64
[N] in 0..K-1, and returns float64 [N]. Loss and entropies are negated.
"""

from __future__ import annotations

import numpy as np

from dynanoise.core import numerics
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations


def confidence(log_probs: Float64, labels: Int64) -> Float64:
    """max_i p_i, in (0, 1] (Salem et al. 2019). Needs no label.

    >>> confidence(np.log([[0.7, 0.3]]), np.array([1])).round(6).tolist()
    [0.7]
    """
    return np.asarray(np.exp(log_probs.max(axis=-1)))


def loss(log_probs: Float64, labels: Int64) -> Float64:
    """ln p_y: the cross-entropy in nats, negated (Yeom et al. 2018).

    >>> loss(np.log([[0.7, 0.3]]), np.array([1])).round(4).tolist()
    [-1.204]
    """
    return numerics.take_label(log_probs, labels)


def entropy(log_probs: Float64, labels: Int64) -> Float64:
    """-H(p) in nats (Salem et al. 2019). Needs no label.

    >>> entropy(np.log([[0.5, 0.5]]), np.array([0])).round(4).tolist()
    [-0.6931]
    """
    return -numerics.entropy(log_probs)


def modified_entropy(log_probs: Float64, labels: Int64) -> Float64:
    """Minus the modified entropy in nats (Song & Mittal 2021, equation 6).

    >>> modified_entropy(np.log([[0.9, 0.1]]), np.array([0])).round(4).tolist()
    [-0.0211]
    """
    return -numerics.modified_entropy(log_probs, labels)


def correctness(log_probs: Float64, labels: Int64) -> Float64:
    """1.0 where the largest entry (the first of equals) is the label's, else 0.0: the gap attack.

    >>> correctness(np.log([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1])).tolist()
    [1.0, 0.0]
    """
    return np.asarray((log_probs.argmax(axis=-1) == labels).astype(np.float64))


def scaled_logit(log_probs: Float64, labels: Int64) -> Float64:
    """ln p_y - ln sum_{i != y} p_i (Carlini et al. 2022).

    >>> scaled_logit(np.log([[0.9, 0.1]]), np.array([0])).round(4).tolist()
    [2.1972]
    """
    return numerics.scaled_logit(log_probs, labels)


def hinge(log_probs: Float64, labels: Int64) -> Float64:
    """z_y - max_{i != y} z_i (Carlini et al. 2022).

    >>> hinge(np.log([[0.9, 0.06, 0.04]]), np.array([0])).round(4).tolist()
    [2.7081]
    """
    return numerics.hinge(log_probs, labels)


STATISTICS = {
    "confidence": confidence,
    "loss": loss,
    "entropy": entropy,
    "modified_entropy": modified_entropy,
    "correctness": correctness,
    "scaled_logit": scaled_logit,
    "hinge": hinge,
}


def of(observed: Observation, name: str) -> Float64:
    """A registered statistic of every answer, float64 [N, A], computed once and kept.

    Attacks on the targets of a pool share their shadow models, and attacks share statistics.

    >>> from dynanoise.evaluation.responses import observe_logits
    >>> of(observe_logits(np.log([[0.9, 0.1]]), labels=[0]), "loss").round(4).tolist()
    [[-0.1054]]
    """
    if name not in observed.memo:
        formula = STATISTICS[name]
        inputs = range(observed.log_probs.shape[1])
        found = [formula(observed.log_probs[:, one], observed.labels) for one in inputs]
        values = np.stack(found, axis=1)
        values.flags.writeable = False
        observed.memo[name] = values
    return observed.memo[name]  # type: ignore[no-any-return]


def of_shadows(shadows: ShadowObservations, name: str, *, clean: bool = False) -> Float64:
    """A registered statistic of every shadow model's answers, float64 [S, N, A].

    Args:
        shadows: the shadow models.
        name: of the statistic.
        clean: True for their undefended outputs instead of their answers.

    >>> from dynanoise.evaluation.responses import observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.9, 0.1], [0.3, 0.7]]]), [0, 0], [[1, 0]])
    >>> of_shadows(shadows, "correctness").tolist()
    [[[1.0], [0.0]]]
    """
    seen = range(len(shadows.observed))
    return np.stack([of(_answers(shadows, model, clean), name) for model in seen])


def _answers(shadows: ShadowObservations, model: int, clean: bool) -> Observation:
    observed = shadows.observed[model]
    if not clean:
        return observed
    # Kept beside the answers of the same model, which all targets of a pool share.
    if "clean" not in observed.memo:
        log_probs = numerics.log_softmax(shadows.clean.logits[model].astype(np.float64))
        observed.memo["clean"] = Observation(observed.labels, observed.ids, log_probs)
    return observed.memo["clean"]  # type: ignore[no-any-return]


def pooled(shadows: ShadowObservations, name: str) -> tuple[Float64, Int64, Bools]:
    """A statistic over all shadow models and records that are not hidden, averaged over inputs.

    Returns:
        values float64 [R], labels int64 [R] and membership bool [R].

    >>> from dynanoise.evaluation.responses import observe_shadow_logits
    >>> rows = np.log([[[0.9, 0.1], [0.3, 0.7]]])
    >>> shadows = observe_shadow_logits(rows, [0, 1], [[-1, 1]])
    >>> values, labels, members = pooled(shadows, "confidence")
    >>> values.round(6).tolist(), labels.tolist(), members.tolist()
    ([0.7], [1], [True])
    """
    shown = shadows.use >= 0
    labels = np.broadcast_to(shadows.observed[0].labels, shown.shape)
    return of_shadows(shadows, name).mean(axis=2)[shown], labels[shown], shadows.use[shown] == 1
