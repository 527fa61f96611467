"""Lower bounds of epsilon equal independent computations and hold where epsilon is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special, stats
from scipy.stats import beta, binom, binomtest

from dynanoise.core.errors import InputError
from dynanoise.metrics.epsilon import (
    epsilon_f_dp,
    epsilon_lower_bound,
    epsilon_of_models,
    epsilon_one_run,
    gaussian_epsilon,
)


def searched(fits: Callable[[float], bool]) -> float:
    """The largest epsilon on a fine grid that the data rule out."""
    grid = np.arange(0, 8, 1e-3)
    ruled_out = [epsilon for epsilon in grid if not fits(epsilon)]
    return float(max(ruled_out, default=0.0))


@pytest.mark.parametrize(
    ("told", "members", "alarms", "others", "delta"),
    [(90, 100, 10, 100, 0.0), (100, 100, 0, 80, 1e-3), (40, 90, 2, 100, 0.01), (70, 70, 60, 70, 0)],
)
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_two_sided_bound_equals_a_search_over_scipys_limits(
    told: int, members: int, alarms: int, others: int, delta: float, level: float
) -> None:
    error = (1 - level) / 2  # of one limit
    low = beta.ppf(error, told, members - told + 1)
    two_sided = binomtest(alarms, others).proportion_ci(level, "exact")
    assert two_sided.high == pytest.approx(beta.ppf(1 - error, alarms + 1, others - alarms))

    def fits(epsilon: float) -> bool:
        most = np.exp(epsilon)
        right = two_sided.high * most + delta >= low
        return bool(right and (1 - low) * most + delta >= 1 - two_sided.high)

    bound = epsilon_lower_bound(told, members, alarms, others, delta, level)
    assert bound == pytest.approx(searched(fits), abs=2e-3)
    assert bound > 0.05


@pytest.mark.behaviour
@pytest.mark.parametrize(
    ("correct", "guesses"), [(60, 100), (95, 100), (100, 100), (7, 7), (900, 1600)]
)
@pytest.mark.parametrize("level", [0.9, 0.975])
def test_one_run_bound_equals_a_search_over_binomial_tails(
    correct: int, guesses: int, level: float
) -> None:
    def fits(epsilon: float) -> bool:
        rate = np.exp(epsilon) / (1 + np.exp(epsilon))
        return bool(binom.sf(correct - 1, guesses, rate) > 1 - level)

    bound = epsilon_one_run(correct, guesses, level)
    assert bound == pytest.approx(searched(fits), abs=2e-3)
    rate = np.exp(bound) / (1 + np.exp(bound))
    tail = binomtest(correct, guesses, rate, alternative="greater").pvalue
    assert bound == 0 or tail == pytest.approx(1 - level)


def test_zero_at_chance_and_below() -> None:
    assert epsilon_lower_bound(50, 100, 50, 100) == epsilon_lower_bound(0, 9, 9, 9) == 0
    assert epsilon_one_run(50, 100) == epsilon_one_run(0, 5) == epsilon_one_run(0, 0) == 0
    assert epsilon_of_models([50] * 8, [100] * 8) == 0


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
def test_one_run_covers_randomized_response_exactly(epsilon: float) -> None:
    """Every answer is true with probability e^epsilon / (1 + e^epsilon); nothing leaks more."""
    rate = np.exp(epsilon) / (1 + np.exp(epsilon))
    for guesses in (10, 100, 1000):
        counts = np.arange(guesses + 1)
        holds = np.array([epsilon_one_run(int(v), guesses) <= epsilon for v in counts])
        covered = binom.pmf(counts, guesses, rate)[holds].sum()
        assert covered >= 0.95
    assert covered < 0.97  # and it is not wider than it must be
    many = epsilon_one_run(round(rate * 10**6), 10**6)
    assert epsilon - 0.01 < many <= epsilon


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.0), (1.0, 0.0), (1.0, 0.05)])
def test_two_sided_covers_randomized_response(epsilon: float, delta: float) -> None:
    """The truth outright with probability delta, else randomized response: (epsilon, delta)-DP."""
    generator = np.random.default_rng(0)
    rate = delta + (1 - delta) * np.exp(epsilon) / (1 + np.exp(epsilon))
    trials = 300
    hits, quiet = generator.binomial(trials, rate, (2, 1000))
    bounds = np.array([
        epsilon_lower_bound(int(t), trials, int(trials - q), trials, delta)
        for t, q in zip(hits, quiet, strict=True)
    ])  # fmt: skip
    assert (bounds <= epsilon).mean() >= 0.95
    right = round(rate * 10**6)
    many = epsilon_lower_bound(right, 10**6, 10**6 - right, 10**6, delta)
    assert epsilon - 0.02 < many <= epsilon
    if delta:
        assert epsilon_lower_bound(right, 10**6, 10**6 - right, 10**6) > epsilon


def test_the_median_of_models_holds_whatever_their_dependence() -> None:
    """If all models err together, the median errs as one; the maximum errs too often."""
    generator = np.random.default_rng(1)
    epsilon, guesses, models = 1.0, 100, 9
    rate = np.exp(epsilon) / (1 + np.exp(epsilon))
    wrong = {"one": 0, "independent": 0, "maximum": 0}
    for _ in range(1000):
        right = generator.binomial(guesses, rate, models).tolist()
        all_of = [guesses] * models
        wrong["one"] += epsilon_of_models([right[0]] * models, all_of) > epsilon
        wrong["independent"] += epsilon_of_models(right, all_of) > epsilon
        wrong["maximum"] += max(epsilon_one_run(v, guesses) for v in right) > epsilon
    assert wrong["one"] <= 50 and wrong["independent"] == 0
    assert wrong["maximum"] > 200


def test_models_that_are_guessed_by_each_others_truth_are_not_one_run() -> None:
    """Nothing leaks; each model is guessed to hold what the other holds."""
    generator = np.random.default_rng(2)
    pooled, median = 0, 0
    for _ in range(1000):
        coins = generator.random((2, 50)) < 0.5
        right = int((coins[0] == coins[1]).sum())  # of either model
        pooled += epsilon_one_run(2 * right, 100) > 0
        median += epsilon_of_models([right, right], [50, 50]) > 0
    assert pooled > 80  # would be wrong in more than 5% of runs
    assert median <= 50


def test_the_median_is_of_the_models_and_the_upper_one_of_an_even_number() -> None:
    each = [epsilon_one_run(right, 100, 0.975) for right in (60, 70, 80, 90)]
    assert epsilon_of_models([90, 60, 80, 70], [100] * 4) == each[2]
    assert epsilon_of_models([90, 60, 70], [100] * 3) == each[1]
    assert epsilon_of_models([80], [100]) == each[2]


@pytest.mark.parametrize(
    ("call", "arguments", "says"),
    [
        (epsilon_lower_bound, (11, 10, 0, 10), "11 of 10"),
        (epsilon_lower_bound, (1, 10, 0, 0), "0 of 0"),
        (epsilon_lower_bound, (1, 10, 0, 10, 1.0), "delta is 1.0"),
        (epsilon_lower_bound, (1, 10, 0, 10, 0.0, 1.0), "level is 1.0"),
        (epsilon_one_run, (3, 2), "correct is 3 but guesses is 2"),
        (epsilon_one_run, (-1, 2), "correct is -1"),
        (epsilon_one_run, (1, 2, 0.0), "level is 0.0"),
        (epsilon_of_models, ([], []), "correct has 0 entries"),
        (epsilon_of_models, ([1], [2, 3]), "correct has 1 entries and guesses has 2"),
    ],
)
def test_impossible_numbers_are_refused(
    call: Callable[..., float], arguments: tuple[Any, ...], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        call(*arguments)


JAX_PRIVACY = [
    # shift, thresholds, correct, guesses, Steinke's bound; correct, guesses, f-DP's bound
    (1, 386, (2807, 3376, 1.13346), (379, 406, 2.164749)),
    (2, 374, (4499, 4666, 2.311945), (934, 938, 4.7218075)),
    (4, 140, (8223, 8233, 4.395568), (5436, 5436, 9.133752)),
]
"""`test_epsilon_one_run_close` of jax_privacy (commit 8967688): 10,000 canaries in and 10,000 out
with normal scores, a shift apart; at 95% for all thresholds together and delta = 1e-6. Guesses are
those at the best of its thresholds."""


@pytest.mark.parametrize("case", JAX_PRIVACY)
def test_one_run_bounds_are_those_of_jax_privacy(case: tuple[Any, ...]) -> None:
    _, thresholds, steinke, gaussian = case
    level = 1 - 0.05 / thresholds
    for bound, (correct, guesses, expected) in (
        (epsilon_one_run, steinke),
        (epsilon_f_dp, gaussian),
    ):
        epsilon = bound(correct, guesses, level, delta=1e-6, records=20_000)
        assert epsilon == pytest.approx(expected, rel=1e-5)


def test_delta_costs_as_much_as_the_theorem_says() -> None:
    # The naive sum of the theorem, term by term.
    correct, guesses, records, delta = 90, 100, 1000, 1e-4
    epsilon = epsilon_one_run(correct, guesses, delta=delta, records=records)
    share = special.expit(epsilon)
    worst, total = 0.0, 0.0
    for i in range(1, correct + 1):
        total += stats.binom.pmf(correct - i, guesses, share)
        worst = max(worst, total / i)
    beyond = stats.binom.sf(correct - 1, guesses, share)
    assert beyond + 2 * delta * records * worst == pytest.approx(0.05, abs=1e-6)
    assert 0 < epsilon < epsilon_one_run(correct, guesses)
    assert epsilon_one_run(correct, guesses, delta=1e-2, records=10**6) == 0.0


def test_gaussian_curve_has_the_delta_of_its_epsilon() -> None:
    for mu in (0.1, 1.0, 5.0):
        epsilon = gaussian_epsilon(mu, 1e-6)
        first, second = -epsilon / mu + mu / 2, -epsilon / mu - mu / 2
        delta = stats.norm.cdf(first) - np.exp(epsilon) * stats.norm.cdf(second)
        assert delta == pytest.approx(1e-6, rel=1e-4)


def test_f_dp_bound_holds_for_a_gaussian_mechanism() -> None:
    # Each record's coin shifts its score by mu = 1: the mechanism is 1-Gaussian-DP.
    generator = np.random.default_rng(0)
    truth, above = gaussian_epsilon(1.0, 1e-5), 0
    for _ in range(60):
        coins = generator.random(400) < 0.5
        scores = generator.normal(coins * 1.0, 1.0)
        chosen = np.argsort(-scores)[:40]
        above += epsilon_f_dp(int(coins[chosen].sum()), 40, delta=1e-5, records=400) > truth
    assert above <= 6  # 3 expected at most; 7 or more have a chance of 3%


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"delta": 1.0}, "delta is 1.0"),
        ({"delta": 0.1, "records": 3}, "10 guesses about 3 records"),
    ],
)
def test_impossible_arguments_of_one_run_are_refused(keywords: Any, words: str) -> None:
    for bound in (epsilon_one_run, epsilon_f_dp):
        with pytest.raises(InputError, match=words):
            bound(5, 10, **keywords)
