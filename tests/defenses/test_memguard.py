"""MemGuard against a row-by-row reference, finite differences, scikit-learn and its invariants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from dynanoise.core.errors import InputError, NotFittedError
from dynanoise.core.numerics import Float64
from dynanoise.defenses import memguard
from dynanoise.defenses.memguard import MemGuard
from dynanoise.defenses.memguard_classifier import Classifier
from dynanoise.evaluation.provenance import describe
from dynanoise.noise.fresh import Fresh
from tests.defenses.memguard_reference import (
    CLASSES,
    FITTED,
    ROWS,
    fit,
    layers,
    logits,
    loss_of,
    reference_proposal,
    wild,
)
from tests.factories.outputs import logit_arrays

# --- the classifier ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_g_is_the_network_that_scikit_learn_fitted() -> None:
    rows = special.softmax(logits(3, 80, 5), axis=-1)
    network = MLPClassifier((256, 128, 64), max_iter=20, random_state=3)
    with threadpool_limits(1):
        network.fit(np.sort(rows)[:, ::-1], np.arange(80) % 2)
    pairs = zip(network.coefs_, network.intercepts_, strict=True)
    flat = np.concatenate([part.ravel() for pair in pairs for part in pair])
    expected = network.predict_proba(np.sort(special.softmax(ROWS, axis=-1))[:, ::-1])[:, 1]
    np.testing.assert_allclose(MemGuard(weights=flat).membership(ROWS), expected, atol=1e-12)


def test_g_tells_members_by_their_sorted_answers() -> None:
    members, others = logits(7, 200, 6), logits(3, 200, 7)
    assert (FITTED.membership(members) > 0.5).mean() > 0.8
    assert (FITTED.membership(others) < 0.5).mean() > 0.8
    shuffled = np.random.default_rng(0).permuted(members, axis=-1)
    np.testing.assert_allclose(FITTED.membership(shuffled), FITTED.membership(members), rtol=1e-9)


def test_sides_of_different_size_weigh_the_same() -> None:
    """Five times as many members of one distribution: g must not call every record a member."""
    result = fit(logits(3, 500, 8), logits(3, 100, 9), epochs=5).membership(logits(3, 500, 10))
    assert 0.4 < result.mean() < 0.6


def test_training_repeats_for_a_seed_and_differs_for_another() -> None:
    members, others = logits(7, 40, 0), logits(3, 30, 1)
    first, second = (fit(members, others, epochs=2, seed=seed) for seed in (4, 5))
    assert first == fit(members, others, epochs=2, seed=4) != second
    assert hash(first) == hash(fit(members, others, epochs=2, seed=4))
    assert not np.array_equal(np.asarray(first.weights), np.asarray(second.weights))


@pytest.mark.parametrize("sides", [(0, 10), (10, 0)])
def test_an_empty_side_is_refused(sides: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"{sides[0]} members and {sides[1]} reference records"):
        fit(logits(7, sides[0], 0), logits(3, sides[1], 0))


# --- the search ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.1, 10.0, 1e4])
def test_the_gradient_equals_finite_differences(strength: float) -> None:
    """Away from where it began, with rows that have lost their label among them."""
    generator = np.random.default_rng(11)
    start = ROWS[::2]
    labels, clean = start.argmax(axis=-1), special.softmax(start, axis=-1)
    moved = start + generator.normal(0, 1.5, start.shape)
    assert (moved.argmax(axis=-1) != labels).sum() > 3
    assert FITTED.weights is not None
    net, network = Classifier(FITTED.weights), layers(FITTED)
    result = memguard._gradient(net, memguard._evaluate(net, moved), clean, labels, strength)
    size = 1e-6
    for row, probs, label, gradient in zip(moved, clean, labels, result, strict=True):
        expected = [
            (
                loss_of(row + size * unit, probs, label, strength, network)
                - loss_of(row - size * unit, probs, label, strength, network)
            )
            / (2 * size)
            for unit in np.eye(CLASSES)
        ]
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * max(1, strength))


@pytest.mark.behaviour
@pytest.mark.parametrize(("defense", "rows"), [(FITTED, ROWS[::2]), wild()], ids=["fitted", "wild"])
def test_the_proposals_equal_a_row_by_row_reference(defense: MemGuard, rows: Float64) -> None:
    proposed, _ = defense.propose(rows)
    network = layers(defense)
    with threadpool_limits(1):  # such small products are many times slower in threads
        expected = np.array([reference_proposal(row, network) for row in rows])
    moved = np.abs(expected - special.softmax(rows, axis=-1)).sum(axis=-1) > 1e-6
    assert moved.mean() > 0.5
    np.testing.assert_allclose(proposed, expected, atol=1e-7)


@pytest.mark.behaviour
def test_proposals_are_on_the_other_side_of_one_half_and_close_to_it() -> None:
    """At least nine in ten of the rows; who cannot cross within 300 steps keeps its answer."""
    proposed, chances = FITTED.propose(ROWS)
    before, after = FITTED.membership(ROWS) - 0.5, FITTED.membership(np.log(proposed)) - 0.5
    moved = (proposed != special.softmax(ROWS, axis=-1)).any(axis=-1) & (chances > 0)
    assert moved.mean() > 0.9
    assert (before[moved] * after[moved] <= 0).all()
    assert (np.abs(after[moved]) < np.abs(before[moved])).all()
    assert np.abs(after[moved]).mean() < 0.2 * np.abs(before[moved]).mean()
    assert np.abs(FITTED.membership(np.log(FITTED(ROWS))) - 0.5).mean() < np.abs(before).mean()


def test_a_row_is_left_alone_where_g_is_undecided_or_has_no_slope() -> None:
    assert FITTED.weights is not None
    undecided = replace(FITTED, weights=np.zeros_like(FITTED.weights))
    np.testing.assert_allclose(undecided(ROWS), special.softmax(ROWS, axis=-1), rtol=1e-12)
    sure = np.array([[1e4, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1e300, 0.0, 1e300]])
    np.testing.assert_array_equal(FITTED(sure), special.softmax(sure, axis=-1))


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.behaviour
@settings(max_examples=8)
@given(logit_arrays(largest=20, classes=CLASSES, dtype=np.float32), st.floats(0, 3))
def test_labels_are_kept_and_rows_are_probabilities(
    rows: npt.NDArray[np.float32], epsilon: float
) -> None:
    for dtype, tolerance in ((np.float32, 1e-6), (np.float64, 1e-12)):
        queries = rows.astype(dtype)
        answer = replace(FITTED, epsilon=epsilon)(queries)
        assert answer.dtype == dtype and (answer >= 0).all()
        np.testing.assert_allclose(answer.sum(axis=-1), 1, rtol=tolerance)
        np.testing.assert_array_equal(answer.argmax(axis=-1), queries.argmax(axis=-1))


def test_no_budget_is_no_change() -> None:
    answer = replace(FITTED, epsilon=0.0)(ROWS)
    np.testing.assert_allclose(answer, special.softmax(ROWS, axis=-1), rtol=1e-12)
    assert replace(FITTED, epsilon=0).invertible and not FITTED.invertible


@pytest.mark.behaviour
@pytest.mark.parametrize("epsilon", [0.01, 0.5, 2.0])
def test_the_expected_distortion_of_every_row_is_within_the_budget(epsilon: float) -> None:
    defense = replace(FITTED, epsilon=epsilon)
    proposed, chances = defense.propose(ROWS)
    distortion = np.abs(proposed - special.softmax(ROWS, axis=-1)).sum(axis=-1)
    assert (chances * distortion <= epsilon * (1 + 1e-12)).all()
    before, after = (np.abs(FITTED.membership(rows) - 0.5) for rows in (ROWS, np.log(proposed)))
    expected = np.where(after < before, np.minimum(epsilon / np.maximum(distortion, 1e-300), 1), 0)
    np.testing.assert_allclose(chances, expected, atol=1e-9)


@pytest.mark.behaviour
@pytest.mark.parametrize("epsilon", [0.02, 0.2])
def test_the_mean_distortion_over_seeds_is_what_the_chances_say(epsilon: float) -> None:
    """The choices of 30 seeds: within 4 standard errors of the expectation, which is <= epsilon."""
    proposed, chances = replace(FITTED, epsilon=epsilon).propose(ROWS)
    clean = special.softmax(ROWS, axis=-1)
    distortion = np.abs(proposed - clean).sum(axis=-1)
    seeds = 30
    flat = (
        replace(FITTED, epsilon=epsilon, seed=seed)._chosen(ROWS - ROWS.max(-1, keepdims=True))
        for seed in range(seeds)
    )
    realised = [(distortion * (chosen < chances)).mean() for chosen in flat]
    expected = (chances * distortion).mean()
    error = np.sqrt((distortion**2 * chances * (1 - chances)).sum() / len(ROWS) ** 2 / seeds)
    assert expected <= epsilon
    assert abs(np.mean(realised) - expected) < 4 * error
    answered = np.abs(replace(FITTED, epsilon=epsilon, seed=0)(ROWS) - clean).sum(axis=-1)
    assert answered.mean() == pytest.approx(realised[0], rel=1e-9)


@pytest.mark.behaviour
def test_the_same_query_gets_the_same_answer_in_any_batch_and_under_any_noise() -> None:
    defense = replace(FITTED, epsilon=0.1)
    answers = defense(ROWS, Fresh(0))
    np.testing.assert_array_equal(defense(ROWS, Fresh(1)), answers)
    np.testing.assert_array_equal(defense(ROWS), answers)
    for i in range(0, len(ROWS), 15):
        np.testing.assert_array_equal(defense(ROWS[i]), answers[i])
    for size in (2, 7, 8, 9, 33, 59):
        some = np.random.default_rng(size).permutation(len(ROWS))[:size]
        np.testing.assert_array_equal(defense(ROWS[some]), answers[some])
    np.testing.assert_array_equal(
        defense(ROWS.reshape(2, 3, 10, CLASSES)), answers.reshape(2, 3, 10, -1)
    )
    np.testing.assert_array_equal(defense(np.asfortranarray(ROWS)), answers)
    assert defense(np.zeros((2, 0, CLASSES))).shape == (2, 0, CLASSES)


@pytest.mark.behaviour
def test_more_rows_than_are_searched_together(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ROWS[::2]
    whole = FITTED(rows)
    monkeypatch.setattr(memguard, "_ROWS", 11)
    np.testing.assert_array_equal(FITTED(rows), whole)


def test_the_choices_are_uniform_and_depend_on_seed_weights_and_query() -> None:
    rows = np.random.default_rng(12).normal(size=(5000, CLASSES))
    assert FITTED.weights is not None
    chosen = FITTED._chosen(rows)
    others = [
        replace(FITTED, seed=1)._chosen(rows),
        replace(FITTED, weights=FITTED.weights + 1e-9)._chosen(rows),
        FITTED._chosen(rows + 1e-15),
    ]
    for numbers in (chosen, *others):
        assert stats.kstest(numbers, "uniform").pvalue > 0.001
        assert numbers.min() >= 0 and numbers.max() < 1
    for numbers in others:
        assert abs(np.corrcoef(chosen, numbers)[0, 1]) < 4 / np.sqrt(len(rows))
    np.testing.assert_array_equal(
        FITTED._chosen(np.array([[0.0, -0.0, -1, -2, -3]])),
        FITTED._chosen(np.array([[-0.0, 0.0, -1, -2, -3]])),
    )


@pytest.mark.behaviour
def test_a_constant_on_a_row_changes_nothing() -> None:
    rows = np.round(ROWS * 16) / 16  # so that the sum is exact
    defense = replace(FITTED, epsilon=0.1)
    np.testing.assert_allclose(defense(rows + 32), defense(rows), rtol=1e-12)


# --- parameters and states -----------------------------------------------------------------------


def test_before_fitting_it_says_what_to_do() -> None:
    for ask in (MemGuard(), MemGuard().undo, MemGuard().membership, MemGuard().propose):
        with pytest.raises(NotFittedError, match=r"Call fit\(view\) with members"):
            ask(np.zeros((1, CLASSES)))


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"epsilon": np.inf}, "epsilon is inf"),
        ({"seed": -1}, "seed is -1. Use an integer of at least 0"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"epochs": 0}, "epochs is 0"),
        ({"weights": np.zeros(7)}, r"weights of shape \(7,\) are not"),
        ({"weights": np.zeros(41_729)}, "are not"),  # one class
        ({"weights": np.full(41_729 + 256, np.nan)}, "are not the finite parameters"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        MemGuard(**parameters)


def test_a_model_of_other_classes_is_refused() -> None:
    for ask in (FITTED, FITTED.undo, FITTED.membership, FITTED.propose):
        with pytest.raises(InputError, match=r"shape \(2, 3\); MemGuard was fitted to 5 classes"):
            ask(np.zeros((2, 3)))


def test_a_fitted_one_is_a_value_and_its_record_names_the_seed_and_a_digest() -> None:
    assert FITTED.weights is not None
    assert FITTED == replace(FITTED) != replace(FITTED, seed=1)
    assert replace(FITTED, weights=FITTED.weights * 2) != FITTED
    with pytest.raises(ValueError, match="read-only"):
        FITTED.weights[0] = 1
    text = describe(FITTED)
    assert text["name"] == "MemGuard" and text["seed"] == 0 and text["epsilon"] == 1.0
    assert (
        text["weights"]["shape"] == [FITTED.weights.size] and len(text["weights"]["sha256"]) == 64
    )


def test_undoing_gives_the_answer_not_the_logits() -> None:
    answers = np.log(FITTED(ROWS))
    undone = FITTED.undo(answers)
    np.testing.assert_allclose(undone, answers - answers.mean(axis=-1, keepdims=True), atol=1e-12)
