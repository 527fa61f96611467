"""Intervals against scipy, and their coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dynanoise.core.errors import InputError
from dynanoise.core.result import Metric
from dynanoise.metrics import intervals


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_proportion_equals_scipys_exact_interval(case: tuple[int, int]) -> None:
    hits, trials = case
    metric = intervals.proportion(hits, trials)
    exact = stats.binomtest(hits, trials).proportion_ci(0.95, method="exact")
    assert metric.value == hits / trials
    assert [metric.low, metric.high] == pytest.approx([exact.low, exact.high])


@pytest.mark.parametrize(("hits", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_proportions_are_named(hits: int, trials: int) -> None:
    with pytest.raises(InputError, match=f"{hits} of {trials}"):
        intervals.proportion(hits, trials)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30).filter(lambda x: np.std(x) > 1e-6))
def test_mean_equals_scipys_t_interval(values: list[float]) -> None:
    metric = intervals.mean(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert [metric.low, metric.high] == pytest.approx([low, high])


def test_one_value_has_no_interval_and_none_is_refused() -> None:
    assert intervals.mean([0.5]) == Metric(0.5)
    with pytest.raises(InputError, match="no values"):
        intervals.mean([])


@pytest.mark.parametrize(("tpr", "tnr"), [(0.6, 0.5), (0.9, 0.2), (0.99, 0.05)])
def test_balanced_accuracy_covers_the_truth(tpr: float, tnr: float) -> None:
    """At least 95% of 2,000 simulated attacks on 84 + 84 records, less what chance allows."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        hits, rejections = generator.binomial(84, [tpr, tnr])
        metric = intervals.balanced_accuracy(
            intervals.proportion(int(hits), 84), intervals.proportion(int(rejections), 84)
        )
        assert metric.low is not None and metric.high is not None
        covered += metric.low <= (tpr + tnr) / 2 <= metric.high
    assert covered >= 0.95 * 2000 - 3 * np.sqrt(2000 * 0.95 * 0.05)


def test_balanced_accuracy_without_intervals_has_none() -> None:
    assert intervals.balanced_accuracy(Metric(0.8), Metric(0.6, 0.5, 0.7)) == Metric(0.7)


@pytest.mark.parametrize("count", [6, 7, 20, 25, 100])
def test_the_medians_interval_covers_95_percent_and_no_narrower_one_does(count: int) -> None:
    """By definition: the median lies between two ordered values unless too many are on one side."""

    def coverage(inner: int) -> float:
        inside = range(inner, count - inner + 1)
        return float(sum(math.comb(count, below) for below in inside) / 2**count)

    metric = intervals.median(list(map(float, np.random.default_rng(0).permutation(count))))
    assert metric.low is not None and metric.high is not None
    inner = int(metric.low) + 1  # the values are their own ranks, from 0
    assert metric.high == count - inner
    assert coverage(inner) >= 0.95 > coverage(inner + 1)
    assert metric.value == (count - 1) / 2


def test_a_disturbed_repetition_hardly_moves_the_median() -> None:
    quiet = [1.0 + 0.001 * index for index in range(20)]
    assert intervals.median([*quiet, 1000.0]).high == pytest.approx(1.015, abs=1e-9)


def test_too_few_values_have_no_interval_and_none_no_median() -> None:
    assert intervals.median([3.0, 1.0, 2.0, 5.0, 4.0]) == Metric(3.0)
    with pytest.raises(InputError, match="no values"):
        intervals.median([])
