"""LiRA, the likelihood-ratio attack: Gaussians of a statistic with and without the record.

`Lira` fits them to every record (Carlini et al. 2022). Its field ``variance`` decides how
`fit_gaussian` computes the standard deviation: "residual" by default, which all records share.
Carlini et al. use that of each "example", which needs about 32 shadow models a record to be
reliable; "bayesian" lies between them, as far as the number of models calls for. With one model a
record (k = 1) there are no residuals, and "raw" replaces all of these.

`LiraByClass` fits Gaussians to every class, as the DynaNoise paper does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
from scipy import optimize, special, stats

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.core import numerics
from dynanoise.core.errors import check
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import STATISTICS

MODES = ("online", "offline_one_sided", "offline_two_sided")
CENTRES: dict[str, Callable[..., Any]] = {"mean": np.mean, "median": np.median}
VARIANCES = ("example", "residual", "raw", "bayesian")

_LN_SQRT_2_PI = 0.5 * np.log(2 * np.pi)

_HALF_MEDIAN_CHI_SQUARE = float(special.gammaincinv(0.5, 0.5))
"""Half the median of z^2 for a standard normal z, 0.2275."""


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
        return np.asarray(-0.5 * self.z(phi) ** 2 - np.log(self.sd) - _LN_SQRT_2_PI)

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


_AnyMoments = Moments | PriorMoments


@dataclass(frozen=True)
class SharedMoments:
    """Moments from which whatever all records share is computed.

    Attributes:
        inside: moments of the in-models.
        outside: moments of the out-models.
    """

    inside: _AnyMoments
    outside: _AnyMoments

    def __add__(self, other: SharedMoments) -> SharedMoments:
        """Combine the moments of two sets of records."""
        return SharedMoments(
            self.inside + other.inside,  # type: ignore[operator]
            self.outside + other.outside,  # type: ignore[operator]
        )


def fit_gaussian(
    values: Float64, centre: str, variance: str, raw: Float64, shared: _AnyMoments | None = None
) -> Gaussian | StudentT:
    """Fit Gaussians to the statistic over k in-models, or over k out-models.

    Args:
        values: float64 [k, E, A], the statistic of k models for E records and their A inputs.
        centre: one of `CENTRES`, computed over the k models.
        variance: one of `VARIANCES`; see `Lira`.
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
        sd = np.std(_pooled(values, middle, variance, raw))
    return Gaussian(middle, np.maximum(sd, numerics.SMALLEST_SD))


def _pooled(values: Float64, middle: Float64, variance: str, raw: Float64) -> Float64:
    """Values whose standard deviation all records share, for variance "raw" or "residual"."""
    return raw if variance == "raw" else values - middle


class _Learned(NamedTuple):
    slots: Slots
    inside: Gaussian | StudentT
    outside: Gaussian | StudentT
    threshold: float


@final
@dataclass(frozen=True)
class Lira(Attack):
    """LiRA: likelihood of the output under models trained with the record, over without it.

    Carlini et al., S&P 2022, arXiv:2112.03570v2, algorithm 1 and its offline variant. For each
    record and input, a Gaussian is fitted to the statistic phi of the k shadow models that were
    trained on the record and one to that of the k that were not. Scores in nats, averaged over the
    A inputs of a record; larger = more likely a member:

    - "online": ln N(phi; in) - ln N(phi; out), algorithm 1; member if above 0.
    - "offline_one_sided": -ln P(Phi > phi), Phi ~ N(out), the paper's, in logarithms.
    - "offline_two_sided": -ln N(phi; out), that of the authors' code.

    Needs shadow models queried with the target's records, k in- and k out-models for each (offline
    only the out-models are used), and the true labels. The threat model says whether their outputs
    pass the target's defense.

    Offline attacks use no model that was trained on the record, so they cannot place the threshold
    between members and non-members: they call a record a member above the median score of a
    non-member (for one input and, two-sided, a record of median sd), which is ln 2 one-sided.
    Tune a threshold to use them.

    Published codes differ in the fit; every variant here has a name:

    - the centre is the "mean" (the paper) or the "median" (the authors' code) over models;
    - the variance (ddof 0) is that of one "example" and input over its k models (the paper), which
      needs about 32 models; or one for all records, of the "residual" phi - centre, for in- and
      out-models separately (tensorflow/privacy's advanced_mia.py); or one for all records, of the
      "raw" phi (plot.py of the authors' code): online that of the in-models is used for both kinds,
      offline that of the out-models;
    - "bayesian" (arXiv:2603.11799): each record's mean and variance have a normal-inverse-gamma
      prior, fitted to all records (`Prior.fit`), and phi has Student's t distribution given the k
      models: the more of them, the more it is the record's own. The centre is then the posterior's.

    An sd is at least `numerics.SMALLEST_SD`. If k = 1 nothing varies within a record, so "raw"
    replaces the other variances. Records without shadow models score 0.

    Args:
        mode: one of `MODES`.
        centre: one of `CENTRES`.
        variance: one of `VARIANCES`. The default, "residual", also works with few shadow models;
            with 32 or more models of each kind "example" is usually stronger; "bayesian" needs no
            such choice.
        statistic: registered name of the statistic; the paper's is "scaled_logit".

    Raises:
        InputError: for another mode, centre or variance; on fitting, if records have different
            numbers of in- and out-models.
        UnknownNameError: for a statistic that is not registered.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> use = [[1, 1], [1, 1], [0, 0], [0, 0]]
    >>> gaps = np.array([[4.0, 4.0], [6.0, 6.0], [0.0, 0.0], [2.0, 2.0]])  # phi with two classes
    >>> shadows = observe_shadow_logits(np.stack([gaps, 0 * gaps], axis=-1), labels=[0, 0], use=use)
    >>> fitted = Lira().fit(shadows)
    >>> scores = fitted.score(observe_logits([[5.0, 0.0], [2.0, 0.0]], labels=[0, 0]))
    >>> scores.round(6).tolist(), fitted.decide(scores).tolist()
    ([8.0, -4.0], [True, False])
    """

    mode: str = "online"
    centre: str = "mean"
    variance: str = "residual"
    statistic: str = "scaled_logit"
    title: ClassVar[str] = "LiRA"
    aligned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, values in (("mode", MODES), ("centre", CENTRES), ("variance", VARIANCES)):
            value = getattr(self, name)
            check(
                value in values,
                f"LiRA's {name} is {value!r}.",
                f"Use one of {', '.join(values)}.",
            )
        STATISTICS.get(self.statistic)

    def learn(self, shadows: ShadowObservations) -> _Learned:
        """Fit the Gaussians of every record that has shadow models."""
        return self.learn_part(shadows, None)

    def learn_part(self, shadows: ShadowObservations, gathered: SharedMoments | None) -> _Learned:
        """Fit the Gaussians of some of the records; of all records if ``gathered`` is None."""
        slots = shadows.slots
        inside, outside = slots.take(self._values(shadows))
        online = self.mode == "online"
        variance = self._variance(slots)
        raw = inside if online else outside
        shared = (None, None) if gathered is None else (gathered.inside, gathered.outside)
        out = fit_gaussian(outside, self.centre, variance, raw, shared[1])
        return _Learned(
            slots=slots,
            inside=fit_gaussian(inside, self.centre, variance, raw, shared[0]) if online else out,
            outside=out,
            threshold=self._threshold(out),
        )

    def gather(self, shadows: ShadowObservations) -> SharedMoments | None:
        """Compute the moments of some records for the shared sd; None for "example"."""
        slots = shadows.slots
        variance = self._variance(slots)
        if variance == "example":
            return None
        inside, outside = slots.take(self._values(shadows))
        if variance == "bayesian":
            return SharedMoments(PriorMoments.of(inside), PriorMoments.of(outside))
        raw = inside if self.mode == "online" else outside
        centre = CENTRES[self.centre]
        pooled = (_pooled(part, centre(part, axis=0), variance, raw) for part in (inside, outside))
        return SharedMoments(*map(Moments.of, pooled))

    def _values(self, shadows: ShadowObservations) -> Float64:
        return np.stack(
            [statistics.compute(model, self.statistic) for model in shadows.observations]
        )

    def _variance(self, slots: Slots) -> str:
        """The field ``variance``; "raw" for k = 1, where single values have no residuals."""
        return self.variance if slots.k > 1 else "raw"

    def _threshold(self, out: Gaussian | StudentT) -> float:
        if self.mode == "online":
            return 0.0
        if self.mode == "offline_one_sided":
            return float(np.log(2))
        if isinstance(out, StudentT):
            quartile = float(stats.t.ppf(0.75, out.dof))  # of |t| the median
            middle = float(np.median(np.log(out.sd)))
            return middle - float(stats.t.logpdf(quartile, out.dof))
        median_log_sd = float(np.median(np.log(out.sd)))
        return float(median_log_sd + _LN_SQRT_2_PI + _HALF_MEDIAN_CHI_SQUARE)

    def formula(self, learned: _Learned, target: Observation) -> Float64:
        """Average over inputs the log-likelihood ratio, or offline the score of the mode, [N]."""
        phi = statistics.compute(target, self.statistic)[learned.slots.rows]
        if self.mode == "online":
            scores = learned.inside.log_density(phi) - learned.outside.log_density(phi)
        elif self.mode == "offline_one_sided":
            scores = -learned.outside.log_survival(phi)
        else:
            scores = -learned.outside.log_density(phi)
        return learned.slots.spread(scores.mean(axis=1), len(target.labels))

    def decision(self, learned: _Learned, scores: Float64) -> Bools:
        """Decide for member if score > threshold, which is 0 online, [N]."""
        return np.asarray(scores > learned.threshold)


class _ClassGaussians(NamedTuple):
    """Mean and standard deviation of the cross-entropy for members [0] and non-members [1]."""

    mean: Float64  # [2, K]
    sd: Float64  # [2, K]

    def log_ratio(self, losses: Float64, classes: Int64) -> Float64:
        """ln N(loss; in) - ln N(loss; out) of each loss under its class."""
        z = (losses - self.mean[:, classes]) / self.sd[:, classes]
        log_density = -0.5 * z**2 - np.log(self.sd[:, classes])
        return np.asarray(log_density[0] - log_density[1])


class _LearnedByClass(NamedTuple):
    gaussians: _ClassGaussians
    sign: float  # -1 where the rule is inverted


def _losses(log_probs: Float64, labels: Int64) -> Float64:
    """-ln p_y with p_y clamped to [1e-12, 1 - 1e-12], as in the paper's artifact."""
    return -statistics.loss(numerics.clip_log_probabilities(log_probs), labels)


def _mean_and_sd(losses: Float64) -> tuple[float, float]:
    sd = float(losses.std(ddof=1)) if losses.size > 1 else 0.0
    return float(losses.mean()), max(sd, numerics.SMALLEST_SD)


@final
@dataclass(frozen=True)
class LiraByClass(Attack):
    """Likelihood ratio of the cross-entropy under Gaussians pooled by true class.

    The attack that arXiv:2505.13362v2 calls LiRA. That of Carlini et al. (2022), which fits a pair
    of Gaussians to every single record and is far stronger, is `Lira`.

    Needs a few shadow models, whatever records they were queried with (in the paper three, all
    trained on the same members), and the true labels. They are pooled; for each class one Gaussian
    is fitted to members' losses and one to non-members' (ddof 1, sd at least 1e-6; a class with
    fewer than two such losses has the Gaussian over all classes). Score: ln N(loss; in) -
    ln N(loss; out) in nats; larger = more likely a member, member if above 0. If on the shadow
    models the class-blind Gaussians classify more records correctly with the ratio below 0, scores
    and decisions are inverted.

    Args:
        shadows: how many shadow models to pool.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> probs = [[[0.99, 0.01], [0.97, 0.03], [0.7, 0.3], [0.5, 0.5]]]
    >>> shadows = observe_shadow_logits(np.log(probs), labels=[0, 0, 0, 0], use=[[1, 1, 0, 0]])
    >>> fitted = LiraByClass().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.98, 0.02], [0.6, 0.4]]), labels=[0, 0]))
    >>> scores.round(2).tolist(), fitted.decide(scores).tolist()
    ([5.05, -574.98], [True, False])
    """

    shadows: int = 3
    title: ClassVar[str] = "LiRA by class"

    def learn(self, shadows: ShadowObservations) -> _LearnedByClass:
        """Fit the Gaussians, and decide whether to invert."""
        log_probs, labels, members = shadows.rows(models=self.shadows)
        losses = _losses(log_probs, labels)
        overall = [_mean_and_sd(losses[side]) for side in (members, ~members)]
        classes = log_probs.shape[-1]
        mean, sd = (
            np.repeat(np.array(part)[:, None], classes, axis=1)
            for part in zip(*overall, strict=True)
        )
        everywhere = _ClassGaussians(mean.copy(), sd.copy())
        for side, chosen in enumerate((members, ~members)):
            for label in range(classes):
                pooled = losses[chosen & (labels == label)]
                if pooled.size > 1:
                    mean[side, label], sd[side, label] = _mean_and_sd(pooled)
        blind = everywhere.log_ratio(losses, np.zeros_like(labels))
        inverted = np.mean((blind < 0) == members) > np.mean((blind > 0) == members)
        return _LearnedByClass(_ClassGaussians(mean, sd), -1.0 if inverted else 1.0)

    def formula(self, learned: _LearnedByClass, target: Observation) -> Float64:
        """Compute the log-likelihood ratio, inverted where the shadow models call for it, [N]."""
        losses = _losses(target.log_probs[:, 0], target.labels)
        return learned.sign * learned.gaussians.log_ratio(losses, target.labels)


ATTACKS = {"lira": Lira, "lira_by_class": LiraByClass}
