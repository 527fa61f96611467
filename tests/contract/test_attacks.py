"""What every registered attack must do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynanoise.attacks.base import Attack
from dynanoise.attacks.classifiers import Learned
from dynanoise.attacks.label_only import Gap
from dynanoise.core import numerics
from dynanoise.core.errors import InputError
from dynanoise.core.observation import Observation
from dynanoise.core.registry import ATTACKS
from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
from dynanoise.metrics.roc import roc
from dynanoise.metrics.success import attack_metrics
from tests import build


@pytest.fixture(params=ATTACKS.names())
def attack(request: pytest.FixtureRequest) -> Attack:
    """Each registered attack with its defaults."""
    component: Attack = ATTACKS.get(request.param)()
    return component


def test_planted_leakage_is_found(attack: Attack) -> None:
    """Members whose true class is 3 logits higher: a wrong sign anywhere gives AUC < 0.5."""
    seen, truth, shadows = build.material(attack, seed=1, leak=3.0)
    fitted = attack.fit(shadows)
    scores = fitted.score(seen)
    found = attack_metrics(scores, fitted.decide(scores), truth)
    # One bit an answer: an AUC of 0.5 + (train accuracy - test accuracy) / 2, and no more.
    assert found["auc"].value > (0.6 if isinstance(attack, Gap) else 0.75)
    assert found["asr"].low is not None and found["asr"].low > 0.5


def test_decisions_follow_the_scores(attack: Attack) -> None:
    """Whoever is called a member scores higher than whoever is not."""
    seen, _, shadows = build.material(attack, seed=2, leak=3.0)
    fitted = attack.fit(shadows)
    scores = fitted.score(seen)
    decisions = fitted.decide(scores)
    assert decisions.any() and not decisions.all()
    assert scores[decisions].min() >= scores[~decisions].max()


def test_without_leakage_the_interval_contains_chance(attack: Attack) -> None:
    """Over 200 targets without a leak the 95% interval of AUC - 0.5 holds 0 at its rate."""
    if isinstance(attack, Learned):
        pytest.skip("200 fits take minutes: `test_learned` has fewer")
    inside = 0
    for seed in range(200):
        seen, truth, shadows = build.material(attack, seed=seed, leak=0.0, count=200)
        auc = roc(attack.fit(shadows).score(seen), truth).auc
        # Under the null the AUC of n members and m non-members has this sd (Mann-Whitney).
        members, others = truth.sum(), (~truth).sum()
        sd = np.sqrt((members + others + 1) / (12 * members * others))
        inside += abs(auc - 0.5) <= 1.96 * sd
    # Binomial(200, 0.95) lies in 178..199 with probability 0.9995.
    assert 178 <= inside <= 199


def test_constant_answers_beside_leaking_shadows_score_chance(attack: Attack) -> None:
    """The target says nothing; labels are the same for members and non-members."""
    if attack.aligned:
        pytest.skip("a record's own shadow models tell records apart: see the next test")
    _, _, shadows = build.material(attack, seed=3, leak=3.0)
    labels = np.tile(np.arange(4), 50)
    truth = np.repeat([True, False], 100)
    seen = observe_logits(np.tile([2.0, 1.0, 0.0, 0.0], (200, 1)), labels)
    seen = replace(
        seen, population=observe_logits(np.tile([2.0, 1.0, 0.0, 0.0], (50, 1)), labels[:50])
    )
    assert roc(attack.fit(shadows).score(seen), truth).auc == 0.5


def test_a_record_s_shadows_do_not_give_the_target_away(attack: Attack) -> None:
    """As sure of every record's class, beside a pool that leaks: AUC 0.5 over 20 pools."""
    if not attack.aligned:
        pytest.skip("shadows of other records: see the test before")
    excess, variance = 0.0, 0.0
    for seed in range(20):
        seen, truth, shadows = build.material(attack, seed=seed, leak=3.0)
        rows = np.log(0.01 + 0.96 * np.eye(4)[seen.labels])[:, None]
        scores = attack.fit(shadows).score(replace(seen, log_probs=rows))
        assert len(np.unique(scores)) > 5  # they differ by record, and still say nothing
        excess += roc(scores, truth).auc - 0.5
        variance += (len(truth) + 1) / (12 * truth.sum() * (~truth).sum())
    assert abs(excess) <= 3.3 * np.sqrt(variance)


def test_models_that_all_say_the_same_score_chance(attack: Attack) -> None:
    seen, truth, shadows = build.material(attack, seed=10, leak=3.0)

    def silent(observed: Observation) -> Observation:
        rows = np.broadcast_to(np.log([0.4, 0.3, 0.2, 0.1]), observed.log_probs.shape)
        nothing = np.zeros_like(observed.labels)
        return replace(observed, log_probs=rows, labels=nothing)

    if seen.population is not None:
        seen = replace(seen, population=silent(seen.population))
    others = []
    for one in shadows.observed:
        known = None if one.population is None else silent(one.population)
        others.append(replace(silent(one), population=known))
    clean = replace(
        shadows.clean,
        logits=np.zeros_like(shadows.clean.logits),
        labels=np.zeros_like(shadows.clean.labels),
    )
    fitted = attack.fit(replace(shadows, observed=tuple(others), asked=clean, positions=None))
    assert roc(fitted.score(silent(seen)), truth).auc == 0.5


def test_permuting_records_permutes_scores(attack: Attack) -> None:
    seen, _, shadows = build.material(attack, seed=4, leak=1.0)
    scores = attack.fit(shadows).score(seen)
    order = np.random.default_rng(0).permutation(len(seen.labels))
    if attack.aligned:
        shadows = build.reordered_shadows(shadows, order)
    moved = attack.fit(shadows).score(build.reordered(seen, order))
    np.testing.assert_allclose(moved, scores[order], rtol=1e-9)


def test_arrays_are_not_written_to(attack: Attack) -> None:
    seen, _, shadows = build.material(attack, seed=5, leak=1.0)

    def frozen(observed: Observation) -> Observation:
        population = None if observed.population is None else frozen(observed.population)
        return replace(
            observed,
            labels=build.read_only(observed.labels),
            ids=build.read_only(observed.ids),
            log_probs=build.read_only(observed.log_probs),
            population=population,
        )

    own = tuple(frozen(shadow) for shadow in shadows.observed)
    read_only = replace(shadows, observed=own, use=build.read_only(shadows.use))
    attack.fit(read_only).score(frozen(seen))


def test_saturated_answers_give_finite_scores(attack: Attack) -> None:
    """Probabilities of exactly 0 and 1, right and wrong."""
    seen, _, shadows = build.material(attack, seed=6, leak=1.0)
    rows = numerics.log_probabilities(np.eye(4)[np.arange(len(seen.labels)) % 4])
    scores = attack.fit(shadows).score(replace(seen, log_probs=rows[:, None]))
    assert np.isfinite(scores).all()


def test_another_number_of_classes_is_refused(attack: Attack) -> None:
    _, _, shadows = build.material(attack, seed=7, leak=1.0)
    with pytest.raises(InputError, match="answers 3 classes, the shadows 4"):
        attack.fit(shadows).score(observe_logits(np.zeros((2, 3)), [0, 1]))


def test_no_records_give_no_scores(attack: Attack) -> None:
    _, _, shadows = build.material(attack, seed=8, leak=1.0)
    fitted = attack.fit(shadows)
    nobody = observe_logits(np.zeros((0, 4)), np.zeros(0, np.int64))
    if attack.aligned:
        with pytest.raises(InputError, match="these shadows answered others"):
            fitted.score(nobody)
        return
    scores = fitted.score(nobody)
    assert scores.shape == fitted.decide(scores).shape == (0,)


def test_aligned_attacks_refuse_other_records_and_other_inputs(attack: Attack) -> None:
    if not attack.aligned:
        pytest.skip("shadows of other records are what this attack learns from")
    seen, _, shadows = build.material(attack, seed=11, leak=1.0)
    fitted = attack.fit(shadows)
    with pytest.raises(InputError, match="these shadows answered others"):
        fitted.score(replace(seen, ids=seen.ids[::-1]))
    with pytest.raises(InputError, match="answered 2 inputs of each record, the shadows 1"):
        fitted.score(replace(seen, log_probs=np.repeat(seen.log_probs, 2, axis=1)))


def test_without_shadow_models(attack: Attack) -> None:
    """An attack that needs none learns nothing from those it gets; others say what they lack."""
    seen, _, shadows = build.material(attack, seed=12, leak=1.0)
    if attack.needs_shadows:
        with pytest.raises(InputError, match="learns from shadow models, and there are none"):
            attack.fit()
        return
    alone, beside = attack.fit(), attack.fit(shadows)
    scores = alone.score(seen)
    np.testing.assert_array_equal(scores, beside.score(seen))
    np.testing.assert_array_equal(alone.decide(scores), beside.decide(scores))


def test_the_order_of_records_tells_nothing(attack: Attack) -> None:
    """An attack that sees members first could score by position; see also the training tests."""
    seen, truth, shadows = build.material(attack, seed=9, leak=0.0)
    scores = attack.fit(shadows).score(seen)
    order = np.argsort(~truth, kind="stable")
    if attack.aligned:
        shadows = build.reordered_shadows(shadows, order)
    first = attack.fit(shadows).score(build.reordered(seen, order))
    np.testing.assert_allclose(np.sort(first), np.sort(scores))


@pytest.mark.parametrize("only", [0, 1, -1])
def test_shadows_of_one_kind_are_refused(attack: Attack, only: int) -> None:
    shadows = observe_shadow_logits(np.zeros((1, 4, 3)), [0, 1, 2, 0], np.full((1, 4), only))
    with pytest.raises(InputError, match="no members or no non-members"):
        attack.fit(shadows)
