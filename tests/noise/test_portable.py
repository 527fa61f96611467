"""exp, ln, cos and sin: within two units in the last place, of extended precision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from dynanoise.core.numerics import Float64
from dynanoise.noise import portable

LONG = np.longdouble
pytestmark = pytest.mark.skipif(
    np.finfo(LONG).nmant < 60, reason="there is nothing more precise here to compare with"
)


def units(result: Float64, truth: npt.NDArray[np.longdouble]) -> float:
    """The largest error in units of the last place."""
    return float(np.max(np.abs(result - truth) / np.spacing(np.abs(result))))


def test_exp() -> None:
    generator = np.random.default_rng(0)
    x = np.concatenate([-generator.exponential(1, 10**5), generator.uniform(-708, 0, 10**5)])
    assert units(portable.exp(x), np.exp(LONG(x))) < 1.5
    assert portable.exp(np.array([-708.0001, -1e308, -np.inf])).tolist() == [0.0] * 3
    assert portable.exp(np.zeros(1)) == 1 and portable.exp(np.array([-708.0])) > 0


def test_log() -> None:
    x = np.random.default_rng(1).random(10**5) + 2.0**-53
    x = np.concatenate([x, 1 - np.arange(1000) * 2.0**-53, x * 1000, 2.0 ** np.arange(-53, 20)])
    assert units(portable.log(x), np.log(LONG(x))) < 2
    assert portable.log(np.ones(1)) == 0


def test_cos_and_sin() -> None:
    """Relative to 1; at whole quarters they are exact."""
    turns = np.concatenate([np.random.default_rng(2).random(10**5), np.arange(65) / 64])
    angle = 2 * LONG("3.14159265358979323846264338327950288") * LONG(turns)
    result = portable.cos_sin(turns)
    for value, truth in zip(result, (np.cos(angle), np.sin(angle)), strict=True):
        assert np.abs(value - truth).max() < 2 * 2.0**-53
    quarters = np.array(portable.cos_sin(np.arange(5) / 4))
    assert quarters.tolist() == [[1, 0, -1, 0, 1], [0, 1, 0, -1, 0]]
