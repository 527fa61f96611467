"""What every registered attack must do beside shadow models of the same records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynanoise.attacks.base import Attack
from dynanoise.core import numerics
from dynanoise.core.errors import InputError
from dynanoise.core.registry import ATTACKS
from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
from dynanoise.metrics.roc import roc
from dynanoise.metrics.success import attack_metrics
from tests import build
from tests.build_pool import pool_case

VARIANTS = (
    "label_only(calibrate=clean)",
    "learned(draws=1)",
    "scale_aligned(attack=label_only)",
    "threshold(statistic=hinge)",
)


WITHOUT_POPULATION = [
    name for name in (*ATTACKS.names(), *VARIANTS) if not ATTACKS.build(name).needs_population
]
"""`test_attacks` gives the others the known non-members that they need."""


@pytest.fixture(params=WITHOUT_POPULATION)
def attack(request: pytest.FixtureRequest) -> Attack:
    """Each registered attack that compares shadow models alone, and some with other parameters."""
    built: Attack = ATTACKS.build(request.param)
    return built


def test_planted_leakage_is_found(attack: Attack) -> None:
    """Members whose true class is 3 logits higher: a wrong sign anywhere gives AUC < 0.5."""
    seen, truth, shadows = pool_case(1)
    fitted = attack.fit(shadows)
    scores = fitted.score(seen)
    decisions = fitted.decide(scores)
    assert roc(scores, truth).auc > 0.65
    assert decisions.any() and not decisions.all()
    assert scores[decisions].min() >= scores[~decisions].max()
    low = attack_metrics(scores, decisions, truth)["asr"].low
    assert low is not None and low > 0.5


def test_a_target_that_says_nothing_scores_chance(attack: Attack) -> None:
    """The same answer to every record of a class, beside shadow models that leak."""
    excess, variance = 0.0, 0.0
    for seed in range(10):
        seen, truth, shadows = pool_case(100 + seed)
        constant = replace(seen, log_probs=np.log(0.1 + 0.6 * np.eye(4))[seen.labels][:, None])
        excess += roc(attack.fit(shadows).score(constant), truth).auc - 0.5
        # The variance of an AUC whose scores say nothing (Mann-Whitney), at most: without ties.
        variance += (len(truth) + 1) / (12 * truth.sum() * (~truth).sum())
    assert abs(excess) < 3.3 * np.sqrt(variance)


def test_models_that_all_say_the_same_score_chance(attack: Attack) -> None:
    """Neither answers nor undefended outputs nor labels differ by record."""
    _, truth, leaking = pool_case(2)
    same = np.tile([2.0, 1.0, 0.0, -1.0], (len(truth), 1))
    labels = np.zeros(len(truth), dtype=np.int64)
    shadows = observe_shadow_logits(np.stack([same] * len(leaking.use)), labels, leaking.use)
    assert roc(attack.fit(shadows).score(observe_logits(same, labels)), truth).auc == 0.5


def test_permuting_records_permutes_scores(attack: Attack) -> None:
    seen, _, shadows = pool_case(4)
    order = np.random.default_rng(0).permutation(len(seen.labels))
    moved = attack.fit(build.reordered_shadows(shadows, order)).score(build.reordered(seen, order))
    expected = attack.fit(shadows).score(seen)[order]
    np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-3)  # lbfgs stops at 1e-4


def test_arrays_are_not_written_to(attack: Attack) -> None:
    seen, _, shadows = pool_case(5)
    own = tuple(
        replace(shadow, log_probs=build.read_only(shadow.log_probs)) for shadow in shadows.observed
    )
    frozen = replace(shadows, observed=own, use=build.read_only(shadows.use))
    attack.fit(frozen).score(replace(seen, log_probs=build.read_only(seen.log_probs)))


def test_saturated_answers_give_finite_scores(attack: Attack) -> None:
    """Probabilities of exactly 0 and 1, right and wrong, from target and shadow models."""
    seen, _, shadows = pool_case(6)
    rows = numerics.log_probabilities(np.eye(4)[np.arange(len(seen.labels)) % 4])[:, None]
    saturated = tuple(
        replace(one, log_probs=np.where(one.log_probs > np.log(0.5), 0.0, -708.0))
        for one in shadows.observed
    )
    fitted = attack.fit(replace(shadows, observed=saturated))
    assert np.isfinite(fitted.score(replace(seen, log_probs=rows))).all()
    assert np.isfinite(attack.fit(shadows).score(replace(seen, log_probs=rows))).all()


def test_aligned_attacks_refuse_other_records(attack: Attack) -> None:
    if not attack.aligned:
        pytest.skip("learns from shadow models of other records")
    seen, _, shadows = pool_case(7)
    with pytest.raises(InputError, match="these shadows answered others"):
        attack.fit(shadows).score(replace(seen, ids=seen.ids[::-1]))


def test_what_is_held_out_is_scored_as_the_target_is(attack: Attack) -> None:
    """Attacks that estimate their own strength do so within sampling error."""
    estimates, found = [], []
    for seed in range(4):
        seen, truth, shadows = pool_case(200 + seed)
        fitted = attack.fit(shadows)
        apart = fitted.held_out()
        if apart is None:
            pytest.skip("keeps nothing apart")
        estimates.append(roc(apart.scores, apart.members).auc)
        found.append(roc(fitted.score(seen), truth).auc)
    assert abs(np.mean(estimates) - np.mean(found)) < 0.05
