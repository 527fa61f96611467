"""Fresh noise is standard normal, independent, reproducible, and never seeded in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from dynanoise.core.errors import InputError
from dynanoise.noise.fresh import Fresh


def test_draws_pass_a_kolmogorov_smirnov_test() -> None:
    normals = Fresh(1).draw(np.zeros((500, 10)), draws=20, purpose="test")[1]
    assert normals.shape == (20, 500, 10)
    assert stats.kstest(normals.ravel(), "norm").pvalue > 0.001


def test_rows_classes_and_draws_are_independent() -> None:
    """All pairwise correlations of 4,000 repetitions stay within what chance allows."""
    generator = Fresh(2)
    rows = np.stack([generator.draw(np.zeros((2, 3)), 2, "test")[1].ravel() for _ in range(4000)])
    correlations = np.asarray(np.corrcoef(rows.T))[np.triu_indices(12, 1)]
    # The largest of 66 correlations of sd 1/sqrt(4000) exceeds 5 sd once in 26,000 times.
    assert np.abs(correlations).max() < 5 / np.sqrt(4000)


def test_the_same_seed_gives_the_same_noise_and_logits_pass_through() -> None:
    logits = np.ones((4, 3))
    base, first = Fresh(3).draw(logits, 2, "test")
    np.testing.assert_array_equal(base, logits)
    np.testing.assert_array_equal(first, Fresh(3).draw(logits, 2, "test")[1])
    assert not np.array_equal(first, Fresh(4).draw(logits, 2, "test")[1])


def test_every_answer_has_new_noise() -> None:
    noise = Fresh(5)
    first, second = (noise.draw(np.zeros((4, 3)), 1, "test")[1] for _ in range(2))
    assert not np.array_equal(first, second)


def test_a_generator_is_shared_not_copied() -> None:
    generator = np.random.default_rng(6)
    Fresh(generator).draw(np.zeros((2, 2)), 1, "test")
    assert generator.standard_normal() != np.random.default_rng(6).standard_normal()


@pytest.mark.parametrize("bad", [None, "0", 1.5, True, -1, np.random])
def test_there_is_no_silent_seed(bad: Any) -> None:
    with pytest.raises(InputError, match="Fresh noise got"):
        Fresh(bad)
    with pytest.raises(TypeError):
        Fresh()  # type: ignore[call-arg]


def test_the_seed_is_not_shown() -> None:
    assert "31415926" not in repr(Fresh(31415926)) + str(Fresh(31415926))


def test_data_drawn_with_the_same_number_are_independent_of_the_noise() -> None:
    data = np.random.default_rng(0).standard_normal((1, 1000, 3))
    normals = Fresh(0).draw(np.zeros((1000, 3)), 1, "test")[1]
    assert abs(np.asarray(np.corrcoef(data.ravel(), normals.ravel()))[0, 1]) < 0.1
