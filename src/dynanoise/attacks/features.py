"""Features that the attack classifiers learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.rmia import log_mean
from dynanoise.attacks.tempered_ratio import scaled_log_probs, stack_scaled
from dynanoise.core import numerics
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations

COMPARED = ("scaled_logit", "normal_score", "entropy", "modified_entropy", "confidence")
"""Statistics that `comparison_features` compares, of the shadow models also without defense."""

MULTIPLES = (0.3, 1.0)
"""Temperatures of its tempered ratios, in units of each model's scale."""

_FARTHEST = 30.0
_SMALLEST_VARIANCE = 1e-12


def output_features(log_probs: Float64, labels: Int64) -> Float64:
    """Compute the features of the paper's shadow attack (arXiv:2505.13362v2).

    Probabilities are clamped to [1e-12, 1 - 1e-12] as in the paper's artifact.

    Args:
        log_probs: float64 [N, K].
        labels: int64 [N].

    Returns:
        [max p, entropy, modified entropy, p_y, -ln p_y] of each row, float64 [N, 5]; entropies and
        loss in nats.

    >>> output_features(np.log([[0.9, 0.1]]), np.array([0])).round(4).tolist()
    [[0.9, 0.3251, 0.0211, 0.9, 0.1054]]
    """
    clipped = numerics.clip_log_probabilities(log_probs)
    log_p_y = numerics.take_label(clipped, labels)
    return np.column_stack(
        [
            statistics.confidence(clipped, labels),
            -statistics.entropy(clipped, labels),
            -statistics.modified_entropy(clipped, labels),
            np.exp(log_p_y),
            -log_p_y,
        ]
    )


def comparison_features(target: Observation, shadows: ShadowObservations, slots: Slots) -> Float64:
    """Compare the target's outputs with those of shadow models on the same records.

    For every statistic of `COMPARED` of the original input: its value, its differences from the
    record's in- and out-mean, and the log-likelihood ratio of two Gaussians around these with the
    residual variances of all records; the same against the undefended shadow outputs. Of the scaled
    logit also the standard deviations, and the ratio under the Gaussians of the record's true
    class. Tempered ratios (see `tempered_ratio`) to the mean of all of a record's models, and to
    that of its in- and of its out-models. The first column of the observations, compared as
    statistics are, where there is one; each further one took a query budget of its own. Of the
    labels: correctness, the shares of in- and out-models that are right, and the ratio of
    `label_only`. With near-duplicates, all of it once more for their mean: a record says more about
    itself than they do, so it is not averaged with them. Nothing depends on the target's
    membership, and nothing on the number of classes.

    Args:
        target: outputs of the target model, [N, A, K].
        shadows: outputs of shadow models on the same records.
        slots: the E records to compare, and their k in- and k out-models.

    Returns:
        float64 [E, F], finite.
    """
    sides = tuple(shadows.locate(side, slots.rows) for side in (slots.inside, slots.outside))
    compared = _Compared(target, shadows, slots.rows, sides, _original)
    columns = _columns(compared, (*COMPARED, *tuple(target.columns)[:1]))
    if target.log_probs.shape[1] > 1:
        columns += _columns(compared._replace(reduce=_near_duplicates), COMPARED)
    return np.column_stack(columns)


_Reduction = Callable[[Float64], Float64]
"""From a statistic of every input, [..., A], to one number a record, [...]."""


def _original(values: Float64) -> Float64:
    return values[..., 0]


def _near_duplicates(values: Float64) -> Float64:
    return np.asarray(values[..., 1:].mean(axis=-1))


class _Compared(NamedTuple):
    """Some records of the target, and the same records of shadow models.

    Attributes:
        target: outputs of the target.
        shadows: outputs of the shadow models.
        rows: int64 [E], positions of the records.
        sides: int64 [k, E] each, their in- and out-models, see `ShadowObservations.locate`.
        reduce: from the inputs of a record to one number.
    """

    target: Observation
    shadows: ShadowObservations
    rows: Int64
    sides: tuple[Int64, ...]
    reduce: _Reduction

    def of_target(self, values: Float64) -> Float64:
        """The target's values [E], from values [N, A]."""
        return self.reduce(values[self.rows])

    def of_shadows(self, stacked: Float64) -> tuple[Float64, Float64]:
        """The values of in- and out-models, [k, E] each, from values [M, N, A]."""
        inside, outside = (self.reduce(statistics.take(stacked, side)) for side in self.sides)
        return inside, outside


def _columns(compared: _Compared, names: Sequence[str]) -> list[Float64]:
    columns: list[Float64] = []
    target, shadows = compared.target, compared.shadows
    for name in names:
        value = compared.of_target(statistics.compute(target, name))
        columns.append(value)
        inside, outside = compared.of_shadows(statistics.stack_models(shadows, name))
        columns += _compare(value, inside, outside)
        if name == "scaled_logit":
            columns += [inside.std(axis=0), outside.std(axis=0)]
            columns += _by_class(value, inside, outside, target.labels[compared.rows])
        if name in COMPARED:
            clean = statistics.stack_clean(shadows, name)
            columns += _compare(value, *compared.of_shadows(clean))
    return columns + _tempered_columns(compared) + _label_columns(compared)


def _compare(value: Float64, inside: Float64, outside: Float64) -> list[Float64]:
    """Differences from the record's in- and out-mean, and the ratio of Gaussians around them."""
    means, variances = _residual(inside, outside)
    return [value - means[0], value - means[1], _ratio(value, means, variances)]


def _tempered_columns(compared: _Compared) -> list[Float64]:
    columns = []
    for multiple in MULTIPLES:
        value = compared.of_target(scaled_log_probs(compared.target, multiple))
        stacked = stack_scaled(compared.shadows, multiple)
        inside, outside = map(log_mean, compared.of_shadows(stacked))
        both = np.logaddexp(inside, outside) - np.log(2)
        columns += [value - mean for mean in (both, inside, outside)]
    return columns


def _residual(
    inside: Float64, outside: Float64
) -> tuple[tuple[Float64, Float64], tuple[float, float]]:
    """Means of each record [E], and the variances around them over all records."""
    means = inside.mean(axis=0), outside.mean(axis=0)
    variances = []
    for part, mean in zip((inside, outside), means, strict=True):
        # One model has no residual: then the variance between records.
        around = mean if len(part) > 1 else mean.mean()
        variances.append(max(float(np.mean((part - around) ** 2)), _SMALLEST_VARIANCE))
    return means, (variances[0], variances[1])


def _ratio(
    value: Float64, means: tuple[Float64, Float64], variances: tuple[Float64 | float, ...]
) -> Float64:
    """ln N(value; in) - ln N(value; out), bounded so that no single output decides a fit."""
    terms = [
        -0.5 * ((value - mean) ** 2 / variance + np.log(variance))
        for mean, variance in zip(means, variances, strict=True)
    ]
    return np.asarray(np.clip(terms[0] - terms[1], -_FARTHEST, _FARTHEST))


def _by_class(value: Float64, inside: Float64, outside: Float64, labels: Int64) -> list[Float64]:
    """The ratio under one pair of Gaussians a class, and how far apart these are."""
    means, variances = [], []
    counts = np.maximum(np.bincount(labels), 1)
    for part in (inside, outside):
        mean = np.bincount(labels, part.mean(axis=0)) / counts
        around = ((part - mean[labels]) ** 2).mean(axis=0)
        variance = np.maximum(np.bincount(labels, around) / counts, _SMALLEST_VARIANCE)
        means.append(mean[labels])
        variances.append(variance[labels])
    ratio = _ratio(value, (means[0], means[1]), (variances[0], variances[1]))
    return [ratio, means[0] - means[1]]


def _label_columns(compared: _Compared) -> list[Float64]:
    correct = compared.of_target(statistics.compute(compared.target, "correctness"))
    columns = [correct]
    k = len(compared.sides[0])
    for stack in (statistics.stack_models, statistics.stack_clean):
        stacked = stack(compared.shadows, "correctness")
        inside, outside = (side.sum(axis=0) for side in compared.of_shadows(stacked))
        a_in, a_out = (inside + 1) / (k + 2), (outside + 1) / (k + 2)
        right, wrong = np.log(a_in / a_out), np.log((1 - a_in) / (1 - a_out))
        ratio = correct * right + (1 - correct) * wrong
        columns += [inside / k, outside / k, ratio]
    return columns
