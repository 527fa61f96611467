"""Requirements on every registered defense."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings

from dynanoise.core import numerics
from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.core.registry import DEFENSES
from dynanoise.noise.fresh import Fresh
from tests.factories.outputs import logit_arrays, make_view, read_only_copy

SEARCHES = {"memguard": {"epochs": 20}}
"""Defenses whose training and search take seconds, with parameters that shorten the training."""


@cache
def fitted(name: str, classes: int = 3) -> Defense:
    """A registered defense with its defaults, fitted to a model of so many classes."""
    component: Defense = DEFENSES.get(name)(**SEARCHES.get(name, {}))
    return component.fit(make_view(classes=classes))


NAMES = [
    pytest.param(name, marks=pytest.mark.behaviour if name in SEARCHES else ())
    for name in DEFENSES.names()
]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each registered defense."""
    return str(request.param)


@pytest.fixture
def defense(name: str) -> Defense:
    """Each registered defense, fitted to three classes."""
    return fitted(name)


def check_answer(name: str, rows: Float64) -> None:
    defense = fitted(name, rows.shape[-1])
    answer = defense(read_only_copy(rows), Fresh(0))
    assert answer.shape == rows.shape and answer.dtype == rows.dtype
    assert (answer >= 0).all()
    tolerance = 1e-9 if rows.dtype == np.float64 else 1e-6
    np.testing.assert_allclose(answer.sum(axis=-1), 1, rtol=tolerance)
    if defense.keeps_labels:
        np.testing.assert_array_equal(answer.argmax(axis=-1), rows.argmax(axis=-1))


EXAMPLES = logit_arrays() | logit_arrays(largest=3, dtype=np.float32)


@pytest.mark.parametrize("name", [name for name in DEFENSES.names() if name not in SEARCHES])
@given(rows=EXAMPLES)
def test_answers_are_probabilities_and_declared_label_keeping_is_true(
    name: str, rows: Float64
) -> None:
    check_answer(name, rows)


@pytest.mark.behaviour
@pytest.mark.parametrize("name", SEARCHES)
@settings(max_examples=20)
@given(rows=EXAMPLES)
def test_so_are_those_of_a_search(name: str, rows: Float64) -> None:
    check_answer(name, rows)


def test_a_defense_that_does_not_declare_it_flips_labels(defense: Defense) -> None:
    """Otherwise it should declare it."""
    rows = np.random.default_rng(0).normal(0, 0.1, (100, 3))
    flips = (defense(rows, Fresh(0)).argmax(axis=-1) != rows.argmax(axis=-1)).any()
    assert flips == (not defense.keeps_labels)


def test_the_same_noise_gives_the_same_answer(name: str) -> None:
    defense = fitted(name, 4)
    rows = np.random.default_rng(0).normal(size=(50, 4))
    np.testing.assert_array_equal(defense(rows, Fresh(1)), defense(rows, Fresh(1)))


@pytest.mark.parametrize(
    "name", [name for name in DEFENSES.names() if DEFENSES.get(name)().invertible]
)
def test_undone_answers_estimate_the_centred_logits(name: str) -> None:
    """On average over many draws, an informed attacker gets the logits back."""
    defense = fitted(name)
    row = np.array([2.0, 0.5, -1.0])
    answers = defense(np.tile(row, (20_000, 1)), Fresh(0))
    undone = defense.undo(np.log(answers)).mean(axis=0)
    np.testing.assert_allclose(undone, row - row.mean(), atol=0.05)


def test_what_is_not_declared_invertible_does_not_give_the_logits_back(defense: Defense) -> None:
    """Otherwise it should declare it; the noise of 100 draws alone would not miss by 0.5."""
    rows = np.random.default_rng(0).normal(0, 4, (10, 3))
    draws = 1 if defense.repeatable else 100
    answers = defense(rows[:, None].repeat(draws, axis=1), Fresh(0))
    undone = defense.undo(numerics.log_probabilities(answers)).mean(axis=1)
    assert (np.abs(undone - numerics.centred(rows)).max() > 0.5) == (not defense.invertible)


def test_a_thousand_classes_and_extreme_rows_are_probabilities(name: str) -> None:
    defense = fitted(name, 1000)
    rows = np.zeros((3, 1000))
    rows[1, 5], rows[2] = 1e4, -1e300
    answer = defense(rows, Fresh(0))
    np.testing.assert_allclose(answer.sum(axis=-1), 1, rtol=1e-9)
    assert (answer >= 0).all()


def test_underflow_is_expected_even_where_it_raises(defense: Defense) -> None:
    with np.errstate(all="raise"):
        for dtype in (np.float32, np.float64):
            defense(np.array([[0.0, -100.0, -1000.0], [0.0, -1e30, 1e30]], dtype), Fresh(0))


def test_defenses_are_values(defense: Defense) -> None:
    assert defense == defense and hash(defense) == hash(defense)
    with pytest.raises(AttributeError):
        defense.temperature = 1.0  # type: ignore[attr-defined]


def test_bad_logits_are_refused(defense: Defense) -> None:
    with pytest.raises(InputError, match="nan"):
        defense(np.array([[np.nan, 0.0]]), Fresh(0))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_declared_repeatable_does_not_look_at_the_noise(name: str) -> None:
    """And what is not gives another answer when it is asked again."""
    defense = fitted(name)
    rows = np.random.default_rng(0).normal(0, 2, (20, 3))
    first, again = (defense(rows, Fresh(seed)) for seed in (1, 2))
    assert np.array_equal(first, again) == defense.repeatable
