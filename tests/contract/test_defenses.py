"""What every registered defense must do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from dynanoise.errors import InputError
from dynanoise.noise.fresh import Fresh
from dynanoise.numerics import Float64
from dynanoise.registry import DEFENSES
from dynanoise.types import Defense
from tests import build


@pytest.fixture(params=DEFENSES.names())
def defense(request: pytest.FixtureRequest) -> Defense:
    """Each registered defense with its defaults, fitted."""
    component: Defense = DEFENSES.get(request.param)()
    return component.fit(build.view())


def names_and_fitted() -> list[Defense]:
    return [DEFENSES.get(name)().fit(build.view()) for name in DEFENSES.names()]


FITTED = names_and_fitted()


@pytest.mark.parametrize("defense", FITTED, ids=DEFENSES.names())
@given(rows=build.logits())
def test_answers_are_probabilities(defense: Defense, rows: Float64) -> None:
    answer = defense(build.read_only(rows), Fresh(0))
    assert answer.shape == rows.shape and answer.dtype == rows.dtype
    assert (answer >= 0).all()
    np.testing.assert_allclose(answer.sum(axis=-1), 1, rtol=1e-9)


@pytest.mark.parametrize("defense", FITTED, ids=DEFENSES.names())
@given(rows=build.logits(largest=3, dtype=np.float32))
def test_declared_label_keeping_is_true(defense: Defense, rows: Float64) -> None:
    if defense.keeps_labels:
        answer = defense(rows, Fresh(0))
        np.testing.assert_array_equal(answer.argmax(axis=-1), rows.argmax(axis=-1))


def test_a_defense_that_does_not_declare_it_flips_labels(defense: Defense) -> None:
    """Otherwise it should declare it."""
    rows = np.random.default_rng(0).normal(0, 0.1, (2000, 3))
    flips = (defense(rows, Fresh(0)).argmax(axis=-1) != rows.argmax(axis=-1)).any()
    assert flips == (not defense.keeps_labels)


def test_the_same_noise_gives_the_same_answer(defense: Defense) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4))
    np.testing.assert_array_equal(defense(rows, Fresh(1)), defense(rows, Fresh(1)))


def test_undone_answers_estimate_the_centred_logits(defense: Defense) -> None:
    """On average over many draws, an informed attacker gets the logits back."""
    row = np.array([2.0, 0.5, -1.0])
    answers = defense(np.tile(row, (20_000, 1)), Fresh(0))
    undone = defense.undo(np.log(answers)).mean(axis=0)
    np.testing.assert_allclose(undone, row - row.mean(), atol=0.05)


def test_a_thousand_classes_and_extreme_rows_are_probabilities(defense: Defense) -> None:
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
