"""Each statistic: larger for the surer answer, and its value against an independent formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from dynanoise.attacks.statistics import CLEAN, compute, stack_clean, stack_models, take_sides
from dynanoise.core.numerics import Float64
from dynanoise.core.registry import STATISTICS
from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
from tests.factories.outputs import logit_arrays

NEED_THE_LABEL = {"loss", "modified_entropy", "correctness", "scaled_logit", "hinge"}
NEED_THE_LABEL |= {"normal_score"}


@pytest.mark.parametrize("name", STATISTICS.names())
def test_larger_means_more_likely_a_member(name: str) -> None:
    """Surer of the true class is never a smaller signal, and somewhere a larger one."""
    gaps = np.linspace(-5, 5, 41)
    if name not in NEED_THE_LABEL:
        gaps = gaps[gaps >= 0]
    rows = special.log_softmax(np.stack([gaps, np.zeros_like(gaps), np.zeros_like(gaps)], 1), 1)
    signal = STATISTICS.get(name)(rows, np.zeros(len(gaps), dtype=np.int64))
    assert (np.diff(signal) >= -1e-12).all()
    assert signal[-1] > signal[0]


@given(logit_arrays(), st.data())
def test_values(rows: Float64, data: st.DataObject) -> None:
    labels = np.array([data.draw(st.integers(0, rows.shape[1] - 1)) for _ in rows])
    probs = special.softmax(rows, axis=-1)
    log_probs = special.log_softmax(rows, axis=-1)
    p_y = probs[np.arange(len(rows)), labels]

    def found(name: str) -> Float64:
        signal: Float64 = STATISTICS.get(name)(log_probs, labels)
        assert signal.shape == labels.shape and signal.dtype == np.float64
        return signal

    np.testing.assert_allclose(found("confidence"), probs.max(axis=-1), rtol=1e-12)
    np.testing.assert_allclose(np.exp(found("loss")), p_y, rtol=1e-9)
    np.testing.assert_allclose(-found("entropy"), stats.entropy(probs, axis=-1), atol=1e-10)
    np.testing.assert_array_equal(found("correctness"), log_probs.argmax(axis=-1) == labels)
    middling = (p_y > 1e-6) & (p_y < 1 - 1e-6)
    np.testing.assert_allclose(
        found("scaled_logit")[middling], special.logit(p_y[middling]), rtol=1e-6, atol=1e-9
    )


def test_statistics_are_kept_with_the_answers_and_not_with_a_changed_copy() -> None:
    target = observe_logits(np.log([[0.9, 0.1], [0.2, 0.8]]), [0, 0])
    first = compute(target, "loss")
    assert compute(target, "loss") is first and not first.flags.writeable
    changed = replace(target, log_probs=target.log_probs[::-1])
    np.testing.assert_array_equal(compute(changed, "loss"), first[::-1])


def test_selected_models_take_their_own_values_from_those_of_the_pool() -> None:
    """Whatever they were selected from, and after their outputs were replaced."""
    logits = np.random.default_rng(3).normal(0, 2, (6, 5, 3))
    use = np.tile(np.array([[1], [0]], dtype=np.int8), (3, 5))
    pool = observe_shadow_logits(logits, np.zeros(5, int), use)
    some = pool.select((4, 1, 3, 0), use[[4, 1, 3, 0]])
    fewer = some.select((2, 0), use[[3, 4]])
    other = tuple(observe_logits(2 * logits[model], np.zeros(5, int)) for model in (3, 4))
    replaced = fewer.with_observations(other)
    assert replaced.slots is fewer.slots

    def statistic(name: str, rows: Float64) -> Float64:
        values: Float64 = STATISTICS.get(name)(special.log_softmax(rows, axis=-1), np.zeros(5, int))
        return values

    of_replaced = some.with_observations(
        tuple(observe_logits(2 * logits[model], np.zeros(5, int)) for model in (4, 1, 3, 0))
    ).select((2, 0), use[[3, 4]])
    for shadows, scale in ((fewer, 1), (replaced, 2), (of_replaced, 2)):
        for name in CLEAN:
            inside, outside = take_sides(shadows, stack_models(shadows, name))
            np.testing.assert_allclose(inside[0, :, 0], statistic(name, scale * logits[4]))
            np.testing.assert_allclose(outside[0, :, 0], statistic(name, scale * logits[3]))
            inside, outside = take_sides(shadows, stack_clean(shadows, name))
            np.testing.assert_allclose(inside[0, :, 0], statistic(name, logits[4]))
            np.testing.assert_allclose(outside[0, :, 0], statistic(name, logits[3]))
    assert stack_models(fewer, "loss") is stack_models(pool, "loss")
