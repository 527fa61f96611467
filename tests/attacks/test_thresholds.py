"""Thresholds for each class that maximise balanced accuracy on all shadow models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynanoise.attacks import statistics
from dynanoise.attacks.thresholds import Threshold, best_threshold, class_thresholds
from dynanoise.core.numerics import Bools, Float64
from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
from tests.factories.attack_cases import pool_case

ROWS = st.lists(
    st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 3)), min_size=1, max_size=30
)


def balanced_accuracy(threshold: float, scores: Float64, members: Bools) -> float:
    called = scores >= threshold
    return float((called[members].mean() + (~called[~members]).mean()) / 2)


def best_by_trying(scores: Float64, members: Bools, balanced: bool) -> float:
    def worth(threshold: float) -> float:
        if balanced:
            return round(balanced_accuracy(threshold, scores, members), 12)
        return round(float(np.mean((scores >= threshold) == members)), 12)

    return float(max(np.unique(scores), key=lambda t: (worth(t), t)))


@given(ROWS, st.booleans())
def test_class_thresholds_equal_trying_all(
    rows: list[tuple[int, bool, int]], balanced: bool
) -> None:
    scores = np.array([float(row[0]) for row in rows])
    members = np.array([row[1] for row in rows])
    labels = np.array([row[2] for row in rows])
    both = bool(members.any() and not members.all())
    if balanced and not both:
        return
    thresholds = class_thresholds(scores, members, labels, 4, balanced=balanced)
    overall = best_by_trying(scores, members, balanced)
    assert best_threshold(scores, members, balanced=balanced) == overall
    for label in range(4):
        records = labels == label
        tells = records.any() and (not balanced or 0 < members[records].sum() < records.sum())
        expected = best_by_trying(scores[records], members[records], balanced) if tells else overall
        assert thresholds[label] == expected


def test_balance_counts_rates_and_not_records() -> None:
    """Nine members and one non-member: plain accuracy calls all of them members."""
    scores = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 3.5])
    members = np.arange(10) < 9
    assert best_threshold(scores, members) == 1.0
    assert best_threshold(scores, members, balanced=True) == 4.0


def test_all_shadow_models_and_only_what_is_shown() -> None:
    """The second model's member of class 0 lowers the threshold, its hidden record does not."""
    logits = np.zeros((2, 3, 2))
    logits[0, :, 0] = [5.0, 1.0, 3.0]
    logits[1, :, 0] = [2.0, 0.5, -9.0]
    use = np.array([[1, 0, 1], [1, 0, -1]])
    fitted = Threshold("hinge").fit(observe_shadow_logits(logits, [0, 0, 0], use))
    target = observe_logits([[2.0, 0.0], [1.99, 0.0]], [0, 0])
    scores = fitted.score(target)
    np.testing.assert_allclose(scores, [0.0, -0.01], atol=1e-12)
    assert fitted.decide(scores).tolist() == [True, False]


def test_the_attack_s_thresholds_are_balanced() -> None:
    """Nine members and one non-member, as above: plain accuracy would take all of them."""
    logits = np.zeros((1, 10, 2))
    logits[0, :, 0] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 3.5]
    fitted = Threshold("hinge").fit(observe_shadow_logits(logits, [0] * 10, [[1] * 9 + [0]]))
    assert fitted.score(observe_logits([[4.0, 0.0]], [0])).tolist() == pytest.approx([0.0])


def test_the_true_class_s_threshold_applies() -> None:
    target, _, shadows = pool_case(0)
    fitted = Threshold().fit(shadows)
    scores = fitted.score(target)
    phi = statistics.scaled_logit(target.log_probs[:, 0], target.labels)
    visible = shadows.use >= 0
    for label in range(4):
        pairs = [
            (value, use == 1)
            for model, uses, show in zip(shadows.observations, shadows.use, visible, strict=True)
            for value, use, y, s in zip(
                statistics.scaled_logit(model.log_probs[:, 0], model.labels),
                uses,
                model.labels,
                show,
                strict=True,
            )
            if s and y == label
        ]
        expected = best_by_trying(
            np.array([value for value, _ in pairs]), np.array([member for _, member in pairs]), True
        )
        records = target.labels == label
        np.testing.assert_allclose(scores[records], phi[records] - expected, atol=1e-12)


def test_signals_are_averaged_over_a_records_inputs() -> None:
    target, _, shadows = pool_case(0, inputs=3)
    scores = Threshold().fit(shadows).score(target)
    assert scores.shape == target.labels.shape
    fitted = Threshold().fit(shadows)
    inputs = [statistics.scaled_logit(target.log_probs[:, i], target.labels) for i in range(3)]
    np.testing.assert_allclose(scores, np.mean(inputs, axis=0) - fitted.learned[target.labels])


@pytest.mark.parametrize("name", ["confidence", "entropy", "loss", "modified_entropy"])
def test_other_signals(name: str) -> None:
    target, _, shadows = pool_case(1)
    scores = Threshold(name).fit(shadows).score(target)
    signal = statistics.compute(target, name)[:, 0]
    for label in range(4):
        records = target.labels == label
        assert np.ptp(signal[records] - scores[records]) < 1e-9
