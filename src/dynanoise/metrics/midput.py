"""MIDPUT: gain in privacy minus loss of accuracy of a defense (arXiv:2505.13362v2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.core.result import STRONGEST, Metric
from dynanoise.metrics.bootstrap import percentile_interval
from dynanoise.metrics.success import Success


@dataclass(frozen=True)
class Midput:
    """MIDPUT of one defense and its stricter forms, in units of accuracy; above 0 is a net gain.

    Attributes:
        put: for each attack, (ASR before - ASR after) - (accuracy before - accuracy after).
        mean: the mean of ``put``: MIDPUT as published. Nothing is clipped: an accuracy gain
            counts, and so does an ASR below 0.5.
        leakage: the same with |ASR - 0.5| for ASR: an attack that is wrong more often than chance
            leaks as much as an attack that is right.
        worst_case: max ASR before - max ASR after - accuracy drop: the defender faces the
            strongest attack, not the average one.
    """

    put: Mapping[str, float]
    mean: float
    leakage: float
    worst_case: float


def midput(
    success_before: Mapping[str, float],
    success_after: Mapping[str, float],
    accuracy_before: float,
    accuracy_after: float,
) -> Midput:
    """Compute MIDPUT (arXiv:2505.13362v2) and its two stricter forms.

    Args:
        success_before: ASR by attack, 0..1, without the defense.
        success_after: ASR of the same attacks, with the defense.
        accuracy_before: accuracy on test data, 0..1, without the defense.
        accuracy_after: with the defense.

    Returns:
        PUT by attack, and the three forms.

    Raises:
        InputError: if the attacks differ, or there are none, or a rate is not within 0..1.

    The published CIFAR-10 row of DynaNoise, confidence attack and mean over the four columns:

    >>> before = {"confidence": 0.6124, "loss": 0.6180, "shadow": 0.6387, "lira": 0.6097}
    >>> after = {"confidence": 0.5014, "loss": 0.5219, "shadow": 0.5053, "lira": 0.5342}
    >>> result = midput(before, after, 0.7875, 0.7807)
    >>> round(result.put["confidence"], 4), round(result.mean, 4), round(result.worst_case, 4)
    (0.1042, 0.0972, 0.0977)
    """
    if not success_before or set(success_before) != set(success_after):
        raise InputError(
            f"The attacks before are {sorted(success_before)}, after {sorted(success_after)}.",
            "MIDPUT compares the same attacks, at least one.",
        )
    rates = {
        **{f"The success of {name} before": rate for name, rate in success_before.items()},
        **{f"The success of {name} after": rate for name, rate in success_after.items()},
        "The accuracy before": accuracy_before,
        "The accuracy after": accuracy_after,
    }
    for name, rate in rates.items():
        if not isinstance(rate, int | float | np.number) or not 0 <= rate <= 1:
            raise InputError(f"{name} is {rate!r}.", "Pass rates from 0 to 1, not percentages.")
    drop = accuracy_before - accuracy_after
    put = {name: success_before[name] - success_after[name] - drop for name in success_before}
    before, after = (
        np.array([rates[name] for name in put]) for rates in (success_before, success_after)
    )
    means = mean_gains(before, after, np.float64(drop))
    worst = float(worst_case_gain(before, after, np.float64(drop)))
    return Midput(put, float(means["midput"]), float(means["midput_leakage"]), worst)


def mean_gains(before: Float64, after: Float64, drop: Float64 | np.float64) -> dict[str, Float64]:
    """Compute the two mean forms of MIDPUT, without checks, for many replicates at once.

    Args:
        before: float64 [attacks, ...], ASR of each attack without the defense.
        after: float64 [attacks, ...], with the defense.
        drop: float64 [...], accuracy before minus accuracy after.

    Returns:
        `Midput.mean` as ``midput`` and `Midput.leakage` as ``midput_leakage``, each [...].

    >>> gains = mean_gains(np.array([0.6, 0.7]), np.array([0.5, 0.6]), np.float64(0.01))
    >>> {name: round(float(value), 9) for name, value in gains.items()}
    {'midput': 0.09, 'midput_leakage': 0.09}
    """
    return {
        "midput": np.mean(before - after, axis=0) - drop,
        "midput_leakage": np.mean(abs(before - 0.5) - abs(after - 0.5), axis=0) - drop,
    }


def worst_case_gain(before: Float64, after: Float64, drop: Float64 | np.float64) -> Float64:
    """Compute the worst-case form: loss of the strongest attack minus loss of accuracy.

    Args:
        before: float64 [attacks, ...], a rate of each attack without the defense.
        after: float64 [attacks, ...], with the defense.
        drop: float64 [...], accuracy before minus accuracy after.

    Returns:
        float64 [...].

    >>> float(worst_case_gain(np.array([0.6, 0.75]), np.array([0.5, 0.625]), np.float64(0.125)))
    0.0
    """
    return np.asarray(before.max(axis=0) - after.max(axis=0) - drop)


def trade_off(
    before: Mapping[str, Success],
    after: Mapping[str, Success],
    accuracy_before: Float64,
    accuracy_after: Float64,
) -> dict[str, Metric]:
    """Compute MIDPUT of a method and its stricter forms, as metrics of a result.

    Args:
        before: success of each attack on the baseline, by name, of the same resampled pools.
        after: likewise on the method; "strongest" is the attacker's own choice among the others.
        accuracy_before: float64 [M], accuracy of each model on test data without the defense.
        accuracy_after: float64 [M], likewise with it.

    Returns:
        ``midput`` and ``midput_leakage``, see `Midput`, over the attacks that both have. Of one
        model ``midput_worst_case`` compares the best attack of either side in hindsight. Of a pool
        that is ``midput_oracle``, and ``midput_worst_case`` compares the attacker's choice on
        either side; both also for TPR at low FPR, as ``midput_worst_case_tpr@0.001`` and so on; all
        have intervals of paired resampling.

    Raises:
        InputError: for one model, as of `midput`.
    """
    attacks = [[name for name in level if name != STRONGEST] for level in (before, after)]
    # Those of all attacks are equal; of one model there are none.
    draws = next((success.draws for success in after.values()), None)
    if draws is None:
        old, new = (
            {name: level[name].metrics["asr"].value for name in names}
            for level, names in zip((before, after), attacks, strict=True)
        )
        forms = midput(old, new, float(accuracy_before[0]), float(accuracy_after[0]))
        values = {"": forms.mean, "_leakage": forms.leakage, "_worst_case": forms.worst_case}
        return {f"midput{suffix}": Metric(value) for suffix, value in values.items()}
    common = [name for name in attacks[1] if name in before]
    # Where few non-members are scored there is no TPR at a low FPR.
    tprs = [name for name in before[STRONGEST].metrics if name.startswith("tpr@")]

    def at(value_of: Callable[[Success, str], Float64], weights: Float64) -> dict[str, Float64]:
        """Values [replicates] for success rates [replicates] and weights [replicates, M]."""
        drop = np.asarray((weights @ (accuracy_before - accuracy_after)) / weights.sum(axis=1))

        def rates(rate: str, level: Mapping[str, Success], names: Sequence[str]) -> Float64:
            return np.stack([value_of(level[name], rate) for name in names])

        # The mean is over the same attacks on both sides; the strongest may be any of either.
        values = mean_gains(rates("asr", before, common), rates("asr", after, common), drop)
        for rate, suffix in {"asr": "", **{name: f"_{name}" for name in tprs}}.items():
            # The best attack in hindsight on both sides, then the attacker's own choice.
            old, new = rates(rate, before, attacks[0]), rates(rate, after, attacks[1])
            values[f"midput_oracle{suffix}"] = worst_case_gain(old, new, drop)
            old, new = rates(rate, before, [STRONGEST]), rates(rate, after, [STRONGEST])
            values[f"midput_worst_case{suffix}"] = worst_case_gain(old, new, drop)
        return values

    point = at(
        lambda success, rate: np.array([success.metrics[rate].value]),
        np.ones((1, draws.shape[1])),
    )
    spread = at(lambda success, rate: success.replicates[rate], draws)
    return {
        name: percentile_interval(float(value[0]), spread[name]) for name, value in point.items()
    }
