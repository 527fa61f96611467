"""Intervals in closed form agree with DeLong's, with the bootstrap's, and cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from dynanoise.metrics.bootstrap import PoolScores, bootstrap
from dynanoise.metrics.roc import auc_error
from dynanoise.metrics.two_way import rates, two_way_metrics


def made_up(models: int, records: int, leak: float, seed: int, alike: float = 0.7) -> PoolScores:
    """Scores with parts that models share about a record, and records about a model."""
    generator = np.random.default_rng(seed)
    members = generator.random((models, records)) < 0.5
    scores = generator.normal(0, 1, (models, records)) + alike * generator.normal(0, 1, records)
    scores += generator.normal(0.0, 0.3, (models, 1)) * members
    scores += leak * members
    scored = generator.random((models, records)) < 0.95
    return PoolScores(scores, scores > leak / 2, members, scored)


def test_values_are_those_of_the_bootstrap_and_widths_are_near() -> None:
    scores = made_up(10, 1500, 1.0, seed=0)
    expected = bootstrap(scores, seed=0).metrics
    metrics = two_way_metrics(scores)
    assert metrics.keys() == expected.keys()
    for name, metric in metrics.items():
        assert metric.value == pytest.approx(expected[name].value, abs=1e-12)
        widths = [float(one.high or 0) - float(one.low or 0) for one in (metric, expected[name])]
        assert 0.8 < widths[0] / widths[1] < 1.5, name  # wider by Student's t for ten models


def test_one_model_has_the_interval_of_delong() -> None:
    scores = made_up(1, 400, 0.8, seed=1)
    kept = scores.scored[0]
    error = auc_error(scores.scores[0, kept], scores.members[0, kept])
    auc = two_way_metrics(scores, level=0.9)["auc"]
    assert auc.high is not None
    assert auc.high - auc.value == pytest.approx(ndtri(0.95) * error, rel=0.01)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    # Without a leak the truth is 0.5, though models share what is easy about a record.
    covered = [
        float(auc.low or 0) <= 0.5 <= float(auc.high or 0)
        for seed in range(200)
        for auc in [two_way_metrics(made_up(6, 120, 0.0, seed), ())["auc"]]
    ]
    assert 0.92 <= np.mean(covered) <= 0.99  # 0.95 within two standard errors, or wider


def test_rates_of_decisions_have_an_interval_also_where_all_agree() -> None:
    scores = made_up(4, 200, 3.0, seed=2)
    [tpr], [fpr] = rates(scores)
    pairs = scores.scored & scores.members
    assert tpr.value == pytest.approx(scores.decisions[pairs].mean())
    assert fpr.low is not None and fpr.low < fpr.value < float(fpr.high or 0)
    silent = PoolScores(scores.scores, np.zeros_like(scores.members), scores.members, scores.scored)
    [tpr], [fpr] = rates(silent)
    assert (tpr.value, fpr.value, fpr.low) == (0.0, 0.0, 0.0)
    assert 0 < float(fpr.high or 0) < 0.03  # about 3 of 200 records
