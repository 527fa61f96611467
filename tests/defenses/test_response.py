"""The step that all wrappers share: axes and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.response import check_axis, defend, system_noise
from dynanoise.defenses.temperature import Temperature
from dynanoise.noise.fresh import Fresh
from tests.factories.outputs import logit_arrays, read_only_copy


def ask(rows: Any, kind: str) -> Any:
    """Behind T = 2."""
    return defend(rows, Temperature(2), Fresh(0), class_axis=-1, kind=kind)


@given(rows=logit_arrays(), axis=st.integers(-3, 2))
def test_classes_may_be_on_any_axis(rows: Float64, axis: int) -> None:
    stacked = np.stack([rows, rows[::-1]])
    moved = np.moveaxis(stacked, -1, axis)
    result = defend(read_only_copy(moved), DynaNoise(), Fresh(0), class_axis=axis, kind="logits")
    expected = np.moveaxis(DynaNoise()(stacked, Fresh(0)), -1, axis)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_are_taken_as_their_logarithms(dtype: Any) -> None:
    probs = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], dtype)
    result = ask(probs, "probabilities")
    # By hand: square roots, renormalised.
    root = np.sqrt([0.5, 0.25, 0.25])
    np.testing.assert_allclose(result[0], root / root.sum(), rtol=1e-6)
    np.testing.assert_allclose(result[1], [1, 0, 0], atol=1e-12)
    assert result.dtype == dtype


@pytest.mark.parametrize(
    "rows", [[[2.0, -1.0]], [[0.5, 0.6]], [[np.nan, 1.0]], [[np.inf, 1.0]], [[3e38, 3e38]]]
)
def test_what_is_no_probability_is_refused(rows: Any) -> None:
    with pytest.raises(InputError, match="probabilities"):
        ask(np.asarray(rows, np.float32), "probabilities")


def test_nothing_asked_is_nothing_answered() -> None:
    for kind in ("logits", "probabilities"):
        assert ask(np.zeros((0, 3)), kind).shape == (0, 3)


def test_wrong_axes_are_named() -> None:
    with pytest.raises(InputError, match=r"class axis is 2.*shape \(2, 3\)"):
        defend(np.zeros((2, 3)), Temperature(2), Fresh(0), class_axis=2, kind="logits")
    with pytest.raises(InputError, match="class_axis is True"):
        check_axis(True)


def test_the_operating_system_seeds_another_stream_each_time() -> None:
    first, second = (system_noise().draw(np.zeros((1, 8)), 1, "")[1] for _ in range(2))
    assert (first != second).all()
