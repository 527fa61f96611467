"""LiRA, the likelihood-ratio attack: Gaussians of a statistic with and without the record.

`Lira` fits them to every record (Carlini et al. 2022). Its field ``variance`` decides how
`fit_gaussian` computes the standard deviation: "residual" by default, which all records share.
Carlini et al. use that of each "example", which needs about 32 shadow models a record to be
reliable; "bayesian" lies between them, as far as the number of models calls for. With one model a
record (k = 1) there are no residuals, and "raw" replaces all of these.

`LiraByClass` fits Gaussians to every class, as the DynaNoise paper does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
from scipy import special, stats

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.attacks.gaussians import (
    CENTRES,
    LN_SQRT_2_PI,
    VARIANCES,
    Gaussian,
    Moments,
    PriorMoments,
    SharedMoments,
    StudentT,
    fit_gaussian,
    pool_spread,
)
from dynanoise.core import numerics
from dynanoise.core.errors import check
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import STATISTICS

MODES = ("online", "offline_one_sided", "offline_two_sided")

_HALF_MEDIAN_CHI_SQUARE = float(special.gammaincinv(0.5, 0.5))
"""Half the median of z^2 for a standard normal z, 0.2275."""


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

    def learn_part(
        self, shadows: ShadowObservations, gathered: SharedMoments[Any] | None
    ) -> _Learned:
        """Fit the Gaussians of some of the records; of all records if ``gathered`` is None."""
        slots = shadows.slots
        inside, outside = self._sides(shadows)
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

    def gather(self, shadows: ShadowObservations) -> SharedMoments[Any] | None:
        """Compute the moments of some records for the shared sd; None for "example".

        Raises:
            InputError: for a statistic that ranks a record among all records of the model.
        """
        check(
            self.statistic not in statistics.RANKED,
            f"LiRA's statistic {self.statistic!r} ranks all records of a model at once.",
            "In parts of the records use another, such as lira(statistic=scaled_logit).",
        )
        slots = shadows.slots
        variance = self._variance(slots)
        if variance == "example":
            return None
        inside, outside = self._sides(shadows)
        if variance == "bayesian":
            return SharedMoments(PriorMoments.of(inside), PriorMoments.of(outside))
        raw = inside if self.mode == "online" else outside
        centre = CENTRES[self.centre]
        pooled = (
            pool_spread(part, centre(part, axis=0), variance, raw) for part in (inside, outside)
        )
        return SharedMoments(*map(Moments.of, pooled))

    def _sides(self, shadows: ShadowObservations) -> tuple[Float64, Float64]:
        stacked = statistics.stack_models(shadows, self.statistic)
        return statistics.take_sides(shadows, stacked)

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
        return float(median_log_sd + LN_SQRT_2_PI + _HALF_MEDIAN_CHI_SQUARE)

    def formula(self, learned: _Learned, target: Observation) -> Float64:
        """Average over inputs the log-likelihood ratio, or offline the score of the mode, [N]."""
        phi = statistics.compute(target, self.statistic)[learned.slots.rows]
        if self.mode == "online":
            scores = learned.inside.log_density(phi) - learned.outside.log_density(phi)
        elif self.mode == "offline_one_sided":
            scores = -learned.outside.log_survival(phi)
        else:
            scores = -learned.outside.log_density(phi)
        return learned.slots.spread(statistics.average_inputs(scores), len(target.labels))

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
