"""The likelihood-ratio attack: a Gaussian for each record, fitted to models with and without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
from scipy import special

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.core import numerics
from dynanoise.core.errors import check
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import STATISTICS

MODES = ("online", "offline_one_sided", "offline_two_sided")
CENTRES: dict[str, Callable[..., Any]] = {"mean": np.mean, "median": np.median}
VARIANCES = ("example", "residual", "raw")

_LN_SQRT_2_PI = 0.5 * np.log(2 * np.pi)

_HALF_MEDIAN_CHI_SQUARE = float(special.gammaincinv(0.5, 0.5))
"""Half the median of z^2 for a standard normal z, 0.2275."""


class Gaussian(NamedTuple):
    """Normal distributions of a statistic, one for each of E examples and A inputs."""

    centre: Float64  # [E, A]
    sd: Float64  # [E, A], or [] if all share one

    def z(self, phi: Float64) -> Float64:
        """(phi - centre) / sd, [E, A]."""
        return np.asarray((phi - self.centre) / self.sd)

    def log_density(self, phi: Float64) -> Float64:
        """ln N(phi; centre, sd), [E, A].

        >>> Gaussian(np.array([[1.0]]), np.array(2.0)).log_density(np.array([[3.0]])).round(4)
        array([[-2.1121]])
        """
        return np.asarray(-0.5 * self.z(phi) ** 2 - np.log(self.sd) - _LN_SQRT_2_PI)


@dataclass(frozen=True)
class Moments:
    """Of numbers that are seen in parts: how many, their mean, and squared deviations from it.

    >>> both = Moments.of(np.array([1.0, 2.0])) + Moments.of(np.array([6.0]))
    >>> round(both.sd, 6), float(np.std([1, 2, 6]).round(6))
    (2.160247, 2.160247)
    """

    count: int
    mean: float
    squares: float

    @classmethod
    def of(cls, values: Float64) -> Moments:
        """Of one part."""
        mean = float(values.mean())
        return cls(values.size, mean, float(np.square(values - mean).sum()))

    def __add__(self, other: Moments) -> Moments:
        """Of both parts together (Chan, Golub & LeVeque 1979)."""
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
class Spread:
    """Of in- and out-models, where one standard deviation stands for all examples."""

    inside: Moments
    outside: Moments

    def __add__(self, other: Spread) -> Spread:
        """Of the examples of both."""
        return Spread(self.inside + other.inside, self.outside + other.outside)


def gaussian(
    values: Float64, centre: str, variance: str, raw: Float64, spread: Moments | None = None
) -> Gaussian:
    """Gaussians of what k models of one kind have.

    Args:
        values: float64 [k, E, A].
        centre: one of `CENTRES`, over the models.
        variance: one of `VARIANCES`.
        raw: the values whose standard deviation "raw" means.
        spread: of all examples, where these are some of them; None for what these themselves have.

    >>> values = np.array([[[0.0], [4.0]], [[2.0], [4.0]]])
    >>> gaussian(values, "mean", "example", values).sd.tolist()
    [[1.0], [1e-06]]
    >>> [float(gaussian(values, "mean", name, values).sd.round(4)) for name in VARIANCES[1:]]
    [0.7071, 1.6583]
    """
    middle = np.asarray(CENTRES[centre](values, axis=0))
    if variance == "example":
        sd = values.std(axis=0)
    elif spread is not None:
        sd = np.asarray(spread.sd)
    else:
        sd = np.std(raw if variance == "raw" else values - middle)
    return Gaussian(middle, np.maximum(sd, numerics.SMALLEST_SD))


class _Learned(NamedTuple):
    slots: Slots
    inside: Gaussian
    outside: Gaussian
    threshold: float


@final
@dataclass(frozen=True)
class Lira(Attack):
    """LiRA: how much likelier the answer is from a model with the record than from one without.

    Carlini et al., S&P 2022, arXiv:2112.03570v2, algorithm 1 and its offline variant. For each
    record and input, a Gaussian is fitted to the statistic phi of the k shadow models that were
    trained on the record and one to that of the k that were not. Scores in nats are averaged over
    the A inputs of a record:

    - "online": ln N(phi; in) - ln N(phi; out), algorithm 1; member if above 0.
    - "offline_one_sided": -ln P(Phi > phi), Phi ~ N(out), as the paper has it, in logarithms.
    - "offline_two_sided": -ln N(phi; out), as the authors' code has it.

    Offline attacks use no model that was trained on the record, so they cannot tell where members
    begin: they say member above the median score of a non-member (for one input and, two-sided, a
    record of middling sd), which is ln 2 one-sided. Tune a threshold to use them.

    Published codes differ in how they fit; every variant here has a name:

    - the centre is the "mean" (the paper) or the "median" (the authors' code) over models;
    - the variance (ddof 0) is of one "example" and input over its k models, which needs about 32
      models; or one for all, of the "residual" phi - centre, for members and non-members
      separately (tensorflow/privacy's advanced_mia.py); or one for all of the "raw" phi (their
      plot.py): online that of the in-models stands for both kinds, offline that of out-models.

    An sd is at least `numerics.SMALLEST_SD`. Where k = 1 nothing varies within a record, and "raw"
    stands for the other variances. Records without shadow models score 0.

    Args:
        mode: one of `MODES`.
        centre: one of `CENTRES`.
        variance: one of `VARIANCES`.
        statistic: a registered statistic; the paper's is "scaled_logit".

    Raises:
        InputError: for another mode, centre or variance; on fitting, if examples have different
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
        for name, known in (("mode", MODES), ("centre", CENTRES), ("variance", VARIANCES)):
            value = getattr(self, name)
            check(
                value in known,
                f"LiRA's {name} is {value!r}.",
                f"Use one of {', '.join(known)}.",
            )
        STATISTICS.get(self.statistic)

    def learn(self, shadows: ShadowObservations) -> _Learned:
        """The Gaussians of every example that has shadow models."""
        return self.learn_part(shadows, None)

    def learn_part(self, shadows: ShadowObservations, gathered: Spread | None) -> _Learned:
        """The Gaussians of some of the examples; None takes them for all."""
        found = shadows.slots
        inside, outside = found.take(self._values(shadows))
        online = self.mode == "online"
        variance = self._variance(found)
        raw = inside if online else outside
        spreads = (None, None) if gathered is None else (gathered.inside, gathered.outside)
        out = gaussian(outside, self.centre, variance, raw, spreads[1])
        return _Learned(
            slots=found,
            inside=gaussian(inside, self.centre, variance, raw, spreads[0]) if online else out,
            outside=out,
            threshold=self._threshold(out),
        )

    def gather(self, shadows: ShadowObservations) -> Spread | None:
        """The deviations of which one standard deviation stands for all examples, if one does."""
        found = shadows.slots
        variance = self._variance(found)
        if variance == "example":
            return None
        inside, outside = found.take(self._values(shadows))
        if variance == "raw":
            raw = Moments.of(inside if self.mode == "online" else outside)
            return Spread(raw, raw)
        centre = CENTRES[self.centre]
        return Spread(*(Moments.of(part - centre(part, axis=0)) for part in (inside, outside)))

    def _values(self, shadows: ShadowObservations) -> Float64:
        return np.stack([statistics.of(seen, self.statistic) for seen in shadows.observed])

    def _variance(self, found: Slots) -> str:
        return self.variance if found.k > 1 else "raw"

    def _threshold(self, out: Gaussian) -> float:
        if self.mode == "online":
            return 0.0
        if self.mode == "offline_one_sided":
            return float(np.log(2))
        middling = float(np.median(np.log(out.sd)))
        return float(middling + _LN_SQRT_2_PI + _HALF_MEDIAN_CHI_SQUARE)

    def formula(self, learned: _Learned, observed: Observation) -> Float64:
        """The mean log-likelihood ratio over inputs, or offline the mean surprise."""
        phi = statistics.of(observed, self.statistic)[learned.slots.rows]
        if self.mode == "online":
            found = learned.inside.log_density(phi) - learned.outside.log_density(phi)
        elif self.mode == "offline_one_sided":
            # The upper tail at z is the lower tail at -z, and its logarithm does not underflow.
            found = -special.log_ndtr(-learned.outside.z(phi))
        else:
            found = -learned.outside.log_density(phi)
        return learned.slots.spread(found.mean(axis=1), len(observed.labels))

    def decision(self, learned: _Learned, scores: Float64) -> Bools:
        """Score > threshold, which online is 0."""
        return np.asarray(scores > learned.threshold)


ATTACKS = {"lira": Lira}
