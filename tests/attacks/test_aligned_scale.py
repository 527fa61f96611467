"""Answers brought to the shadow models' scale before an attack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynanoise.attacks.aligned_scale import ScaleAligned
from dynanoise.core import numerics
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation
from dynanoise.core.registry import ATTACKS
from dynanoise.evaluation.responses import observe_logits
from tests.build_pool import pool_case


def gaps(log_probs: Float64) -> Float64:
    ranked = np.sort(log_probs, axis=-1)
    return np.asarray(ranked[..., -1] - ranked[..., -2])


def scaled(seen: Observation, factor: float) -> Observation:
    return replace(seen, log_probs=numerics.log_softmax(factor * seen.log_probs))


@pytest.mark.parametrize("attack", ["threshold", "learned", "label_only"])
@pytest.mark.parametrize("factor", [0.1, 3.0])
def test_a_temperature_makes_no_difference(attack: str, factor: float) -> None:
    seen, _, shadows = pool_case(0)
    fitted = ScaleAligned(attack).fit(shadows)
    np.testing.assert_allclose(
        fitted.score(scaled(seen, factor)), fitted.score(seen), rtol=1e-6, atol=1e-6
    )


def test_the_attack_sees_the_shadow_models_median_gap() -> None:
    """By the definition, and only of pairs that are shown."""
    seen, _, shadows = pool_case(1)
    shown = shadows.use >= 0
    rows = np.stack([one.log_probs[:, 0] for one in shadows.observed])
    factor = np.median(gaps(rows)[shown]) / np.median(gaps(seen.log_probs[:, 0]))
    expected = ATTACKS.build("threshold").fit(shadows).score(scaled(seen, factor))
    np.testing.assert_allclose(ScaleAligned().fit(shadows).score(seen), expected, atol=1e-9)
    assert not np.allclose(ATTACKS.build("threshold").fit(shadows).score(seen), expected)


def test_decisions_and_alignment_are_the_attack_s() -> None:
    _, _, shadows = pool_case(2)
    at_zero = np.array([-1e-9, 0.0, 1e-9])
    assert ScaleAligned("threshold").fit(shadows).decide(at_zero).tolist() == [False, True, True]
    assert ScaleAligned("label_only").fit(shadows).decide(at_zero).tolist() == [False, False, True]
    assert ScaleAligned("label_only").aligned
    assert not ScaleAligned("threshold").aligned


def test_answers_without_a_gap_stay_as_they_are() -> None:
    _, _, shadows = pool_case(3)
    flat = observe_logits(np.zeros((len(shadows.clean.labels), 4)), shadows.clean.labels)
    expected = ATTACKS.build("threshold").fit(shadows).score(flat)
    np.testing.assert_allclose(ScaleAligned().fit(shadows).score(flat), expected)


def test_the_population_moves_with_the_answers() -> None:
    """Attacks that compare with known non-members see both on one scale."""
    from dynanoise.attacks.aligned_scale import _rescaled

    seen, _, _ = pool_case(4)
    population = observe_logits(np.array([[2.0, 0.0, 1.0, -1.0]]), [0])
    moved = _rescaled(replace(seen, population=population), 2.0)
    assert moved.population is not None
    np.testing.assert_allclose(numerics.top_gaps(moved.population.log_probs[:, 0]), [2.0])
    np.testing.assert_allclose(moved.undo(np.array([[1.0, 3.0]])), [[-2.0, 2.0]])
    np.testing.assert_allclose(
        gaps(moved.log_probs[:, 0]), 2 * gaps(seen.log_probs[:, 0]), atol=1e-9
    )
