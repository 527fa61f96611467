"""Attacks on labels alone, against their definition written out record by record."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from dynanoise.attacks.label_only import Gap, LabelOnly
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
from dynanoise.metrics.success import attack_metrics
from tests.factories.attack_cases import pool_case


def by_definition(seen: Observation, shadows: ShadowObservations, rows: Floats) -> Float64:
    """``rows`` [S, N, A, K]: whose argmax the shadow models' hits are counted by."""
    scores = np.zeros(len(seen.labels))
    for n, y in enumerate(seen.labels):
        for a in range(seen.log_probs.shape[1]):
            rates = {}
            for kind in (1, 0):
                models = [m for m, use in enumerate(shadows.use[:, n]) if use == kind]
                hits = sum(int(np.argmax(rows[m, n, a]) == y) for m in models)
                rates[kind] = Fraction(hits + 1, len(models) + 2)
            right = int(np.argmax(seen.log_probs[n, a])) == y
            ratio = rates[1] / rates[0] if right else (1 - rates[1]) / (1 - rates[0])
            scores[n] += np.log(float(ratio))
    return scores


@pytest.mark.parametrize("inputs", [1, 3])
def test_scores_equal_the_definition(inputs: int) -> None:
    target, _, shadows = pool_case(0, count=60, inputs=inputs)
    # Behind a defense that turns every second answer around, clean and defended counts differ.
    turned = tuple(
        replace(
            model,
            log_probs=np.where(model.ids[:, None, None] % 2, model.log_probs, -model.log_probs),
        )
        for model in shadows.observations
    )
    shadows = replace(shadows, observations=turned)
    defended = np.stack([model.log_probs for model in turned])
    clean = shadows.clean.logits
    cases: list[tuple[LabelOnly, Floats]] = [
        (LabelOnly(), defended),
        (LabelOnly("clean"), clean),
    ]
    for attack, rows in cases:
        scores = attack.fit(shadows).score(target)
        expected = by_definition(target, shadows, rows)
        np.testing.assert_allclose(scores, expected, rtol=1e-12, atol=1e-12)


def test_records_without_shadow_models_score_nothing_and_are_no_members() -> None:
    target, _, shadows = pool_case(1)
    hidden = shadows.use.copy()
    hidden[:, :5] = -1
    fitted = LabelOnly().fit(replace(shadows, use=hidden))
    scores = fitted.score(target)
    assert (scores[:5] == 0).all()
    assert not fitted.decide(scores)[:5].any()


def test_nothing_but_the_largest_entry_counts() -> None:
    target, _, shadows = pool_case(2)
    sharper = replace(target, log_probs=5 * target.log_probs)
    fitted = LabelOnly().fit(shadows)
    np.testing.assert_array_equal(fitted.score(target), fitted.score(sharper))


def test_another_number_of_near_duplicates_is_refused() -> None:
    target, _, _ = pool_case(3, inputs=2)
    _, _, shadows = pool_case(3)
    with pytest.raises(InputError, match="2 inputs"):
        LabelOnly().fit(shadows).score(target)


def test_wrong_parameters_and_layouts_are_refused() -> None:
    with pytest.raises(InputError, match=r"calibrate is 'both'. Use 'defended' or 'clean'"):
        LabelOnly("both")  # type: ignore[arg-type]
    unequal = observe_shadow_logits(np.zeros((3, 2, 2)), [0, 1], [[1, 1], [0, 0], [1, 1]])
    with pytest.raises(InputError, match="same number of both"):
        LabelOnly().fit(unequal)


def test_the_gap_attack_has_half_the_generalisation_gap() -> None:
    """0.5 + (train accuracy - test accuracy) / 2."""
    target, truth, shadows = pool_case(4, leak=2.0)
    right = target.log_probs[:, 0].argmax(axis=-1) == target.labels
    fitted = Gap().fit(shadows)
    scores = fitted.score(target)
    metrics = attack_metrics(scores, fitted.decide(scores), truth)
    expected = 0.5 + (right[truth].mean() - right[~truth].mean()) / 2
    assert metrics["asr"].value == pytest.approx(expected)
    assert metrics["auc"].value == pytest.approx(expected)


def test_the_gap_attack_calls_correct_answers_members() -> None:
    shadows = observe_shadow_logits(np.zeros((1, 2, 2)), [0, 1], [[1, 0]])
    fitted = Gap().fit(shadows)
    scores = fitted.score(observe_logits([[1.0, 0.0], [1.0, 0.0]], [0, 1]))
    assert scores.tolist() == [1.0, 0.0]
    assert fitted.decide(scores).tolist() == [True, False]
