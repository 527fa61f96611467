"""A group that leaks alone is found, others are not, and rows of a person count once."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.groups import leak_in_one_group, share_of_false_findings
from dynanoise.metrics.bootstrap import PoolScores
from dynanoise.metrics.groups import GroupMetric, by_person, group_metrics
from dynanoise.metrics.two_way import two_way_metrics


def test_a_group_that_leaks_alone_is_found_with_its_interval() -> None:
    scores, ward = leak_in_one_group(models=8, records=1200, groups=6, leak=1.0, seed=0)
    metrics = group_metrics(scores, {"ward": ward})
    overall = two_way_metrics(scores)["auc"].value
    above = {
        value
        for value in map(str, range(6))
        if float(metrics[f"ward={value} auc"].low or 0) > max(0.5, overall)
    }
    assert above == {"0"}
    leaking = metrics["ward=0 auc"]
    # Two normal distributions a standard deviation apart have AUC Phi(1 / sqrt(2)) = 0.760.
    assert float(leaking.low or 0) < 0.760 < float(leaking.high or 0)


def test_groups_without_a_leak_are_found_no_more_often_than_the_level_allows() -> None:
    assert share_of_false_findings(seeds=20, models=4, records=600, groups=6) <= 3 / 20


def test_intervals_widen_with_the_number_of_groups_and_small_groups_are_left_out() -> None:
    scores, ward = leak_in_one_group(models=4, records=600, groups=4, leak=1.0, seed=1)
    alone = two_way_metrics(
        PoolScores(
            scores.scores[:, ward == 0],
            scores.decisions[:, ward == 0],
            scores.members[:, ward == 0],
            scores.scored[:, ward == 0],
        )
    )["auc"]
    small = np.where(np.arange(600) < 20, "small", "rest")
    metrics = group_metrics(scores, {"ward": ward, "size": small})
    corrected = metrics["ward=0 auc"]
    assert corrected.value == alone.value
    assert float(corrected.low or 0) < float(alone.low or 0)
    assert "size=rest auc" in metrics and "size=small auc" not in metrics
    assert GroupMetric.parse("ward=0 auc") == GroupMetric("ward", "0", "auc")
    assert GroupMetric.parse("auc") is None and GroupMetric.parse("chosen lira") is None


def test_persons_have_the_mean_and_the_largest_of_their_scores() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(0, 1, (2, 12))
    members = np.repeat(generator.random((2, 4)) < 0.5, 3, axis=1)
    members[:, :3], members[:, 3:6] = True, False
    scored = np.ones((2, 12), dtype=bool)
    scored[0, 0] = False
    scored[1, 9:] = False
    pool = PoolScores(scores, scores > 0, members, scored)
    persons = np.repeat(np.arange(4), 3)
    mean, largest = by_person(pool, persons), by_person(pool, persons, largest=True)
    decided = by_person(pool, persons, np.array([-0.1, 0.2]))
    assert mean.scores[0, 0] == pytest.approx(scores[0, 1:3].mean())
    assert largest.scores[1, 2] == scores[1, 6:9].max()
    assert mean.members[:, 0].all() and not mean.members[:, 1].any()
    assert mean.scored.tolist() == [[True] * 4, [True] * 3 + [False]]
    # Decisions are on a person's mean, whatever was decided on the records.
    assert not mean.decisions.any() and decided.decisions[1, :3].any()
    assert (
        decided.decisions[1, :3].tolist() == (scores[1, :9].reshape(3, 3).mean(1) >= 0.2).tolist()
    )
    assert not decided.decisions[1, 3]
