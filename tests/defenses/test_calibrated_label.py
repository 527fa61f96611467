"""CalibratedLabel: the label, and how often it is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynanoise.core.errors import InputError, NotFittedError
from dynanoise.core.numerics import Float64, softmax
from dynanoise.core.outputs import Outputs, View
from dynanoise.defenses.calibrated_label import CalibratedLabel
from dynanoise.metrics.utility import calibration_error, utility_metrics
from tests.factories.outputs import make_view


def view_of(logits: Float64, labels: Any) -> View:
    nobody = np.zeros((1, len(labels)), int)
    reference = Outputs(logits[None, :, None], np.asarray(labels), np.arange(len(labels)), nobody)
    return View(reference, reference)


def test_confidences_are_laplaces_rule_by_predicted_class() -> None:
    """Class 0 right 2 of 3 times, class 1 never of 2, class 2 never said: 2 of 5 overall."""
    predicted, labels = [0, 0, 0, 1, 1], [0, 0, 1, 2, 0]
    fitted = CalibratedLabel().fit(view_of(np.eye(3)[predicted], labels))
    np.testing.assert_allclose(fitted.confidences, [3 / 5, 1 / 4, 3 / 7])  # type: ignore[arg-type]


def test_only_original_inputs_of_the_reference_count() -> None:
    logits = np.zeros((1, 4, 3, 2))
    logits[0, :, 0, 1] = 1.0
    logits[0, :, 1:, 0] = 5.0
    use = np.zeros((1, 4), int)
    reference = Outputs(logits, np.ones(4, int), np.arange(4), use)
    members = Outputs(-logits, np.ones(4, int), np.arange(4), use + 1)
    fitted = CalibratedLabel().fit(View(members, reference))
    np.testing.assert_allclose(fitted.confidences, [5 / 6, 5 / 6])  # type: ignore[arg-type]


@given(
    st.lists(st.floats(0.001, 0.999), min_size=2, max_size=8),
    st.integers(0, 5),
    st.sampled_from([np.float32, np.float64]),
)
def test_answers_are_functions_of_the_label_and_keep_it(
    confidences: list[float], seed: int, dtype: Any
) -> None:
    classes = len(confidences)
    defense = CalibratedLabel(np.array(confidences))
    logits = np.random.default_rng(seed).normal(0, 2, (40, classes)).astype(dtype)
    answer, predicted = defense(logits), logits.argmax(axis=-1)
    np.testing.assert_array_equal(answer.argmax(axis=-1), predicted)
    np.testing.assert_array_equal(answer, defense(np.eye(classes, dtype=dtype)[predicted] * 3))
    expected = np.maximum(confidences, 1 / classes)[predicted]
    np.testing.assert_allclose(answer.max(axis=-1), expected, rtol=1e-6)
    rest = np.sort(answer, axis=-1)[:, :-1]
    np.testing.assert_allclose(
        rest, np.tile((1 - expected)[:, None] / (classes - 1), classes - 1), rtol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_class_that_is_right_no_more_than_by_chance_still_wins(dtype: Any) -> None:
    """Also a class whose confidence is above 1/K in float64 alone."""
    for confidence in (0.001, 0.25, 0.25 + 1e-12):
        answer = CalibratedLabel(np.full(4, confidence))(np.eye(4, dtype=dtype))
        np.testing.assert_array_equal(answer.argmax(axis=-1), np.arange(4))
        np.testing.assert_allclose(answer, 0.25, rtol=1e-6)


def test_it_is_better_calibrated_than_an_overconfident_model_and_as_accurate() -> None:
    generator = np.random.default_rng(0)

    def model(count: int) -> tuple[Float64, Any]:
        """Right about 0.6 of the time, more in some classes, and always sure of itself."""
        labels = generator.integers(0, 5, count)
        logits = generator.normal(0, 1, (count, 5))
        logits[np.arange(count), labels] += 1 + 0.4 * labels
        return 6 * logits, labels

    fitted = CalibratedLabel().fit(view_of(*model(2000)))
    logits, labels = model(4000)
    before = utility_metrics(softmax(logits), logits, labels)
    after = utility_metrics(fitted(logits), logits, labels)
    assert after["accuracy"] == before["accuracy"] and after["label_flips"].value == 0
    assert before["ece"].value > 0.15 and after["ece"].value < 0.03
    assert after["nll"].value < before["nll"].value
    assert calibration_error(fitted(logits), labels) == after["ece"].value


def test_it_must_learn_first_and_from_somebody() -> None:
    with pytest.raises(NotFittedError, match="has no confidences yet"):
        CalibratedLabel()(np.zeros((1, 3)))
    with pytest.raises(InputError, match="no reference records"):
        CalibratedLabel().fit(view_of(np.zeros((0, 3)), np.zeros(0, int)))
    with pytest.raises(InputError, match="fitted to 2 classes"):
        CalibratedLabel(np.array([0.5, 0.5]))(np.zeros((1, 3)))


@pytest.mark.parametrize("bad", [[0.5], [[0.5, 0.5]], [0.0, 0.5], [0.5, 1.0], [0.5, np.nan]])
def test_bad_confidences_are_refused(bad: Any) -> None:
    with pytest.raises(InputError, match="confidences of shape"):
        CalibratedLabel(np.array(bad))


def test_the_fitted_are_values_and_do_not_share_the_callers_array() -> None:
    given_array = np.array([0.5, 0.75])
    fitted = CalibratedLabel(given_array)
    given_array[0] = 0.1
    assert fitted == CalibratedLabel(np.array([0.5, 0.75])) != CalibratedLabel(given_array)
    assert fitted.fit(make_view(classes=2)) != fitted
