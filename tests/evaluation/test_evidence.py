"""What is kept of a pool audit is what its results are made of, and changes none of them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from dynanoise.benchmark.presets import controls
from dynanoise.core.evidence import Evidence
from dynanoise.core.result import Result
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.evaluation.design import Design
from dynanoise.evaluation.evidence import (
    Gatherer,
    find_edges,
    measure_reliability,
    measure_risk,
    thin_roc,
)
from dynanoise.evaluation.protocols import adaptive
from dynanoise.evaluation.trial import AttackScores
from dynanoise.metrics.bootstrap import PoolScores
from dynanoise.metrics.roc import roc
from dynanoise.metrics.utility import calibration_error
from tests.factories.evaluations import ATTACKS, evaluate_pools, made_up
from tests.factories.evidence import pool_records


@pytest.fixture(scope="module")
def gathered() -> tuple[list[Result], Evidence]:
    kept = Gatherer(rows=200)
    pools = {"plain": made_up()}
    rows = controls(DynaNoise(4, 1, 10))
    found: list[Result] = []
    for queries in (1, 4):
        protocol = replace(adaptive(queries), attacks=ATTACKS)
        found += evaluate_pools(pools, rows, protocol, gatherer=kept)
    return found, kept.evidence(pool_records(1))


@pytest.mark.behaviour
def test_keeping_changes_no_number(gathered: tuple[list[Result], Evidence]) -> None:
    protocol = replace(adaptive(1), attacks=ATTACKS)
    empty = Gatherer(curves=False)
    rows = controls(DynaNoise(4, 1, 10))
    without = evaluate_pools({"plain": made_up()}, rows, protocol, gatherer=empty)
    kept = empty.evidence(without)
    assert (kept.attacks, kept.reliability, kept.risks, kept.rows) == ((), (), (), None)
    for one, other in zip(without, gathered[0], strict=False):
        assert (one.method, one.attack, one.metrics) == (
            other.method, other.attack, other.metrics,
        )  # fmt: skip


@pytest.mark.behaviour
def test_everything_judged_is_kept(gathered: tuple[list[Result], Evidence]) -> None:
    found, kept = gathered
    judged = [one for one in found if one.attack is not None]
    assert [(one.method, one.attack) for one in kept.attacks] == [
        (one.method, one.attack) for one in judged
    ]
    assert len(kept.reliability) == 4 and len(kept.risks) == 8
    pairs = 8 * 400
    assert all(0.6 * pairs < one.members.sum() + one.others.sum() <= pairs for one in kept.attacks)
    edges = {one.attack: one.edges.tobytes() for one in kept.attacks}
    assert all(one.edges.tobytes() == edges[one.attack] for one in kept.attacks)


@pytest.mark.behaviour
def test_the_calibration_error_is_that_of_the_records(
    gathered: tuple[list[Result], Evidence],
) -> None:
    """All models have as much test data, so the error over all is close to their mean."""
    found, kept = gathered
    for one in kept.reliability:
        assert one.count.sum() == 8 * 100  # once, though there were two protocols
        mine = (f for f in found if (f.method, f.attack) == (one.method, None))
        measured = next(mine).metrics["ece"].value
        error = abs(one.right - one.confidence).sum() / one.count.sum()
        assert error <= measured + 1e-12 and error > measured - 0.1


def test_rows_hold_what_the_attack_said(gathered: tuple[list[Result], Evidence]) -> None:
    """With all rows kept the AUC of undefended scores is that of all pairs."""
    rows = gathered[1].rows
    assert rows is not None
    assert rows.members.sum() == 100 and len(rows.ids) == 200
    pool = made_up()
    np.testing.assert_array_equal(
        rows.logits["plain"],
        pool.records.logits[rows.models, rows.ids, 0].astype(np.float32),
    )
    np.testing.assert_array_equal(pool.records.use[rows.models, rows.ids] == 1, rows.members)
    kept = next(one for one in gathered[1].attacks if one.attack == "modified_entropy")
    assert roc(kept.scores, rows.members).auc > 0.7  # leak as planted


def test_models_that_a_pool_lacks_are_nan() -> None:
    kept = Gatherer(rows=200)
    rows = controls(DynaNoise(4, 1, 10))[:2]
    few = replace(rows[1], recipe="slow")
    pools = {"plain": made_up(models=10), "slow": made_up(models=10).take_first(8)}
    protocol = replace(adaptive(1), attacks=ATTACKS[:1])
    evaluate_pools(pools, [rows[0], few], protocol, gatherer=kept)
    found = kept.evidence(pool_records(1))
    assert found.rows is not None
    absent = found.rows.models >= 8
    assert 0 < absent.sum() < 200
    np.testing.assert_array_equal(np.isnan(found.rows.logits["slow"]).any(axis=1), absent)
    assert np.isnan(found.attacks[-1].scores[absent]).all()
    assert np.isfinite(found.rows.logits["plain"]).all()


@pytest.mark.parametrize("fewer_first", [False, True])
def test_protocols_on_fewer_records_keep_the_rows_of_those(fewer_first: bool) -> None:
    """As those with chosen inputs do: a row is found by its record's id, not by its place."""
    kept = Gatherer(rows=200)
    everything = made_up().records
    probed = everything.select(records=np.arange(7, 400, 5))
    method, protocol = controls(DynaNoise(4, 1, 10))[0], adaptive(1)
    order = [probed, everything] if fewer_first else [everything, probed]
    for records in order:
        members = records.use == 1
        scores = (1000 * np.arange(records.models)[:, None] + records.ids).astype(np.float64)
        pairs = PoolScores(scores, members, members, np.ones_like(members))
        design = cast("Design", SimpleNamespace(records=records, seed=0))
        attack = AttackScores("loss", pairs, None)
        kept.add_scores(method, protocol, design, attack)
    found = kept.evidence(pool_records(1))
    assert found.rows is not None
    absent = ~np.isin(found.rows.ids, probed.ids)
    assert absent.any() != fewer_first
    expected = 1000 * found.rows.models + found.rows.ids
    for records, sample in zip(order, found.attacks, strict=True):
        there = ~absent if records is probed else np.ones_like(absent)
        np.testing.assert_array_equal(sample.scores[there], expected[there])
        assert np.isnan(sample.scores[~there]).all()


def test_a_thinned_curve_keeps_its_values() -> None:
    generator = np.random.default_rng(0)
    members = generator.random(5000) < 0.5
    curve = roc(generator.normal(members * 1.0), members)
    fpr, tpr = thin_roc(curve)
    assert len(fpr) <= 120 and fpr[-1] == tpr[-1] == 1 and fpr[0] == 1 / curve.non_members
    points = set(zip(curve.fpr.tolist(), curve.tpr.tolist(), strict=True))
    assert points >= set(zip(fpr.tolist(), tpr.tolist(), strict=True))
    for rate in (0.01, 0.1):
        kept = tpr[fpr <= rate].max()
        assert kept == pytest.approx(curve.tpr_at(rate), abs=0.02)


def test_edges_bear_infinite_scores() -> None:
    edges = find_edges(np.array([-np.inf, 0.0, 1.0, np.inf]), ranks=False, bins=2)
    assert np.isfinite(edges).all() and (np.diff(edges) > 0).all()
    assert find_edges(np.array([np.inf]), ranks=False, bins=1).tolist() == [-0.5, 0.5]


def test_reliability_gives_the_calibration_error() -> None:
    generator = np.random.default_rng(1)
    answers = generator.dirichlet([1, 1, 1], 300)
    labels = generator.integers(0, 3, 300)
    found = measure_reliability("x", answers, labels)
    error = abs(found.right - found.confidence).sum() / 300
    assert error == pytest.approx(calibration_error(answers, labels))


def test_success_by_record_of_four_models() -> None:
    """Of two records each: always found, always missed, called members by all models."""
    first = np.array([True, True, False, False])
    members = np.column_stack([first] * 3 + [~first] * 3)
    decisions = members.copy()
    decisions[:, [1, 4]] = ~members[:, [1, 4]]
    decisions[:, [2, 5]] = True
    found = PoolScores(decisions * np.float64(1), decisions, members, np.ones_like(members))
    made = measure_risk(found, np.arange(10, 16), np.arange(6), "adaptive", "none")
    assert made.ids.tolist() == [10, 13, 12, 15, 11, 14]
    assert made.success.tolist() == [1.0, 1.0, 0.5, 0.5, 0.0, 0.0]
    assert made.counts[0] == made.counts[10] == made.counts[-1] == 2 and made.counts.sum() == 6
    # Members are told at 2/3, non-members at 1/3: success 1 has probability (2/3 * 1/3)^2.
    assert made.expected[-1] == pytest.approx(6 * (2 / 9) ** 2)
    assert made.expected.sum() == pytest.approx(6)


def test_equal_records_look_as_expected() -> None:
    """Decisions that are right by a coin of the same bias everywhere."""
    generator = np.random.default_rng(2)
    members = generator.random((16, 4000)) < 0.5
    decisions = members ^ (generator.random(members.shape) < 0.3)
    found = PoolScores(decisions * np.float64(1), decisions, members, np.ones_like(members))
    made = measure_risk(found, np.arange(4000), np.zeros(4000, dtype=np.int64), "adaptive", "none")
    spread = np.sqrt(np.maximum(made.expected, 1))
    assert (abs(made.counts - made.expected) < 4.5 * spread).all()
