"""HAMP's answers: the query's order, a random input's scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats

from dynanoise.core.errors import InputError, NotFittedError
from dynanoise.core.numerics import Float64
from dynanoise.defenses.hamp import HAMP
from dynanoise.evaluation.provenance import describe
from dynanoise.noise.fresh import Fresh
from tests.factories.keyed_noise import keyed
from tests.factories.outputs import logit_arrays, make_view

CLASSES = 4
RANDOM = np.random.default_rng(0).normal(0, 2, (25, CLASSES))
FITTED = HAMP().fit(replace(make_view(classes=CLASSES), random=RANDOM))

TIED = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.just(CLASSES)), elements=st.integers(-2, 2)
)
"""Rows full of ties."""


class Given:
    """A noise source whose normals are given, one for each row; records what it was asked."""

    repeatable = True

    def __init__(self, normals: Float64, cell: float = 0.0) -> None:
        self.normals, self.cell = normals, cell
        self.asked: list[tuple[int, str]] = []

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        self.asked.append((draws, purpose))
        base = np.round(logits / self.cell) * self.cell if self.cell else logits
        normals = np.full((draws, *logits.shape), 99.0)
        normals[0, ..., 0] = self.normals
        return base, normals


def reference(row: Float64, random_row: Float64) -> Float64:
    """The r-th ranked class gets the r-th largest score, with Python's stable sort."""
    scores = sorted(special.softmax(random_row), reverse=True)
    answer = np.zeros(len(row))
    for score, label in zip(scores, sorted(range(len(row)), key=lambda j: -row[j]), strict=True):
        answer[label] = score
    return answer


def test_every_class_gets_the_score_of_its_rank() -> None:
    rows = np.random.default_rng(1).normal(0, 2, (25, CLASSES))
    middles = stats.norm.ppf((np.arange(25) + 0.5) / 25)  # one normal for each random input
    noise = Given(middles)
    expected = [reference(row, random) for row, random in zip(rows, RANDOM, strict=True)]
    np.testing.assert_allclose(FITTED(rows, noise), expected, rtol=1e-12)
    FITTED(rows, noise)
    HAMP(np.full((3, CLASSES), 1 / CLASSES))(rows, noise)
    (first, same, other) = noise.asked
    assert first == same != other and first[0] == 1 and '"hamp"' in first[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(rows=TIED)
def test_the_order_is_kept_and_ties_go_by_the_class_index(dtype: Any, rows: Float64) -> None:
    answer = FITTED(rows.astype(dtype), Fresh(0))
    for row, given_row in zip(rows, answer, strict=True):
        ranked = sorted(range(CLASSES), key=lambda j: (-row[j], j))
        assert (np.diff(given_row[ranked]) <= 0).all()
        assert given_row.argmax() == ranked[0] == row.argmax()


@pytest.mark.behaviour
@given(rows=logit_arrays(classes=CLASSES), other=TIED, dtype=st.sampled_from(["f4", "f8"]))
def test_the_numbers_do_not_depend_on_the_query(rows: Float64, other: Float64, dtype: str) -> None:
    """Bit for bit, even for a model whose random scores all tie."""
    count = min(len(rows), len(other))
    for defense in (FITTED, HAMP(np.full((3, CLASSES), 1 / CLASSES))):
        answers = [defense(x[:count].astype(dtype), Fresh(3)) for x in (rows, other)]
        np.testing.assert_array_equal(np.sort(answers[0]), np.sort(answers[1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_label_is_kept_where_the_random_scores_tie(dtype: Any) -> None:
    """Including scores that tie in float32 only."""
    close = np.array([0.25 + 1e-12, 0.25, 0.25, 0.25 - 1e-12])
    tied = HAMP(np.stack([np.full(CLASSES, 0.25), close, [0.5, 0.5, 0.0, 0.0]]))
    rows = np.eye(CLASSES, dtype=dtype)[np.arange(400) % CLASSES]
    answer = tied(rows, Fresh(0))
    np.testing.assert_array_equal(answer.argmax(axis=-1), np.arange(400) % CLASSES)
    np.testing.assert_allclose(answer.sum(axis=-1), 1, rtol=1e-6 if dtype == np.float32 else 1e-12)


def test_random_inputs_are_used_equally_often_and_independently() -> None:
    """The index recovered from each answer, by a chi-squared test."""
    count = 50_000
    answers = FITTED(np.zeros((count, CLASSES)), Fresh(4))
    tops = np.sort(special.softmax(RANDOM, axis=-1))[:, -1]
    index = np.abs(answers[:, :1] - tops).argmin(axis=-1)
    assert stats.chisquare(np.bincount(index, minlength=25)).pvalue > 0.001
    assert abs(np.corrcoef(index[:-1], index[1:])[0, 1]) < 4 / np.sqrt(count)


def test_the_most_extreme_normals_have_a_random_input() -> None:
    answer = FITTED(np.zeros((4, CLASSES)), Given(np.array([-np.inf, -40.0, 40.0, np.inf])))
    scores = np.sort(special.softmax(RANDOM, axis=-1))[:, ::-1]
    np.testing.assert_allclose(answer, scores[[0, 0, -1, -1]], rtol=1e-12)


def test_everything_after_the_draw_is_computed_from_its_base() -> None:
    rows = np.array([[0.1, 0.4, 3.0, 2.0], [0.4, 0.1, 2.8, 2.1]])  # one cell
    first, second = FITTED(rows, Given(np.zeros(2), cell=1.0))
    np.testing.assert_array_equal(first, second)


def test_the_label_is_kept_where_a_cell_ranks_another_class_first() -> None:
    rows = np.random.default_rng(5).normal(0, 1, (200, CLASSES))
    answer = FITTED(rows, keyed(3.0))
    assert (keyed(3.0).draw(rows, 0, "")[0].argmax(axis=-1) != rows.argmax(axis=-1)).any()
    np.testing.assert_array_equal(answer.argmax(axis=-1), rows.argmax(axis=-1))


@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 4), (0, 4), (2, 0, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_leading_shape(shape: tuple[int, ...], dtype: Any) -> None:
    answer = FITTED(np.ones(shape, dtype), Fresh(0))
    assert answer.shape == shape and answer.dtype == dtype


def test_fitting_and_answering_leave_the_arrays_alone() -> None:
    assert FITTED.scores is not None
    before = FITTED.scores.copy()
    tied = HAMP(np.full((1, CLASSES), 0.25))
    tied(np.ones((1, CLASSES)), Fresh(0))
    FITTED(np.ones((1, CLASSES), np.float32), Fresh(0))
    np.testing.assert_array_equal(FITTED.scores, before)
    assert tied.scores is not None and (tied.scores == 0.25).all()
    assert not FITTED.scores.flags.writeable
    assert FITTED == HAMP(before) != tied and hash(FITTED) == hash(HAMP(before))
    assert describe(FITTED)["scores"]["shape"] == [25, CLASSES]


# --- states and parameters -----------------------------------------------------------------------


def test_before_fitting_it_says_what_to_do() -> None:
    with pytest.raises(NotFittedError, match=r"Call fit\(view\) with random logits"):
        HAMP()(np.zeros((1, 2)), Fresh(0))
    with pytest.raises(NotFittedError, match=r"Call fit\(view\) with random logits"):
        HAMP().undo(np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("random", "says"),
    [
        (None, "outputs on random inputs, and there are none.*dynanoise bench.*View"),
        (np.zeros((0, 3)), r"View\.random has shape \(0, 3\)"),
        (np.zeros(3), r"View\.random has shape \(3,\)"),
        (np.array([[0.0, np.nan, 1.0]]), r"View\.random\[0, 1\] is nan"),
    ],
)
def test_a_view_without_random_answers_is_refused(
    random: npt.NDArray[Any] | None, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        HAMP().fit(replace(make_view(), random=random))


@pytest.mark.parametrize(
    "scores",
    [
        np.zeros(3),
        np.zeros((0, 3)),
        np.ones((2, 1)),
        np.full((2, 3), 0.5),
        np.array([[0.2, 0.8]]),
        np.array([[1.5, -0.5]]),
        np.array([[np.nan, np.nan]]),
    ],
)
def test_scores_that_are_no_sorted_probabilities_are_refused(scores: Float64) -> None:
    with pytest.raises(InputError, match="are not rows of probabilities, largest first"):
        HAMP(scores)


def test_a_model_of_other_classes_is_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 3\); HAMP was fitted to 4 classes"):
        FITTED(np.zeros((2, 3)), Fresh(0))


def test_what_is_no_noise_source_is_named() -> None:
    with pytest.raises(InputError, match="noise is 0"):
        FITTED(np.zeros((2, CLASSES)), 0)  # type: ignore[arg-type]


def test_undoing_gives_the_answer_not_the_logits() -> None:
    answers = np.log(FITTED(RANDOM, Fresh(0)))
    expected = answers - answers.mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(FITTED.undo(answers), expected, atol=1e-12)
