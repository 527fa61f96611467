"""The likelihood-ratio attack as the DynaNoise paper runs it: Gaussians pooled by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack
from dynanoise.core import numerics
from dynanoise.core.numerics import Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations


class _Gaussians(NamedTuple):
    """Mean and standard deviation of the cross-entropy for members [0] and non-members [1]."""

    mean: Float64  # [2, K]
    sd: Float64  # [2, K]

    def log_ratio(self, losses: Float64, classes: Int64) -> Float64:
        """ln N(loss; in) - ln N(loss; out) of each loss under its class."""
        z = (losses - self.mean[:, classes]) / self.sd[:, classes]
        log_density = -0.5 * z**2 - np.log(self.sd[:, classes])
        return np.asarray(log_density[0] - log_density[1])


class _Learned(NamedTuple):
    gaussians: _Gaussians
    sign: float  # -1 where the rule is inverted


def _losses(log_probs: Float64, labels: Int64) -> Float64:
    """-ln p_y with p_y clamped to [1e-12, 1 - 1e-12], as in the paper's artifact."""
    return -statistics.loss(numerics.clip_log_probabilities(log_probs), labels)


def _gaussian(losses: Float64) -> tuple[float, float]:
    sd = float(losses.std(ddof=1)) if losses.size > 1 else 0.0
    return float(losses.mean()), max(sd, numerics.SMALLEST_SD)


@final
@dataclass(frozen=True)
class LiraByClass(Attack):
    """Likelihood ratio of the cross-entropy under Gaussians pooled by true class.

    arXiv:2505.13362v2 calls this LiRA. It is not the attack of Carlini et al. (2022), which fits a
    pair of Gaussians to every single record and is far stronger.

    Three shadow models, all trained on the same members, are pooled; for each class one Gaussian is
    fitted to members' losses and one to non-members' (ddof 1, sd at least 1e-6; a class with fewer
    than two such losses uses those over all classes). Score: ln N(loss; in) - ln N(loss; out);
    member if above 0. If on the shadows the class-blind Gaussians tell more records right with the
    ratio below 0, scores and decisions are inverted.

    Args:
        shadows: how many shadow models to pool.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> probs = [[[0.99, 0.01], [0.97, 0.03], [0.7, 0.3], [0.5, 0.5]]]
    >>> shadows = observe_shadow_logits(np.log(probs), labels=[0, 0, 0, 0], use=[[1, 1, 0, 0]])
    >>> fitted = LiraByClass().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.98, 0.02], [0.6, 0.4]]), labels=[0, 0]))
    >>> fitted.decide(scores).tolist()
    [True, False]
    """

    shadows: int = 3
    title: ClassVar[str] = "LiRA by class"

    def learn(self, shadows: ShadowObservations) -> _Learned:
        """The Gaussians, and whether to invert."""
        log_probs, labels, members = shadows.rows(models=self.shadows)
        losses = _losses(log_probs, labels)
        overall = [_gaussian(losses[side]) for side in (members, ~members)]
        classes = log_probs.shape[-1]
        mean, sd = (
            np.repeat(np.array(part)[:, None], classes, axis=1)
            for part in zip(*overall, strict=True)
        )
        everywhere = _Gaussians(mean.copy(), sd.copy())
        for side, chosen in enumerate((members, ~members)):
            for label in range(classes):
                pooled = losses[chosen & (labels == label)]
                if pooled.size > 1:
                    mean[side, label], sd[side, label] = _gaussian(pooled)
        blind = everywhere.log_ratio(losses, np.zeros_like(labels))
        inverted = np.mean((blind < 0) == members) > np.mean((blind > 0) == members)
        return _Learned(_Gaussians(mean, sd), -1.0 if inverted else 1.0)

    def formula(self, learned: _Learned, observed: Observation) -> Float64:
        """The log-likelihood ratio, inverted where the shadows say so."""
        losses = _losses(observed.log_probs[:, 0], observed.labels)
        return learned.sign * learned.gaussians.log_ratio(losses, observed.labels)


ATTACKS = {"lira_by_class": LiraByClass}
