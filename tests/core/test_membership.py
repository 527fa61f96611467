"""Equal numbers of in- and out-models, and what they hide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dynanoise.core import membership
from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.numerics import Float64, Int8
from dynanoise.metrics.roc import roc

USES = hnp.arrays(
    np.int8,
    st.tuples(st.integers(1, 9), st.integers(1, 12)),
    elements=st.integers(-1, 1),
)


def coins(seed: int, models: int, count: int) -> Int8:
    return (np.random.default_rng(seed).random((models, count)) < 0.5).astype(np.int8)


@given(USES, st.integers(1, 4), st.integers(0, 5))
def test_exactly_k_of_each_or_none(use: Int8, k: int, seed: int) -> None:
    kept = membership.balance_shadows(use, k, seed)
    for before, after in zip(use.T, kept.T, strict=True):
        enough = (before == 1).sum() >= k and (before == 0).sum() >= k
        assert (after == 1).sum() == (after == 0).sum() == (k if enough else 0)
        visible = after >= 0
        np.testing.assert_array_equal(after[visible], before[visible])
    np.testing.assert_array_equal(membership.has_shadows(kept), (kept == 1).sum(axis=0) == k)


def test_the_same_seed_keeps_the_same_and_another_does_not() -> None:
    use = coins(0, 9, 200)
    first, again, other = (membership.balance_shadows(use, 2, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_every_model_is_as_likely_to_be_kept() -> None:
    """5 in-models and 3 out-models, 2 of each kept: shares 2/5 and 2/3, independent of place."""
    use = np.repeat(np.array([[1], [1], [0], [1], [0], [1], [0], [1]], dtype=np.int8), 20_000, 1)
    shares = (membership.balance_shadows(use, 2, seed=3) >= 0).mean(axis=1)
    expected = np.where(use[:, 0] == 1, 2 / 5, 2 / 3)
    # Four standard deviations of a share of 20,000.
    np.testing.assert_allclose(shares, expected, atol=4 * np.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("models", [15, 16])
def test_exact_halves_give_the_target_away_and_balanced_shadows_do_not(models: int) -> None:
    """If each record is in half of the models, the others' count is half minus the target's."""
    generator = np.random.default_rng(0)
    count = 4000
    halves = models // 2 + (generator.random(count) < 0.5) * (models % 2)
    ranks = np.argsort(np.argsort(generator.random((models, count)), axis=0), axis=0)
    use = (ranks < halves).astype(np.int8)
    target, others = use[0] == 1, use[1:]
    inside = (others == 1).sum(axis=0)
    # Fewer of the others hold what the target holds. Of 16 models 7 or 8 do: told apart without
    # fail. Of 15, where a half is 7 or 8, members leave 6 (7/15) or 7 (8/15) and non-members 7
    # (8/15) or 8 (7/15): only 7 and 7 are a tie.
    expected = 1.0 if models == 16 else 1 - (8 / 15) ** 2 / 2
    assert roc(-inside, target).auc == pytest.approx(expected, abs=0.015)
    kept = membership.balance_shadows(others, models // 2 - 1, seed=0)
    assert membership.has_shadows(kept).all()
    assert roc(-(kept == 1).sum(axis=0), target).auc == 0.5
    assert roc(-(kept == 0).sum(axis=0), target).auc == 0.5


def test_fair_coins_give_nothing_away() -> None:
    """Neither the count of the others nor the choice of kept records reveals membership."""
    use = coins(1, 16, 20_000)
    target, others = use[0] == 1, use[1:]
    eligible = membership.has_shadows(
        membership.balance_shadows(others, membership.shadows_per_record(others), seed=0)
    )
    sd = np.sqrt(1 / (12 * 5000))
    for scores in ((others == 1).sum(axis=0), eligible):
        assert abs(roc(scores, target).auc - 0.5) < 4 * sd


def test_k_below_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"k is 0\. Keep at least one"):
        membership.balance_shadows(coins(0, 4, 5), 0, seed=0)


@pytest.mark.parametrize("enough", [0.5, 2 / 3, 1.0])
def test_shadows_per_record_is_the_largest_k_that_enough_have(enough: float) -> None:
    use = coins(2, 12, 300)
    least = np.minimum((use == 1).sum(axis=0), (use == 0).sum(axis=0))
    # Never 0 for the 300 records of this seed.
    expected = max(k for k in range(13) if np.mean(least >= k) >= enough)
    assert membership.shadows_per_record(use, enough) == expected


@pytest.mark.parametrize("use", [np.ones((3, 4)), np.zeros((3, 4)), np.zeros((3, 0))])
def test_pools_without_both_kinds_are_refused(use: Int8) -> None:
    with pytest.raises(TooFewRecordsError, match="Use more models"):
        membership.shadows_per_record(use.astype(np.int8))


def test_slots_take_what_the_models_have_and_spread_puts_it_back() -> None:
    use = np.array([[1, -1, 0, 1], [0, -1, 1, -1], [-1, -1, 1, 0], [0, 0, 0, -1], [1, 0, -1, 0]])
    use = np.where(np.array([True, False, True, False]), use, -1).astype(np.int8)
    use[:, 3] = [1, 1, 0, 0, -1]
    slots = membership.find_slots(use)
    values: Float64 = np.arange(50.0).reshape(5, 10)[:, :4]
    inside, outside = slots.take(values)
    assert slots.k == 2
    for column, row in enumerate(slots.rows):
        assert sorted(inside[:, column]) == sorted(values[use[:, row] == 1, row])
        assert sorted(outside[:, column]) == sorted(values[use[:, row] == 0, row])
    everywhere: Float64 = np.asarray(slots.rows + 1, dtype=np.float64)
    assert slots.spread(everywhere, 4).tolist() == [1.0, 0.0, 3.0, 4.0]


@pytest.mark.parametrize("use", [[[1, 1], [0, 0], [0, -1]], [[1, 1], [0, 1]], [[-1, -1], [-1, -1]]])
def test_slots_refuse_unequal_numbers(use: list[list[int]]) -> None:
    with pytest.raises(InputError, match="same number of both for every record"):
        membership.find_slots(np.array(use, dtype=np.int8))
