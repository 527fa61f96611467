"""A target's answers beside those of shadow models that were, and were not, trained on a record."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations

SIGNALS = ("scaled_logit", "entropy", "modified_entropy", "confidence")
"""What is compared; behind a defense and, of the shadow models, without it as well."""

_FARTHEST = 30.0
_SMALLEST_VARIANCE = 1e-12


def features(target: Observation, shadows: ShadowObservations, found: Slots) -> Float64:
    """What tells a member's answers from a non-member's, float64 [E, F], finite.

    Of every signal of the original input: its value, its differences from the record's in- and
    out-mean, and the log-likelihood ratio of two Gaussians around these with the residual
    variances of all records; the same against the undefended shadow outputs. Of the scaled logit
    also the standard deviations, and the ratio under the Gaussians of the record's true class. Of
    the labels: correctness, the shares of in- and out-models that are right, and the ratio of
    `label_only`. Where there are near-duplicates, all of it once more of their mean: a record says
    more about itself than they do, so it is not averaged with them. Nothing depends on who is a
    member of the target, and nothing on how many classes there are.

    Args:
        target: whose answers.
        shadows: models that answered the same records.
        found: for which records, and their k in- and k out-models.
    """
    columns = _columns(target, shadows, found, _original)
    if target.log_probs.shape[1] > 1:
        columns += _columns(target, shadows, found, _near_duplicates)
    return np.column_stack(columns)


_Of = Callable[[Float64], Float64]
"""From a statistic of every input, [..., A], to one number a record, [...]."""


def _original(values: Float64) -> Float64:
    return values[..., 0]


def _near_duplicates(values: Float64) -> Float64:
    return np.asarray(values[..., 1:].mean(axis=-1))


def _columns(
    target: Observation, shadows: ShadowObservations, found: Slots, of: _Of
) -> list[Float64]:
    columns: list[Float64] = []
    labels = target.labels[found.rows]
    for name in SIGNALS:
        value = of(statistics.of(target, name))[found.rows]
        columns.append(value)
        for clean in (False, True):
            inside, outside = found.take(of(statistics.of_shadows(shadows, name, clean=clean)))
            means, variances = _residual(inside, outside)
            columns += [value - means[0], value - means[1], _ratio(value, means, variances)]
            if name == "scaled_logit" and not clean:
                columns += [inside.std(axis=0), outside.std(axis=0)]
                columns += _by_class(value, inside, outside, labels)
    return columns + _of_labels(target, shadows, found, of)


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
    """ln N(value; in) - ln N(value; out), bounded so that no single answer decides a fit."""
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


def _of_labels(
    target: Observation, shadows: ShadowObservations, found: Slots, of: _Of
) -> list[Float64]:
    correct = of(statistics.of(target, "correctness"))[found.rows]
    columns = [correct]
    for clean in (False, True):
        hits = of(statistics.of_shadows(shadows, "correctness", clean=clean))
        inside, outside = (part.sum(axis=0) for part in found.take(hits))
        a, b = (inside + 1) / (found.k + 2), (outside + 1) / (found.k + 2)
        ratio = correct * np.log(a / b) + (1 - correct) * np.log((1 - a) / (1 - b))
        columns += [inside / found.k, outside / found.k, ratio]
    return columns
