"""Metrics over a pool equal independent ones, and their intervals cover what they should."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from dynanoise.core.errors import InputError
from dynanoise.metrics.bootstrap import PoolScores, _WeightedMetrics, bootstrap, percentile_interval
from dynanoise.metrics.two_way import two_way_metrics


def made_up(
    models: int = 4, records: int = 300, leak: float = 1.0, seed: int = 0, hidden: float = 0.2
) -> PoolScores:
    generator = np.random.default_rng(seed)
    members = generator.random((models, records)) < 0.5
    # Rounded, so that there are ties; records and models have effects of their own.
    effects = generator.normal(0, 1, records) + generator.normal(0, 0.3, (models, 1))
    scores = np.round(effects + leak * members + generator.normal(0, 1, members.shape), 1)
    return PoolScores(scores, scores > 0.4, members, generator.random(members.shape) >= hidden)


def test_points_equal_scikit_learns() -> None:
    pool = made_up()
    metrics = bootstrap(pool, seed=0, replicates=10).metrics
    kept = [(pool.scores[m][k], pool.members[m][k], pool.decisions[m][k])
            for m, k in enumerate(pool.scored)]  # fmt: skip
    aucs = [roc_auc_score(truth, scores) for scores, truth, _ in kept]
    success = [balanced_accuracy_score(truth, decided) for _, truth, decided in kept]
    assert metrics["auc"].value == pytest.approx(np.mean(aucs), abs=1e-12)
    assert metrics["asr"].value == pytest.approx(np.mean(success), abs=1e-12)
    big = made_up(models=8, records=400, hidden=0)
    fpr, tpr, _ = roc_curve(big.members.ravel(), big.scores.ravel(), drop_intermediate=False)
    found_at = bootstrap(big, seed=0, replicates=10).metrics
    assert found_at["tpr@0.01"].value == pytest.approx(tpr[fpr <= 0.01].max(), abs=1e-12)
    assert "tpr@0.001" not in found_at  # 1,600 non-members cannot resolve it


@pytest.mark.parametrize("drawn", [(2, 0, 1), (1, 1, 1), (0, 0, 3)])
@pytest.mark.parametrize("digits", [1, 9])  # with and without ties
def test_weights_count_as_copies_do(drawn: tuple[int, ...], digits: int) -> None:
    """A replicate equals the metrics of the pool with records and models repeated."""
    base = made_up(models=3, records=400)
    generator = np.random.default_rng(1)
    models, records = np.array(drawn), generator.integers(0, 3, 400)
    # The last model's scores are the smallest: where it alone is drawn, the largest count nothing.
    noise = generator.normal(0, 0.1, base.scores.shape).round(digits)
    scores = base.scores + noise - np.array([[0.0], [0.0], [9.0]])
    pool = PoolScores(scores, base.decisions, base.members, base.scored)
    rows, columns = np.repeat(np.arange(3), models), np.repeat(np.arange(400), records)
    copied = PoolScores(
        pool.scores[rows][:, columns],
        pool.decisions[rows][:, columns],
        pool.members[rows][:, columns],
        pool.scored[rows][:, columns],
    )
    names: set[str] = set()
    for fprs in ((0.03, 0.1), (1.0,)):
        weights = models[None].astype(float), records[None].astype(float)
        weighed = _WeightedMetrics(pool, fprs)(*weights)
        plain = _WeightedMetrics(copied, fprs)(np.ones((1, 3)), np.ones((1, len(columns))))
        for name, value in plain.items():
            assert weighed[name] == pytest.approx(value, abs=1e-12), name
        names |= weighed.keys()
    assert names == {"asr", "auc", "tpr@0.03", "tpr@0.1", "tpr@1"}


def test_a_model_without_members_does_not_count_in_a_replicate() -> None:
    """Nor one without non-members; without any model there is nothing to say."""
    pool = made_up(models=3, records=400)
    records = np.random.default_rng(1).integers(0, 3, 400).astype(float)
    for drawn in (records * ~pool.members[1], records * pool.members[1]):
        weighed = _WeightedMetrics(pool, (0.1,))(np.ones((1, 3)), drawn[None])
        rest = _WeightedMetrics(pool, (0.1,))(np.array([[1.0, 0.0, 1.0]]), drawn[None])
        for name, value in rest.items():
            assert weighed[name] == pytest.approx(value, abs=1e-12), name
            assert 0.2 < value < 1
    assert all(
        np.isnan(value)
        for value in _WeightedMetrics(pool)(np.ones((1, 3)), drawn[None] * 0).values()
    )
    assert percentile_interval(0.5, np.array([np.nan, 0.25, 0.25])).low == 0.25


@pytest.mark.behaviour
def test_intervals_cover_a_null_at_about_the_nominal_rate() -> None:
    """No leak: 0.5 lies in the 95% intervals of 200 pools about as often as it should."""
    inside = {"asr": 0, "auc": 0}
    for seed in range(200):
        metrics = bootstrap(made_up(8, 120, leak=0.0, seed=seed), seed, replicates=100).metrics
        for name in inside:
            low, high = metrics[name].low, metrics[name].high
            assert low is not None and high is not None
            inside[name] += low <= 0.5 <= high
    assert all(180 <= count <= 200 for count in inside.values()), inside


def test_records_that_models_share_widen_the_interval() -> None:
    """One record of great weight in every model is one trial, not as many as there are models."""
    pool = made_up(16, 100, hidden=0)
    narrow = bootstrap(pool, 0).metrics["auc"]
    generator = np.random.default_rng(0)
    hard = np.where(generator.random(100) < 0.5, 2.0, -2.0)  # leaks for half of the records only
    scores = pool.scores + hard * pool.members
    leaks = PoolScores(scores, scores > 0, pool.members, pool.scored)
    wide = bootstrap(leaks, 0).metrics["auc"]
    assert narrow.low is not None and narrow.high is not None
    assert wide.low is not None and wide.high is not None
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


@pytest.mark.parametrize("closed_form", [False, True])
@pytest.mark.parametrize("models", [1, 4])
def test_few_records_that_agree_do_not_make_a_rate_certain(models: int, closed_form: bool) -> None:
    """Intervals are those of SciPy for the distinct records, where no replicate differs."""

    def measure(
        scores: npt.NDArray[np.float64], decisions: npt.NDArray[np.bool_]
    ) -> dict[str, Any]:
        pool = PoolScores(scores, decisions, members, members | True)
        fprs = (0.1, 1.0)
        metrics = (
            two_way_metrics(pool, fprs)
            if closed_form
            else bootstrap(pool, 0, 50, fprs=fprs).metrics
        )
        return {name: astuple(metric) for name, metric in metrics.items()}

    members = np.arange(130)[None] < 30
    if models > 1:  # 60 records are members in one model or another
        members = np.concatenate([members, np.roll(members, 30, axis=1)] * 2)

    def bounds(hits: int, trials: int) -> tuple[float, float]:
        interval = binomtest(hits, trials).proportion_ci()
        return float(interval.low), float(interval.high)

    inside, outside = (30, 100) if models == 1 else (60, 130)
    pairs = min(inside, outside, 65)
    # Constant scores: no member is ahead of all non-members, and none is called a member.
    tied = measure(np.zeros(members.shape), members & False)
    low, high = bounds(0, inside)
    assert tied["tpr@0.1"] == pytest.approx((0.0, low, high))
    assert tied["tpr@1"] == pytest.approx((1.0, 1 - high, 1.0))
    untied = bounds(0, pairs)[1] / 2
    assert tied["auc"] == pytest.approx((0.5, 0.5 - untied, 0.5 + untied))
    below, above = bounds(0, outside)[1] / 2, high / 2
    assert tied["asr"] == pytest.approx((0.5, 0.5 - below, 0.5 + above))
    # All right, and all wrong.
    right = measure(members.astype(np.float64), members)
    assert right["auc"] == pytest.approx((1.0, bounds(pairs, pairs)[0], 1.0))
    wrong = measure((~members).astype(np.float64), ~members)
    assert wrong["auc"] == pytest.approx((0.0, 0.0, bounds(0, pairs)[1]))
    error = np.hypot(2 * below, 2 * above) / 2  # Newcombe's square-and-add
    assert right["asr"] == pytest.approx((1.0, 1 - error, 1.0))
    assert wrong["asr"] == pytest.approx((0.0, 0.0, error))
    assert wrong["tpr@0.1"] == tied["tpr@0.1"]


def test_wrong_parts_are_refused() -> None:
    pool = made_up()
    with pytest.raises(InputError, match="shapes"):
        PoolScores(pool.scores, pool.decisions[:2], pool.members, pool.scored)
    with pytest.raises(InputError, match="only members or only non-members"):
        PoolScores(pool.scores, pool.decisions, pool.members | True, pool.scored)
