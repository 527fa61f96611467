"""MIDPUT against the published table, and its arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynanoise.core.errors import InputError
from dynanoise.metrics.midput import midput

# arXiv:2505.13362v2, attack success on CIFAR-10: accuracy, confidence, loss, shadow, LiRA.
PUBLISHED = {
    "none": (0.7875, 0.6124, 0.6180, 0.6387, 0.6097),
    "hamp": (0.7422, 0.5000, 0.5000, 0.5000, 0.5000),
    "dynanoise": (0.7807, 0.5014, 0.5219, 0.5053, 0.5342),
}
ATTACKS = ("confidence", "loss", "shadow", "lira")
RATES = st.dictionaries(
    st.sampled_from(ATTACKS), st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1
)


def published(row: str) -> tuple[dict[str, float], float]:
    accuracy, *success = PUBLISHED[row]
    return dict(zip(ATTACKS, success, strict=True)), accuracy


def test_published_check_values() -> None:
    before, accuracy = published("none")
    after, after_accuracy = published("dynanoise")
    result = midput(before, after, accuracy, after_accuracy)
    assert result.put["confidence"] == pytest.approx(0.1042)
    assert result.mean == pytest.approx(0.0972, abs=5e-5)
    assert result.worst_case == pytest.approx(0.6387 - 0.5342 - 0.0068)


def test_the_undefended_model_scores_0() -> None:
    before, accuracy = published("none")
    result = midput(before, before, accuracy, accuracy)
    assert (result.mean, result.leakage, result.worst_case) == (0, 0, 0)


def test_nothing_is_clipped() -> None:
    """An accuracy gain counts, and so does an ASR below 0.5; the leakage form sees through it."""
    result = midput({"a": 0.6}, {"a": 0.4}, 0.7, 0.75)
    assert result.mean == pytest.approx(0.25)
    assert result.leakage == pytest.approx(0.05)


def test_the_worst_case_is_over_attacks_not_within_one() -> None:
    result = midput({"a": 0.7, "b": 0.6}, {"a": 0.5, "b": 0.65}, 0.8, 0.79)
    assert result.worst_case == pytest.approx(0.7 - 0.65 - 0.01)
    assert result.mean == pytest.approx((0.2 - 0.05) / 2 - 0.01)


@given(RATES, st.floats(0, 1), st.floats(0, 1))
def test_forms_agree_with_sums_written_out(
    rates: dict[str, tuple[float, float]], before: float, after: float
) -> None:
    result = midput(
        {name: pair[0] for name, pair in rates.items()},
        {name: pair[1] for name, pair in rates.items()},
        before,
        after,
    )
    drop = before - after
    count = len(rates)
    assert result.mean == pytest.approx(sum(b - a for b, a in rates.values()) / count - drop)
    leaks = sum(abs(b - 0.5) - abs(a - 0.5) for b, a in rates.values())
    assert result.leakage == pytest.approx(leaks / count - drop)


@pytest.mark.parametrize(("before", "after"), [({}, {}), ({"a": 0.5}, {"b": 0.5})])
def test_different_attacks_are_refused(before: dict[str, float], after: dict[str, float]) -> None:
    with pytest.raises(InputError, match="same attacks"):
        midput(before, after, 0.8, 0.8)


@pytest.mark.parametrize(
    ("accuracy", "asr", "says"),
    [
        (95.0, 0.5, r"The accuracy before is 95\.0"),
        (float("nan"), 0.5, "The accuracy before is nan"),
        (None, 0.5, "The accuracy before is None"),
        (0.9, -0.1, "The success of a before is -0.1"),
        (0.9, 61.2, "not percentages"),
    ],
)
def test_rates_are_within_0_and_1(accuracy: float, asr: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        midput({"a": asr}, {"a": 0.5}, accuracy, 0.9)
