"""Attack-P: ranks among known non-members, its false positive rate, and classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynanoise.attacks.population import Population, ranks
from dynanoise.core.errors import InputError, UnknownNameError
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation
from dynanoise.core.registry import ATTACKS
from dynanoise.evaluation.responses import observe_logits


def sure(p: Float64 | list[float], labels: list[int] | None = None) -> Observation:
    """Answers with probability p of class 0, of two."""
    values = np.asarray(p)
    rows = np.log(np.stack([values, 1 - values], axis=-1))
    return observe_logits(rows, np.zeros(len(values), int) if labels is None else labels)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=20),
    st.lists(st.integers(0, 6), min_size=1, max_size=20),
)
def test_ranks_equal_counting(signal: list[int], known: list[int]) -> None:
    shares = ranks(np.array(signal, float), np.array(known, float))
    expected = [np.mean([(z < x) + 0.5 * (z == x) for z in known]) for x in signal]
    np.testing.assert_allclose(shares, expected, atol=1e-12)


def test_the_score_is_the_share_of_known_non_members_that_fit_worse() -> None:
    target = replace(sure([0.05, 0.45, 0.6, 0.99]), population=sure([0.2, 0.4, 0.6, 0.9]))
    assert Population().fit().score(target).tolist() == [0.0, 0.5, 0.625, 1.0]


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
def test_non_members_are_called_members_at_the_rate_alpha(alpha: float) -> None:
    generator = np.random.default_rng(0)
    target = replace(sure(generator.random(20_000)), population=sure(generator.random(1999)))
    fitted = Population(alpha=alpha).fit()
    rate = fitted.decide(fitted.score(target)).mean()
    # Five sd of the quantile of 1,999 records and of a share of 20,000.
    assert abs(rate - alpha) < 5 * np.sqrt(alpha * (1 - alpha) * (1 / 1999 + 1 / 20_000))


def test_exactly_at_the_quantile_is_no_member() -> None:
    fitted = Population(alpha=0.25).fit()
    assert fitted.decide(np.array([0.75, 0.7500001])).tolist() == [False, True]


def test_classes_with_enough_known_non_members_have_their_own_quantiles() -> None:
    """alpha = 0.5 is resolved by two: class 0 has two of them, class 1 only one."""
    population = sure([0.8, 0.9, 0.3], labels=[0, 0, 1])  # p_y = 0.8, 0.9 and 0.7
    target = replace(sure([0.85, 0.15], labels=[0, 1]), population=population)  # p_y = 0.85 twice
    overall = Population(alpha=0.5).fit().score(target)
    by_class = Population(alpha=0.5, by_class=True).fit().score(target)
    np.testing.assert_allclose(overall, [2 / 3, 2 / 3])
    np.testing.assert_allclose(by_class, [1 / 2, 2 / 3])


def test_classes_without_known_non_members_use_all() -> None:
    population = sure([0.8, 0.9], labels=[0, 0])
    target = replace(sure([0.15], labels=[1]), population=population)
    assert Population(by_class=True).fit().score(target).tolist() == [0.5]


def test_another_statistic() -> None:
    """A wrong answer, surer than any known: confidence says member, loss does not."""
    target = replace(sure([0.01]), population=sure([0.2, 0.8]))
    assert Population(statistic="confidence").fit().score(target).tolist() == [1.0]
    assert Population().fit().score(target).tolist() == [0.0]


def test_known_non_members_are_needed() -> None:
    for population in (None, sure([])):
        with pytest.raises(InputError, match=r"none were passed\. Give `Observation\.population`"):
            Population().fit().score(replace(sure([0.5]), population=population))


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, float("nan")])
def test_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        Population(alpha=alpha)


def test_names() -> None:
    assert ATTACKS.build("population(alpha=0.1)") == Population(alpha=0.1)
    with pytest.raises(UnknownNameError, match="no statistic 'losses'"):
        ATTACKS.build("population(statistic=losses)")
