"""The formulas against scipy, closed forms, and where floating point gives out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from dynanoise.core import numerics
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from tests.factories.outputs import logit_arrays


@given(logit_arrays(largest=200), st.floats(0.1, 50))
def test_softmax_and_log_softmax_equal_scipy(rows: Float64, temperature: float) -> None:
    np.testing.assert_allclose(
        numerics.softmax(rows, temperature),
        special.softmax(rows / temperature, axis=-1),
        atol=1e-15,
    )
    np.testing.assert_allclose(
        numerics.log_softmax(rows, temperature),
        special.log_softmax(rows / temperature, axis=-1),
        rtol=1e-12,
        atol=1e-12,
    )


@given(logit_arrays(largest=np.finfo(np.float64).max))
def test_any_finite_float64_gives_finite_normalised_rows(rows: Float64) -> None:
    probs = numerics.softmax(rows)
    np.testing.assert_allclose(probs.sum(axis=-1), 1, rtol=1e-12)
    assert np.isfinite(numerics.log_softmax(rows)).all()
    assert np.isfinite(numerics.entropy(numerics.log_softmax(rows))).all()


@given(logit_arrays())
def test_entropy_equals_scipy(rows: Float64) -> None:
    np.testing.assert_allclose(
        numerics.entropy(numerics.log_softmax(rows)),
        stats.entropy(special.softmax(rows, axis=-1), axis=-1),
        rtol=1e-9,
        atol=1e-13,
    )


@given(st.floats(-300, 300))
def test_two_class_closed_forms_hold_where_probabilities_saturate(gap: float) -> None:
    """For logits [g, 0] and label 0: p = 1 / (1 + e^-g), so every statistic has a closed form."""
    rows, labels = numerics.log_softmax(np.array([[gap, 0.0]])), np.array([0])
    log_p = -np.logaddexp(0, -gap)
    rest = np.exp(-np.logaddexp(0, gap))  # 1 - p, exact where p rounds to 1
    assert numerics.take_label(rows, labels)[0] == pytest.approx(log_p, rel=1e-12)
    assert numerics.scaled_logit(rows, labels)[0] == pytest.approx(gap, rel=1e-12, abs=1e-12)
    assert numerics.hinge(rows, labels)[0] == pytest.approx(gap, rel=1e-12, abs=1e-12)
    assert numerics.modified_entropy(rows, labels)[0] == pytest.approx(-2 * rest * log_p, rel=1e-11)


@given(logit_arrays(largest=8), st.data())
def test_modified_entropy_equals_its_definition(rows: Float64, data: st.DataObject) -> None:
    """Song & Mittal's sum, written out entry by entry."""
    classes = rows.shape[1]
    labels = np.array([data.draw(st.integers(0, classes - 1)) for _ in rows])
    probs = special.softmax(rows, axis=-1)
    for result, p, y in zip(
        numerics.modified_entropy(np.log(probs), labels), probs, labels, strict=True
    ):
        expected = -(1 - p[y]) * np.log(p[y])
        expected -= sum(p[i] * np.log1p(-p[i]) for i in range(classes) if i != y)
        assert result == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(logit_arrays(largest=8), st.data())
def test_scaled_logit_and_hinge_equal_their_definitions(rows: Float64, data: st.DataObject) -> None:
    labels = np.array([data.draw(st.integers(0, rows.shape[1] - 1)) for _ in rows])
    for row, label, phi, margin in zip(
        rows, labels, numerics.scaled_logit(rows, labels), numerics.hinge(rows, labels), strict=True
    ):
        others = np.delete(row, label)
        assert phi == pytest.approx(row[label] - special.logsumexp(others), abs=1e-12)
        assert margin == pytest.approx(row[label] - max(others), abs=1e-12)


@pytest.mark.parametrize("classes", [1, 2, 16, 17])
def test_largest_entries_equal_numpys(classes: int) -> None:
    values = np.random.default_rng(0).normal(0, 1, (3, 3000, classes))
    for rows in (values, values.astype(np.float32), values[:, ::2], values[:0], values[0, 0]):
        np.testing.assert_array_equal(numerics.row_max(rows), rows.max(axis=-1), strict=True)


def test_scaled_logit_of_float32_saturation_is_finite() -> None:
    """A gap of 40: p rounds to 1 in float32 and in float64, phi is still the gap."""
    rows = numerics.log_softmax(np.array([[40.0, 0.0]], np.float32).astype(np.float64))
    assert np.float32(numerics.softmax(rows)[0, 0]) == 1
    assert numerics.scaled_logit(rows, np.array([0]))[0] == 40.0


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.array([[0.0, np.nan]]), r"logits\[0, 1\] is nan"),
        (np.array([[0.0, 1.0], [-np.inf, 0.0]]), r"logits\[1, 0\] is -inf"),
        (np.array([[0.0, np.inf]], np.float32), r"logits\[0, 1\] is inf"),
        (np.zeros((3, 1)), r"shape \(3, 1\): a single class"),
        (np.zeros((3, 0)), r"shape \(3, 0\): the last axis is empty"),
        (np.zeros((2, 2), dtype=np.int64), "dtype int64"),
        (np.zeros((2, 2), dtype=np.float16), "dtype float16"),
        (np.zeros((2, 2), dtype=complex), "dtype complex128"),
        (np.array([["a", "b"]]), "dtype <U1"),
        ([[1.0], [1.0, 2.0]], "of type list do not make an array"),
        (np.float64(3.0), "a single number"),
    ],
)
def test_bad_logits_are_named(bad: Float64, says: str) -> None:
    with pytest.raises(InputError, match=says):
        numerics.as_logits(bad)


@given(logit_arrays(largest=1, dtype=np.float32), st.floats(0.5, 1000))
def test_favour_restores_the_argmax_that_rounding_lost(rows: Float64, temperature: float) -> None:
    """Float32 answers at a high temperature tie; the label must not move."""
    wide = rows.astype(np.float64)
    answer = numerics.softmax(wide, temperature).astype(np.float32)
    kept = numerics.favour(answer.copy(), wide.argmax(axis=-1))
    assert (kept.argmax(axis=-1) == wide.argmax(axis=-1)).all()
    np.testing.assert_array_max_ulp(kept, answer, maxulp=1)
