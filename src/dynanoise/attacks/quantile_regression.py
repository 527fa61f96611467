"""Quantile regression: the target's output against what its inputs let expect of a non-member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.attacks.population import require_population
from dynanoise.core.errors import InputError, check
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import STATISTICS

_EVERY = 4
"""Every fourth known non-member corrects the quantile; the others train the regression."""

_SMALLEST = 0.1
"""Smallest scale of a record, relative to the median scale of the known non-members."""


class _Regression(NamedTuple):
    """Predictors of two quantiles of non-members, and the correction of the upper one.

    Attributes:
        median: predicts the median from features.
        upper: predicts the 1 - alpha quantile.
        smallest: smallest scale, the distance between both.
        shift: added to the upper quantile, in scales.
    """

    median: Any
    upper: Any
    smallest: float
    shift: float

    def scores(self, features: Float64, values: Float64) -> Float64:
        """Distances of values [N] from their upper quantile, in scales, float64 [N]."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):  # threads that wait for each other are slower on a busy machine
            median, upper = (each.predict(features) for each in (self.median, self.upper))
        return np.asarray((values - upper) / np.maximum(upper - median, self.smallest) - self.shift)


@final
@dataclass(frozen=True)
class QuantileRegression(Attack):
    """Quantile regression on inputs: no shadow models, but thousands of known non-members.

    Bertran et al., NeurIPS 2023, arXiv:2307.03694. How sure a model is of a non-member depends on
    the record: a regression on the inputs and true classes of known non-members (the population)
    predicts the median m(x) and the 1 - alpha quantile q(x) of a statistic. Score:
    (statistic - q(x)) / (q(x) - m(x)) - c; larger = more likely a member, member if above 0. The
    constant c is the 1 - alpha quantile of that ratio on every fourth known non-member, which the
    regression did not learn from, so that a share of alpha of non-members is called members
    (conformalized quantile regression, Romano et al. 2019, arXiv:1905.03222). The regression is
    gradient boosting of scikit-learn with the quantile loss. Statistics are averaged over a
    record's inputs.

    Args:
        alpha: false positive rate to decide at, in (0, 0.5).
        statistic: registered name of the statistic; larger for members.
        least: smallest number of known non-members. Of a few hundred the regression learns no more
            than a global threshold has.

    Raises:
        InputError: if alpha is not in (0, 0.5); on scoring, without inputs or known non-members.
        TooFewRecordsError: on scoring, if there are fewer than ``least`` of these.
        UnknownNameError: for a statistic that is not registered.

    >>> from dataclasses import replace
    >>> from dynanoise.evaluation.responses import observe_logits
    >>> generator = np.random.default_rng(0)
    >>> ease = generator.uniform(0, 10, (1200, 1))  # an input that tells how easy the record is
    >>> logits = np.concatenate([ease + generator.normal(0, 1, (1200, 1)), 0 * ease], axis=1)
    >>> logits[1100:, 0] += 6  # the last 100 records are members
    >>> everything = replace(observe_logits(logits, [0] * 1200), inputs=ease)
    >>> parts = [slice(1000), slice(1000, 1100), slice(1100, 1200)]
    >>> population, others, members = (
    ...     replace(
    ...         everything,
    ...         labels=everything.labels[rows],
    ...         ids=everything.ids[rows],
    ...         log_probs=everything.log_probs[rows],
    ...     )
    ...     for rows in parts
    ... )
    >>> fitted = QuantileRegression().fit()
    >>> called = [
    ...     float(fitted.decide(fitted.score(replace(part, population=population))).mean())
    ...     for part in (others, members)
    ... ]
    >>> called[0] < 0.15 and called[1] > 0.9
    True
    """

    alpha: float = 0.05
    statistic: str = "scaled_logit"
    least: int = 1_000
    title: ClassVar[str] = "Quantile regression"
    needs_shadows: ClassVar[bool] = False
    needs_population: ClassVar[bool] = True
    needs_inputs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(
            0 < self.alpha < 0.5,
            f"The alpha of quantile regression is {self.alpha}.",
            "Use a false positive rate between 0 and 0.5, such as 0.05.",
        )
        STATISTICS.get(self.statistic)

    @property
    def least_population(self) -> int:
        """See `Attack`."""
        return self.least

    def learn(self, shadows: ShadowObservations) -> None:
        """Learn nothing from shadow models."""

    def formula(self, learned: None, target: Observation) -> Float64:
        """Compute the distance of each statistic from its quantile, in scales, [N]."""
        population = require_population(target, self.title)
        self.check_population(len(population.labels))
        # All targets that a model's outputs are compared with share its population.
        name = repr(self)
        if name not in population.memo:
            population.memo[name] = self._fit(population)
        regression: _Regression = population.memo[name]
        values = statistics.compute(target, self.statistic).mean(axis=1)
        return regression.scores(self._features(target), values)

    def _features(self, outputs: Observation) -> Float64:
        """Inputs and true classes of the records, float64 [N, F + 1]."""
        if outputs.inputs is None:
            raise InputError(
                f"{self.title} needs inputs, and there are outputs alone.",
                "Audit an estimator, or a model file with tables of records.",
            )
        return np.column_stack([outputs.inputs[outputs.ids], outputs.labels])

    def _fit(self, population: Observation) -> _Regression:
        """Learn from known non-members."""
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits

        features = self._features(population)
        values = statistics.compute(population, self.statistic).mean(axis=1)
        apart = np.arange(len(values)) % _EVERY == 0
        models = [
            HistGradientBoostingRegressor(
                loss="quantile",
                quantile=quantile,
                max_iter=50,
                learning_rate=0.2,
                max_leaf_nodes=8,
                early_stopping=False,
            )
            for quantile in (0.5, 1 - self.alpha)
        ]
        with threadpool_limits(1):
            median, upper = (model.fit(features[~apart], values[~apart]) for model in models)
            scales = upper.predict(features[~apart]) - median.predict(features[~apart])
        smallest = max(_SMALLEST * float(np.median(scales)), 1e-9)
        regression = _Regression(median, upper, smallest, 0.0)
        distances = np.sort(regression.scores(features[apart], values[apart]))
        place = min(int(np.ceil((len(distances) + 1) * (1 - self.alpha))), len(distances)) - 1
        return regression._replace(shift=float(distances[place]))


ATTACKS = {"quantile_regression": QuantileRegression}
