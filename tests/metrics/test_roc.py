"""The ROC against scikit-learn, a brute-force definition, and ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.metrics.roc import roc

PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40).filter(
    lambda pairs: 0 < sum(member for _, member in pairs) < len(pairs)
)


def test_ties_are_one_step() -> None:
    curve = roc([9, 9, 5, 5], [1, 0, 1, 0])
    assert curve.fpr.tolist() == [0, 0.5, 1]
    assert curve.tpr.tolist() == [0, 0.5, 1]


@given(PAIRS)
def test_the_curve_equals_scikit_learn(pairs: list[tuple[int, bool]]) -> None:
    scores, members = (np.array(column) for column in zip(*pairs, strict=True))
    curve = roc(scores, members)
    fpr, tpr, thresholds = roc_curve(members, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr)
    np.testing.assert_allclose(curve.tpr, tpr)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    assert curve.auc == pytest.approx(roc_auc_score(members, scores))


@given(PAIRS)
def test_auc_is_the_chance_that_a_member_scores_higher(pairs: list[tuple[int, bool]]) -> None:
    inside = [score for score, member in pairs if member]
    outside = [score for score, member in pairs if not member]
    wins = [(a > b) + 0.5 * (a == b) for a in inside for b in outside]
    curve = roc(*zip(*pairs, strict=True))
    assert curve.auc == pytest.approx(np.mean(wins))


@given(st.lists(st.integers(0, 8), min_size=20, max_size=60), st.data())
def test_tpr_at_equals_trying_every_threshold(scores: list[int], data: st.DataObject) -> None:
    members = np.array([i % 3 == 0 for i in range(len(scores))])
    values = np.array(scores)
    outsiders = int((~members).sum())
    fpr = data.draw(st.floats(10 / outsiders, 1)) if outsiders > 10 else 1.0
    best = 0.0
    for threshold in np.append(np.unique(values), np.inf):
        called = values >= threshold
        if called[~members].mean() <= fpr + 1e-12:
            best = max(best, called[members].mean())
    assert roc(values, members).tpr_at(fpr) == pytest.approx(best)


def test_tpr_is_refused_where_too_few_non_members_resolve_it() -> None:
    curve = roc(np.arange(1999), np.arange(1999) % 2)
    with pytest.raises(TooFewRecordsError, match="at least 10000 non-members"):
        curve.tpr_at(0.001)
    assert curve.non_members == 1000
    curve.tpr_at(0.01)


@pytest.mark.parametrize(
    ("scores", "members", "says"),
    [
        ([1.0, np.nan], [0, 1], "1 NaN"),
        ([1.0, 2.0, 3.0], [0, 1], r"shape \(3,\)"),
        ([1.0, 2.0], [1, 1], "2 members and 0 non-members"),
        ([1.0, 2.0], [0, 0], "0 members and 2 non-members"),
    ],
)
def test_bad_input_is_named(scores: Any, members: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        roc(scores, members)


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([1, -1], "Membership holds -1"),
        ([1, 2], "Membership holds 2"),
        ([1.0, np.nan], "Membership holds nan"),
        (["yes", "no"], "membership have dtype"),
        ([1, None], "membership have dtype object"),
        ([[1], [0, 1]], "membership of type list do not make an array"),
    ],
)
def test_membership_is_0_or_1(members: Any, says: str) -> None:
    """-1 is the package's own code for hidden pairs; counted as a member it would mislead."""
    with pytest.raises(InputError, match=says):
        roc([1.0, 2.0], members)


@pytest.mark.parametrize("fpr", [0, -0.1, 1.1])
def test_a_rate_outside_0_1_is_named(fpr: float) -> None:
    with pytest.raises(InputError, match="The FPR is"):
        roc([1, 2], [0, 1]).tpr_at(fpr)
