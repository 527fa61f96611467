"""Distributions of a statistic over shadow models: Gaussians, and Student's t under a prior.

`fit_gaussian` fits one to every record, for `lira.Lira`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from scipy import optimize, special, stats

from dynanoise.core import numerics
from dynanoise.core.numerics import Float64

CENTRES: dict[str, Callable[..., Any]] = {"mean": np.mean, "median": np.median}
VARIANCES = ("example", "residual", "raw", "bayesian")

LN_SQRT_2_PI = 0.5 * np.log(2 * np.pi)


class Gaussian(NamedTuple):
    """Normal distributions of a statistic: one for each of E records and of their A inputs.

    The A inputs are a record and its near-duplicates (augmentations), in this order.

    Attributes:
        centre: float64 [E, A].
        sd: float64 [E, A], or [] for one that all share.
    """

    centre: Float64
    sd: Float64

    def z(self, phi: Float64) -> Float64:
        """Standardise values of the statistic.

        Args:
            phi: float64 [E, A].

        Returns:
            (phi - centre) / sd, float64 [E, A].
        """
        return np.asarray((phi - self.centre) / self.sd)

    def log_density(self, phi: Float64) -> Float64:
        """Compute the log-density of values of the statistic.

        Args:
            phi: float64 [E, A].

        Returns:
            ln N(phi; centre, sd), float64 [E, A].

        >>> Gaussian(np.array([[1.0]]), np.array(2.0)).log_density(np.array([[3.0]])).round(4)
        array([[-2.1121]])
        """
        return np.asarray(-0.5 * self.z(phi) ** 2 - np.log(self.sd) - LN_SQRT_2_PI)

    def log_survival(self, phi: Float64) -> Float64:
        """Compute ln P(Phi > phi) for values of the statistic, without underflow.

        Args:
            phi: float64 [E, A].

        Returns:
            float64 [E, A], below 0.
        """
        return np.asarray(special.log_ndtr(-self.z(phi)))


class StudentT(NamedTuple):
    """Student's t distributions of a statistic, as `Gaussian`.

    Attributes:
        centre: float64 [E, A].
        sd: the scale, float64 [E, A].
        dof: degrees of freedom, > 0.
    """

    centre: Float64
    sd: Float64
    dof: float

    def log_density(self, phi: Float64) -> Float64:
        """Compute the log-density of values [E, A] of the statistic, [E, A]."""
        return np.asarray(stats.t.logpdf(phi, self.dof, self.centre, self.sd))

    def log_survival(self, phi: Float64) -> Float64:
        """Compute ln P(Phi > phi) for values [E, A] of the statistic, [E, A]."""
        return np.asarray(stats.t.logsf(phi, self.dof, self.centre, self.sd))


@dataclass(frozen=True)
class Moments:
    """Count, mean and squared deviations of numbers that arrive in parts.

    Attributes:
        count: how many numbers.
        mean: their mean.
        squares: the sum of their squared deviations from it.

    >>> both = Moments.of(np.array([1.0, 2.0])) + Moments.of(np.array([6.0]))
    >>> round(both.sd, 6), float(np.std([1, 2, 6]).round(6))
    (2.160247, 2.160247)
    """

    count: int
    mean: float
    squares: float

    @classmethod
    def of(cls, values: Float64) -> Moments:
        """Compute the moments of one part.

        Args:
            values: float64 [...], at least one.

        Returns:
            The moments.
        """
        mean = float(values.mean())
        return cls(values.size, mean, float(np.square(values - mean).sum()))

    def __add__(self, other: Moments) -> Moments:
        """Combine the moments of two parts (Chan, Golub & LeVeque 1979)."""
        count, apart = self.count + other.count, other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * other.count / count,
            self.squares + other.squares + apart**2 * self.count * other.count / count,
        )

    @property
    def sd(self) -> float:
        """The standard deviation, ddof 0."""
        return float(np.sqrt(self.squares / self.count))


@dataclass(frozen=True)
class PriorMoments:
    """Moments over records from which the prior of "bayesian" is fitted.

    Attributes:
        models: k, how many models a mean and a variance are over, >= 2.
        means: moments of the records' means over models.
        variances: moments of their variances (ddof 1).
        logs: moments of the logarithms of these variances.
    """

    models: int
    means: Moments
    variances: Moments
    logs: Moments

    @classmethod
    def of(cls, values: Float64) -> PriorMoments:
        """Compute the moments of a statistic [k, E, A] of k models."""
        variances = np.maximum(values.var(axis=0, ddof=1), numerics.SMALLEST_SD**2)
        parts = (values.mean(axis=0), variances, np.log(variances))
        return cls(len(values), *map(Moments.of, parts))

    def __add__(self, other: PriorMoments) -> PriorMoments:
        """Combine the moments of two sets of records."""
        return PriorMoments(
            self.models,
            self.means + other.means,
            self.variances + other.variances,
            self.logs + other.logs,
        )


class Prior(NamedTuple):
    """Normal-inverse-gamma prior of a record's mean and variance.

    The variance is inverse gamma (shape, scale); the mean is normal around ``centre`` with that
    variance divided by ``weight``: the prior counts as so many models.
    """

    centre: float
    weight: float
    shape: float
    scale: float

    @classmethod
    def fit(cls, moments: PriorMoments) -> Prior:
        """Fit the prior to all records, by the moments of means and log-variances (Smyth 2004).

        ln s^2 of k models has the mean ln(scale / shape) + psi((k - 1) / 2) - ln((k - 1) / 2) -
        psi(shape) + ln(shape) and the variance psi'((k - 1) / 2) + psi'(shape); the means have
        the variance E[s^2] (1 / k + 1 / weight).

        Args:
            moments: over all records, for k >= 2 models.

        Returns:
            The prior.
        """
        half = (moments.models - 1) / 2
        excess = moments.logs.sd**2 - float(special.polygamma(1, half))
        shape = _inverse_trigamma(excess)
        centred = moments.logs.mean - float(special.digamma(half)) + np.log(half)
        scale = shape * np.exp(centred + float(special.digamma(shape)) - np.log(shape))
        between = moments.means.sd**2 - moments.variances.mean / moments.models
        weight = moments.variances.mean / max(between, numerics.SMALLEST_SD**2)
        return cls(moments.means.mean, float(weight), shape, float(scale))

    def predict(self, values: Float64) -> StudentT:
        """Predict a further model's value, given those of k models.

        Args:
            values: float64 [k, E, A].

        Returns:
            The posterior predictive distributions of each record and input.
        """
        count, mean = len(values), values.mean(axis=0)
        weight, shape = self.weight + count, self.shape + count / 2
        centre = (self.weight * self.centre + count * mean) / weight
        apart = self.weight * count * (mean - self.centre) ** 2 / (2 * weight)
        scale = self.scale + np.square(values - mean).sum(axis=0) / 2 + apart
        sd = np.sqrt(scale * (weight + 1) / (shape * weight))
        return StudentT(centre, np.maximum(sd, numerics.SMALLEST_SD), 2 * shape)


_LARGEST_SHAPE = 1e6
"""Shape of a prior for variances that do not differ more than k models' would by chance."""


def _inverse_trigamma(value: float) -> float:
    """The x with psi'(x) = value; `_LARGEST_SHAPE` for a value that is not above psi' there."""
    if value <= float(special.polygamma(1, _LARGEST_SHAPE)):
        return _LARGEST_SHAPE
    # psi'(x) falls from 1 / x^2 to 1 / x.
    low, high = 0.5 / np.sqrt(value + 1), 2 + 2 / value
    return float(optimize.brentq(lambda x: float(special.polygamma(1, x)) - value, low / 2, high))


_Kind = TypeVar("_Kind", Moments, PriorMoments)


@dataclass(frozen=True)
class SharedMoments(Generic[_Kind]):
    """Moments from which whatever all records share is computed.

    Attributes:
        inside: moments of the in-models.
        outside: moments of the out-models.
    """

    inside: _Kind
    outside: _Kind

    def __add__(self, other: SharedMoments[_Kind]) -> SharedMoments[_Kind]:
        """Combine the moments of two sets of records."""
        return SharedMoments(self.inside + other.inside, self.outside + other.outside)


def fit_gaussian(
    values: Float64,
    centre: str,
    variance: str,
    raw: Float64,
    shared: Moments | PriorMoments | None = None,
) -> Gaussian | StudentT:
    """Fit Gaussians to the statistic over k in-models, or over k out-models.

    Args:
        values: float64 [k, E, A], the statistic of k models for E records and their A inputs.
        centre: one of `CENTRES`, computed over the k models.
        variance: one of `VARIANCES`; see `lira.Lira`.
        raw: float64 [k, E, A], values whose standard deviation is used if variance is "raw".
        shared: moments over all records, if ``values`` covers only some of them; None to compute
            "residual", "raw" and the prior of "bayesian" from ``values`` and ``raw``.

    Returns:
        Gaussians, or Student's t for "bayesian", with an sd of at least `numerics.SMALLEST_SD`.

    >>> values = np.array([[[0.0], [4.0]], [[2.0], [4.0]]])
    >>> fit_gaussian(values, "mean", "example", values).sd.tolist()
    [[1.0], [1e-06]]
    >>> [float(fit_gaussian(values, "mean", name, values).sd.round(4)) for name in VARIANCES[1:3]]
    [0.7071, 1.6583]
    """
    if variance == "bayesian":
        moments = PriorMoments.of(values) if shared is None else shared
        assert isinstance(moments, PriorMoments)
        return Prior.fit(moments).predict(values)
    middle = np.asarray(CENTRES[centre](values, axis=0))
    if variance == "example":
        sd = values.std(axis=0)
    elif isinstance(shared, Moments):
        sd = np.asarray(shared.sd)
    else:
        sd = np.std(pool_spread(values, middle, variance, raw))
    return Gaussian(middle, np.maximum(sd, numerics.SMALLEST_SD))


def pool_spread(values: Float64, middle: Float64, variance: str, raw: Float64) -> Float64:
    """Values whose standard deviation all records share, for variance "raw" or "residual"."""
    return raw if variance == "raw" else values - middle
