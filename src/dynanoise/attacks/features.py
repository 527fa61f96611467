"""Features that the attack classifiers learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
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


def comparison_features(
    targets: Sequence[tuple[Observation, Slots]], shadows: ShadowObservations
) -> Float64:
    """Compare outputs of targets with those of shadow models on the same records.

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
        targets: outputs [N, A, K] of each target model, with the records to compare and their k in-
            and k out-models. Each target is compared for itself; several at once are faster.
        shadows: outputs of shadow models on the same records.

    Returns:
        float64 [E, F], finite, in Fortran order; E records of all targets, one after the other.
    """
    sides = [
        np.concatenate([shadows.locate(side(slots), slots.rows) for _, slots in targets], axis=1)
        for side in (attrgetter("inside"), attrgetter("outside"))
    ]
    sizes = np.array([len(slots.rows) for _, slots in targets])
    labels = [target.labels[slots.rows] for target, slots in targets]
    compared = _Compared(targets, shadows, sizes, np.concatenate(labels), sides, _original)
    first = targets[0][0]
    columns = _columns(compared, (*COMPARED, *tuple(first.columns)[:1]))
    if first.log_probs.shape[1] > 1:
        columns += _columns(compared._replace(reduce=_near_duplicates), COMPARED)
    return np.array(columns).T


_Reduction = Callable[[Float64], Float64]
"""From a statistic of every input, [..., A], to one number a record, [...]."""


def _original(values: Float64) -> Float64:
    return values[..., 0]


def _near_duplicates(values: Float64) -> Float64:
    return np.asarray(values[..., 1:].mean(axis=-1))


class _Compared(NamedTuple):
    """Some records of each target, and the same records of shadow models.

    Attributes:
        targets: outputs of the targets, and the records to compare.
        shadows: outputs of the shadow models.
        sizes: int64 [T], how many records of each target there are.
        labels: int64 [E], the true classes of these records.
        sides: int64 [k, E] each, their in- and out-models, see `ShadowObservations.locate`.
        reduce: from the inputs of a record to one number.
    """

    targets: Sequence[tuple[Observation, Slots]]
    shadows: ShadowObservations
    sizes: Int64
    labels: Int64
    sides: Sequence[Int64]
    reduce: _Reduction

    def of_targets(self, formula: Callable[[Observation], Float64]) -> Float64:
        """The targets' values [E], from values [N, A] of each."""
        values = [self.reduce(formula(target)[slots.rows]) for target, slots in self.targets]
        return np.concatenate(values)

    def of_shadows(self, stacked: Float64) -> tuple[Float64, Float64]:
        """The values of in- and out-models, [k, E] each, from values [M, N, A]."""
        inside, outside = (self.reduce(statistics.take(stacked, side)) for side in self.sides)
        return inside, outside

    def means(self, values: Float64) -> Float64:
        """The mean of each target's values [..., E], for every record of it, [E]."""
        parts = np.split(values, np.cumsum(self.sizes)[:-1], axis=-1)
        return np.repeat([part.mean() for part in parts], self.sizes)

    def compare(self, value: Float64, sides: tuple[Float64, Float64]) -> list[Float64]:
        """Differences from the record's in- and out-mean, and the ratio of Gaussians around them.

        Args:
            value: the targets', [E].
            sides: those of in- and out-models, [k, E] each.
        """
        means, variances = [], []
        for part in sides:
            mean = part.mean(axis=0)
            # One model has no residual: then the variance between records.
            around = mean if len(part) > 1 else self.means(mean)
            means.append(mean)
            variances.append(self.means(np.square(part - around)))
        return [value - means[0], value - means[1], _ratio(value, means, variances)]

    def compare_by_class(self, value: Float64, sides: tuple[Float64, Float64]) -> list[Float64]:
        """The ratio under one pair of Gaussians a class, and how far apart these are."""
        target = np.repeat(np.arange(len(self.sizes)), self.sizes)
        groups = self.labels + target * self.shadows.classes
        counts = np.maximum(np.bincount(groups), 1)
        means, variances = [], []
        for part in sides:
            mean = (np.bincount(groups, part.mean(axis=0)) / counts)[groups]
            around = np.square(part - mean).mean(axis=0)
            means.append(mean)
            variances.append((np.bincount(groups, around) / counts)[groups])
        return [_ratio(value, means, variances), means[0] - means[1]]


def _columns(compared: _Compared, names: Sequence[str]) -> list[Float64]:
    columns: list[Float64] = []
    shadows = compared.shadows
    for name in names:
        value = compared.of_targets(partial(statistics.compute, name=name))
        columns.append(value)
        sides = compared.of_shadows(statistics.stack_models(shadows, name))
        columns += compared.compare(value, sides)
        if name == "scaled_logit":
            columns += [side.std(axis=0) for side in sides]
            columns += compared.compare_by_class(value, sides)
        if name in COMPARED:
            clean = compared.of_shadows(statistics.stack_clean(shadows, name))
            columns += compared.compare(value, clean)
    return columns + _tempered_columns(compared) + _label_columns(compared)


def _tempered_columns(compared: _Compared) -> list[Float64]:
    columns = []
    for multiple in MULTIPLES:
        value = compared.of_targets(partial(scaled_log_probs, multiple=multiple))
        stacked = stack_scaled(compared.shadows, multiple)
        inside, outside = map(log_mean, compared.of_shadows(stacked))
        both = np.logaddexp(inside, outside) - np.log(2)
        columns += [value - mean for mean in (both, inside, outside)]
    return columns


def _ratio(value: Float64, means: Sequence[Float64], variances: Sequence[Float64]) -> Float64:
    """ln N(value; in) - ln N(value; out), bounded so that no single output decides a fit."""
    terms = []
    for mean, spread in zip(means, variances, strict=True):
        variance = np.maximum(spread, _SMALLEST_VARIANCE)
        terms.append(-0.5 * ((value - mean) ** 2 / variance + np.log(variance)))
    return np.asarray(np.clip(terms[0] - terms[1], -_FARTHEST, _FARTHEST))


def _label_columns(compared: _Compared) -> list[Float64]:
    correct = compared.of_targets(partial(statistics.compute, name="correctness"))
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
