"""Lower bounds on the epsilon of differential privacy, from an attack's decisions.

Each holds for any training, at its level of confidence: a small bound shows a weak attack or few
records, never that the training is private.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import optimize, special, stats

from dynanoise.core.errors import InputError
from dynanoise.metrics.intervals import LEVEL, proportion


def epsilon_lower_bound(
    true_positives: int,
    members: int,
    false_positives: int,
    non_members: int,
    delta: float = 0.0,
    level: float = LEVEL,
) -> float:
    """Bound epsilon of (epsilon, delta)-DP from below, from independent trials.

    Under (epsilon, delta)-DP TPR <= e^epsilon FPR + delta and TNR <= e^epsilon FNR + delta
    (Kairouz, Oh & Viswanath 2015), so the bound is the larger of ln((TPR_lo - delta) / FPR_hi) and
    ln((TNR_lo - delta) / FNR_hi), and at least 0. All four limits hold simultaneously at the level:
    TNR_lo is 1 - FPR_hi and FNR_hi is 1 - TPR_lo, so two one-sided Clopper-Pearson limits with half
    of the error 1 - level each (Bonferroni) give all of them.

    Valid for independent trials at a threshold fixed on other runs: for example one trial a model,
    where every model was trained anew and has one canary. The records of one model share its
    training; for them see `epsilon_one_run`.

    Args:
        true_positives: members called members, 0..members.
        members: trials with a member, >= 1.
        false_positives: non-members called members, 0..non_members.
        non_members: trials with a non-member, >= 1.
        delta: in [0, 1).
        level: confidence level, in (0, 1).

    Returns:
        The bound on epsilon, >= 0.

    Raises:
        InputError: for numbers outside these ranges.

    >>> round(epsilon_lower_bound(900, 1000, 100, 1000), 3), round(float(np.log(9)), 3)
    (1.99, 2.197)
    >>> epsilon_lower_bound(50, 100, 50, 100)  # guessing
    0.0
    >>> round(epsilon_lower_bound(1000, 1000, 0, 1000), 3)  # the largest from 1000 trials each
    5.601
    """
    _check_level(level)
    if not 0 <= delta < 1:
        raise InputError(f"delta is {delta}.", "Use a number from 0 to below 1.")
    # A two-sided interval at level 1 - alpha has alpha/2 on either side: alpha/2 per limit.
    tpr_low = proportion(true_positives, members, level).low or 0.0
    fpr_high = proportion(false_positives, non_members, level).high or 1.0
    ratios = (tpr_low - delta) / fpr_high, (1 - fpr_high - delta) / (1 - tpr_low)
    return float(np.log(max(*ratios, 1.0)))


def are_fair_coins(members: int, records: int) -> bool:
    """Tell whether a fair coin for each record may have decided its membership.

    A bound from one run holds for fair coins alone: where 80% of the records are members, guesses
    are right for 80% of them without any leak.

    Args:
        members: number of members.
        records: number of records, members among them.

    Returns:
        False if the share of members is more than 4 standard errors, and 0.01, away from 0.5.

    >>> are_fair_coins(520, 1000), are_fair_coins(800, 1000)
    (True, False)
    """
    return abs(members - records / 2) <= max(0.01 * records, 2 * float(np.sqrt(records)))


def epsilon_one_run(
    correct: int,
    guesses: int,
    level: float = LEVEL,
    *,
    delta: float = 0.0,
    records: int | None = None,
) -> float:
    """Bound epsilon of (epsilon, delta)-DP from below, from guesses about records of one model.

    Under epsilon-DP, where each record was put into the training data by a fair coin of its own,
    P[correct >= v] <= P[Binomial(guesses, e^epsilon / (1 + e^epsilon)) >= v] (Steinke, Nasr &
    Jagielski 2023, arXiv:2305.08846, the theorem for delta = 0); with delta the right side grows by
    2 delta records max_i P[v > Binomial >= v - i] / i (their theorem for delta > 0). The bound is
    the epsilon at which the right side is 1 - level; for delta = 0 the log-odds of the one-sided
    Clopper-Pearson limit.

    A guess may depend on the model's outputs and on anything independent of these records' coins,
    but not on whether another guess is correct. The attacker may abstain on any record, but not
    depending on its membership. Neighbouring data sets differ by adding or removing one record.

    Args:
        correct: 0..guesses.
        guesses: >= 0; the bound is 0 without guesses.
        level: confidence level, in (0, 1).
        delta: in [0, 1).
        records: number of records with a coin, guessed about or not, >= guesses; None for as many
            as guesses. It matters for delta > 0 only.

    Returns:
        The bound on epsilon, >= 0; for delta = 0 at most ln(p / (1 - p)) with p =
        (1 - level)^(1 / guesses), where all guesses are correct.

    Raises:
        InputError: for numbers outside these ranges.

    >>> round(epsilon_one_run(900, 1000), 3), round(float(special.logit(0.9)), 3)
    (2.021, 2.197)
    >>> epsilon_one_run(50, 100)  # guessing
    0.0
    >>> round(epsilon_one_run(100, 100), 3)  # the largest bound from 100 guesses
    3.493
    >>> round(epsilon_one_run(900, 1000, delta=1e-5, records=10_000), 3)
    2.015
    """
    total = _check_guesses(correct, guesses, level, delta, records)
    if correct == 0:
        return 0.0
    rate = float(special.betaincinv(correct, guesses - correct + 1, 1 - level))
    pure = max(0.0, float(special.logit(rate)))
    if delta == 0 or pure == 0:
        return pure
    numbers = np.arange(1, correct + 1)

    def excess(epsilon: float) -> float:
        share = special.expit(epsilon)
        beyond = stats.binom.sf(correct - 1, guesses, share)
        below = stats.binom.sf(correct - numbers - 1, guesses, share) - beyond
        return float(beyond + 2 * delta * total * max(0.0, (below / numbers).max()) - (1 - level))

    return _root(excess, pure)


def epsilon_f_dp(
    correct: int,
    guesses: int,
    level: float = LEVEL,
    *,
    delta: float,
    records: int | None = None,
) -> float:
    """Bound epsilon of a Gaussian mechanism from below, from guesses about records of one model.

    Mahloujifar, Melis & Chaudhuri 2024, arXiv:2410.22235, algorithm 3: the largest mu for which
    mu-Gaussian DP is refuted at the level, and its epsilon at delta. The bound holds for training
    whose privacy curve is a Gaussian's (DP-SGD's nearly is), and is larger than that of
    `epsilon_one_run`, which holds for any curve. Conditions and arguments are those of
    `epsilon_one_run`.

    Args:
        correct: 0..guesses.
        guesses: >= 0; the bound is 0 without guesses.
        level: confidence level, in (0, 1).
        delta: in (0, 1), where epsilon is read from the curve.
        records: number of records with a coin, >= guesses; None for as many as guesses.

    Returns:
        The bound on epsilon, >= 0.

    Raises:
        InputError: for numbers outside these ranges.

    >>> round(epsilon_f_dp(900, 1000, delta=1e-5), 2)
    3.78
    >>> epsilon_f_dp(500, 1000, delta=1e-5)  # guessing
    0.0
    """
    total = _check_guesses(correct, guesses, level, delta, records)
    if delta == 0:
        raise InputError("delta is 0.", "Use a number above 0: a Gaussian has no epsilon at 0.")

    def excess(mu: float) -> float:
        """Above 0 where mu-Gaussian DP is refuted."""
        right = (1 - level) * correct / total
        wrong = (1 - level) * (guesses - correct) / total
        for place in range(correct - 1, -1, -1):
            allowed = float(special.ndtr(special.ndtri(right) - mu))
            if allowed <= wrong:
                break  # neither changes any more
            right = min(right + place / (guesses - place) * (allowed - wrong), 1.0)
            wrong = allowed
        return right + wrong - guesses / total

    if correct == 0 or excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        high *= 2
    mu = float(optimize.brentq(excess, 0.0, high, xtol=1e-9))
    return gaussian_epsilon(mu, delta)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Compute epsilon of mu-Gaussian DP at a delta (Dong, Roth & Su 2022, corollary 1).

    Args:
        mu: >= 0.
        delta: in (0, 1).

    Returns:
        epsilon >= 0.

    >>> round(gaussian_epsilon(1.0, 1e-5), 4)
    4.3772
    """

    def gap(epsilon: float) -> float:
        first = special.ndtr(-epsilon / mu + mu / 2)
        second = np.exp(epsilon + special.log_ndtr(-epsilon / mu - mu / 2))
        return float(first - second) - delta

    if mu == 0 or gap(0.0) <= 0:
        return 0.0
    return float(optimize.brentq(gap, 0.0, mu * mu / 2 + 40 * mu, xtol=1e-12))


def _check_guesses(
    correct: int, guesses: int, level: float, delta: float, records: int | None
) -> int:
    """Check the arguments of a bound from one run; the number of records."""
    _check_level(level)
    if not 0 <= correct <= guesses:
        raise InputError(
            f"correct is {correct} but guesses is {guesses}.", "Pass 0 <= correct <= guesses."
        )
    if not 0 <= delta < 1:
        raise InputError(f"delta is {delta}.", "Use a number from 0 to below 1.")
    if records is not None and records < guesses:
        raise InputError(
            f"There are {guesses} guesses about {records} records.", "Count all records."
        )
    return guesses if records is None else records


def _root(excess: Callable[[float], float], high: float) -> float:
    """The epsilon in [0, high] at which an increasing function is 0; 0 if it is above 0 there."""
    return 0.0 if excess(0.0) >= 0 else float(optimize.brentq(excess, 0.0, high, xtol=1e-9))


def epsilon_of_models(
    correct: Sequence[int], guesses: Sequence[int], level: float = LEVEL
) -> float:
    """Bound epsilon of epsilon-DP from below, from guesses about many records of M models.

    If the attack on one model uses the membership of the others, guesses about different models
    are not independent, so they may not be counted as one large run: for two models that leak
    nothing, guessing each one's coin by the other's makes all guesses correct half of the time.
    Instead each model gets the bound of `epsilon_one_run` with half of the error, and the result
    is the median of these bounds (the upper one if their number is even). The median is too large
    only if at least half of the bounds are, which by Markov's inequality has at most twice the
    error of a single bound, under any dependence (Rueger 1978). The maximum would be larger but
    would need an error of (1 - level) / M for each model.

    Args:
        correct: [M], correct guesses about each model, 0..guesses.
        guesses: [M], guesses about each model.
        level: confidence level of the bound, in (0, 1).

    Returns:
        The bound on epsilon, >= 0.

    Raises:
        InputError: for numbers outside these ranges, without a model, or if the lengths differ.

    >>> bounds = [round(epsilon_one_run(count, 100, 0.975), 3) for count in (60, 75, 80)]
    >>> bounds, round(epsilon_of_models([80, 60, 75], [100, 100, 100]), 3)
    ([0.0, 0.634, 0.886], 0.634)
    """
    _check_level(level)
    if not len(correct) or len(correct) != len(guesses):
        raise InputError(
            f"correct has {len(correct)} entries and guesses has {len(guesses)}.",
            "Pass one of each for every model, and at least one model.",
        )
    bounds = sorted(
        epsilon_one_run(int(hits), int(total), (1 + level) / 2)
        for hits, total in zip(correct, guesses, strict=True)
    )
    return bounds[len(bounds) // 2]


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"The level is {level}.", "Use a number between 0 and 1.")
