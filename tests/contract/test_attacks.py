"""Contract of every registered attack: a planted leak is found, without one it is at chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from dynanoise.attacks.base import Attack
from dynanoise.attacks.label_only import Gap
from dynanoise.core import numerics
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import ATTACKS
from dynanoise.evaluation.responses import (
    observe_logits,
    observe_shadow_logits,
    observe_undefended,
)
from dynanoise.metrics.roc import roc
from dynanoise.metrics.success import attack_metrics
from tests.factories.attack_cases import (
    attack_case,
    pool_case,
    pool_outputs,
    reorder,
    reorder_shadows,
    with_inputs,
)
from tests.factories.outputs import read_only_copy

VARIANTS = (
    "label_only(calibrate=clean)",
    "learned(draws=1)",
    "scale_aligned(attack=label_only)",
    "threshold(statistic=hinge)",
)
"""Parameters that choose another formula, beside the defaults of every registered attack."""

Case = tuple[Observation, Bools, ShadowObservations]


OF_FEW = {"quantile_regression": "quantile_regression(least=50)"}
"""Attacks that want more known non-members by default than the cases have."""

ON_RECORDS = [
    OF_FEW.get(name, name) for name in ATTACKS.names() if not ATTACKS.get(name).needs_chosen_inputs
]
"""Attacks on the records themselves; those with chosen inputs are tested in tests/probing."""


@pytest.fixture(params=(*ON_RECORDS, *VARIANTS))
def attack(request: pytest.FixtureRequest) -> Attack:
    """Each registered attack with its defaults, and some with other parameters."""
    component: Attack = ATTACKS.build(request.param)
    return component


@cache
def pool_with_population(seed: int) -> Case:
    """A target that leaks 3 and shadow models on the same easy and hard records, 10 models."""
    target, truth, shadows = pool_case(seed)
    population = observe_undefended(pool_outputs(1000 + seed, leak=0.0, count=100)).observations
    target, *others = (
        replace(model, population=reference)
        for model, reference in zip((target, *shadows.observations), population, strict=True)
    )
    return with_inputs(target), truth, replace(shadows, observations=tuple(others))


def of_its_kind(attack: Attack) -> Callable[[int], Case]:
    """Shadow models on records of their own, or for aligned attacks on the target's; leak 3."""
    return lambda seed: attack_case(attack, seed, leak=3.0)


def assert_leak_found(scores: Float64, decisions: Bools, truth: Bools, auc: float) -> None:
    """The AUC is above a bound, and the interval of balanced accuracy above chance."""
    metrics = attack_metrics(scores, decisions, truth)
    assert metrics["auc"].value > auc
    assert metrics["asr"].low is not None and metrics["asr"].low > 0.5


@pytest.mark.parametrize("same_records", [False, True])
def test_planted_leakage_is_found(attack: Attack, same_records: bool) -> None:
    """Members whose true class is 3 logits higher; a wrong sign fails."""
    target, truth, shadows = (pool_with_population if same_records else of_its_kind(attack))(1)
    fitted = attack.fit(shadows)
    scores = fitted.score(target)
    # One bit an output: an AUC of 0.5 + (train accuracy - test accuracy) / 2, and no more.
    least = 0.65 if same_records else 0.6 if isinstance(attack, Gap) else 0.75
    assert_leak_found(scores, fitted.decide(scores), truth, least)
    with pytest.raises(AssertionError):
        assert_leak_found(-scores, ~fitted.decide(scores), truth, least)


@pytest.mark.parametrize("same_records", [False, True])
def test_decisions_follow_the_scores(attack: Attack, same_records: bool) -> None:
    """A record called a member scores no lower than a record called a non-member."""
    target, _, shadows = (pool_with_population if same_records else of_its_kind(attack))(2)
    fitted = attack.fit(shadows)
    scores = fitted.score(target)
    decisions = fitted.decide(scores)
    assert decisions.any() and not decisions.all()
    assert scores[decisions].min() >= scores[~decisions].max()


@pytest.mark.behaviour
def test_without_leakage_the_interval_contains_chance(attack: Attack) -> None:
    """Over 200 targets without a leak the 95% interval of AUC - 0.5 holds 0 at its rate."""
    if attack.title in ("Learned", "Quantile regression"):
        pytest.skip("200 fits take long: the attack's own tests have fewer")
    inside = 0
    for seed in range(200):
        target, truth, shadows = attack_case(attack, seed=seed, leak=0.0, count=200)
        auc = roc(attack.fit(shadows).score(target), truth).auc
        # Under the null the AUC of n members and m non-members has this sd (Mann-Whitney).
        members, others = truth.sum(), (~truth).sum()
        sd = np.sqrt((members + others + 1) / (12 * members * others))
        inside += abs(auc - 0.5) <= 1.96 * sd
    # Binomial(200, 0.95) lies in 178..199 with probability 0.9995.
    assert 178 <= inside <= 199


def test_constant_outputs_beside_leaking_shadows_score_chance(attack: Attack) -> None:
    """The target's output is the same for all; so are labels of members and non-members."""
    if attack.aligned:
        pytest.skip("a record's own shadow models tell records apart: see the next tests")
    _, _, shadows = attack_case(attack, seed=3, leak=3.0)
    labels = np.tile(np.arange(4), 50)
    truth = np.repeat([True, False], 100)
    rows = np.tile([2.0, 1.0, 0.0, 0.0], (200, 1))
    target = with_inputs(
        replace(observe_logits(rows, labels), population=observe_logits(rows[:50], labels[:50]))
    )
    assert roc(attack.fit(shadows).score(target), truth).auc == 0.5


@pytest.mark.behaviour
def test_a_record_s_shadows_do_not_give_the_target_away(attack: Attack) -> None:
    """Equally sure of every record's class, beside a pool that leaks: AUC 0.5 over 20 pools."""
    if not attack.aligned:
        pytest.skip("shadows of other records: see the test before")
    excess, variance = 0.0, 0.0
    for seed in range(20):
        target, truth, shadows = attack_case(attack, seed=seed, leak=3.0)
        rows = np.log(0.01 + 0.96 * np.eye(4)[target.labels])[:, None]
        scores = attack.fit(shadows).score(replace(target, log_probs=rows))
        assert len(np.unique(scores)) > 5  # they differ by record, and still are at chance
        excess += roc(scores, truth).auc - 0.5
        variance += (len(truth) + 1) / (12 * truth.sum() * (~truth).sum())
    assert abs(excess) <= 3.3 * np.sqrt(variance)


@pytest.mark.behaviour
def test_a_target_with_one_output_a_class_scores_chance(attack: Attack) -> None:
    """The same output for every record of a class, beside shadow models that leak."""
    excess, variance = 0.0, 0.0
    for seed in range(10):
        target, truth, shadows = pool_with_population(100 + seed)
        rows = np.log(0.1 + 0.6 * np.eye(4))[target.labels][:, None]
        constant = replace(target, log_probs=rows)
        excess += roc(attack.fit(shadows).score(constant), truth).auc - 0.5
        # The variance of the AUC of random scores (Mann-Whitney), at most: without ties.
        variance += (len(truth) + 1) / (12 * truth.sum() * (~truth).sum())
    assert abs(excess) < 3.3 * np.sqrt(variance)


@pytest.mark.parametrize("same_records", [False, True])
def test_models_with_one_output_score_chance(attack: Attack, same_records: bool) -> None:
    """Neither outputs, defended or not, nor labels differ by record."""
    target, truth, shadows = (pool_with_population if same_records else of_its_kind(attack))(10)

    def constant(observed: Observation) -> Observation:
        rows = np.broadcast_to(np.log([0.4, 0.3, 0.2, 0.1]), observed.log_probs.shape)
        labels = np.zeros_like(observed.labels)
        population = None if observed.population is None else constant(observed.population)
        return replace(observed, log_probs=rows, labels=labels, population=population)

    clean = replace(
        shadows.clean,
        logits=np.zeros_like(shadows.clean.logits),
        labels=np.zeros_like(shadows.clean.labels),
    )
    models = tuple(map(constant, shadows.observations))
    fitted = attack.fit(replace(shadows, observations=models, outputs=clean, positions=None))
    assert roc(fitted.score(constant(target)), truth).auc == 0.5


@pytest.mark.parametrize(("same_records", "rtol", "atol"), [(False, 1e-9, 0), (True, 1e-3, 1e-3)])
def test_permuting_records_permutes_scores(
    attack: Attack, same_records: bool, rtol: float, atol: float
) -> None:
    """The larger tolerance is for lbfgs, which stops at 1e-4."""
    if same_records:
        target, _, shadows = pool_with_population(4)
    else:
        target, _, shadows = attack_case(attack, seed=4, leak=1.0)
    scores = attack.fit(shadows).score(target)
    order = np.random.default_rng(0).permutation(len(target.labels))
    if attack.aligned or same_records:
        shadows = reorder_shadows(shadows, order)
    moved = attack.fit(shadows).score(reorder(target, order))
    np.testing.assert_allclose(moved, scores[order], rtol=rtol, atol=atol)


@pytest.mark.parametrize("same_records", [False, True])
def test_arrays_are_not_written_to(attack: Attack, same_records: bool) -> None:
    target, _, shadows = (pool_with_population if same_records else of_its_kind(attack))(5)

    def frozen(observed: Observation) -> Observation:
        population = None if observed.population is None else frozen(observed.population)
        return replace(
            observed,
            labels=read_only_copy(observed.labels),
            ids=read_only_copy(observed.ids),
            log_probs=read_only_copy(observed.log_probs),
            population=population,
        )

    models = tuple(frozen(shadow) for shadow in shadows.observations)
    read_only = replace(shadows, observations=models, use=read_only_copy(shadows.use))
    attack.fit(read_only).score(frozen(target))


def one_hot(observed: Observation) -> npt.NDArray[np.float64]:
    """Probabilities of exactly 0 and 1, right and wrong."""
    count = len(observed.labels)
    return numerics.log_probabilities(np.eye(4)[np.arange(count) % 4])[:, None]


@pytest.mark.parametrize("same_records", [False, True])
def test_saturated_outputs_give_finite_scores(attack: Attack, same_records: bool) -> None:
    """Saturated are the target's outputs, and then those of the shadow models as well."""
    target, _, shadows = (pool_with_population if same_records else of_its_kind(attack))(6)
    saturated = tuple(
        replace(model, log_probs=np.where(model.log_probs > np.log(0.5), 0.0, -708.0))
        for model in shadows.observations
    )
    for models in (shadows.observations, saturated):
        fitted = attack.fit(replace(shadows, observations=models))
        assert np.isfinite(fitted.score(replace(target, log_probs=one_hot(target)))).all()


def test_another_number_of_classes_is_refused(attack: Attack) -> None:
    _, _, shadows = attack_case(attack, seed=7, leak=1.0)
    with pytest.raises(InputError, match="outputs have 3 classes, those of the shadow models 4"):
        attack.fit(shadows).score(observe_logits(np.zeros((2, 3)), [0, 1]))


def test_no_records_give_no_scores(attack: Attack) -> None:
    _, _, shadows = attack_case(attack, seed=8, leak=1.0)
    fitted = attack.fit(shadows)
    empty = observe_logits(np.zeros((0, 4)), np.zeros(0, np.int64))
    if attack.aligned:
        with pytest.raises(InputError, match="queried with other records"):
            fitted.score(empty)
        return
    scores = fitted.score(empty)
    assert scores.shape == fitted.decide(scores).shape == (0,)


def test_aligned_attacks_refuse_other_records_and_other_inputs(attack: Attack) -> None:
    if not attack.aligned:
        pytest.skip("shadows of other records are what this attack learns from")
    target, _, shadows = attack_case(attack, seed=11, leak=1.0)
    fitted = attack.fit(shadows)
    with pytest.raises(InputError, match="queried with other records"):
        fitted.score(replace(target, ids=target.ids[::-1]))
    with pytest.raises(InputError, match="2 inputs of each record, the shadow models with 1"):
        fitted.score(replace(target, log_probs=np.repeat(target.log_probs, 2, axis=1)))


def test_without_shadow_models(attack: Attack) -> None:
    """An attack that needs none learns nothing from those it gets; others name what they lack."""
    target, _, shadows = attack_case(attack, seed=12, leak=1.0)
    if attack.needs_shadows:
        with pytest.raises(InputError, match="needs shadow models, and none were passed"):
            attack.fit()
        return
    alone, beside = attack.fit(), attack.fit(shadows)
    scores = alone.score(target)
    np.testing.assert_array_equal(scores, beside.score(target))
    np.testing.assert_array_equal(alone.decide(scores), beside.decide(scores))


def test_the_order_of_records_tells_nothing(attack: Attack) -> None:
    """An attack that sees members first could score by position; see also the training tests."""
    target, truth, shadows = attack_case(attack, seed=9, leak=0.0)
    scores = attack.fit(shadows).score(target)
    order = np.argsort(~truth, kind="stable")
    if attack.aligned:
        shadows = reorder_shadows(shadows, order)
    first = attack.fit(shadows).score(reorder(target, order))
    np.testing.assert_allclose(np.sort(first), np.sort(scores))


@pytest.mark.parametrize("only", [0, 1, -1])
def test_shadows_of_one_kind_are_refused(attack: Attack, only: int) -> None:
    shadows = observe_shadow_logits(np.zeros((1, 4, 3)), [0, 1, 2, 0], np.full((1, 4), only))
    with pytest.raises(InputError, match="no members or no non-members"):
        attack.fit(shadows)


def test_held_out_models_are_scored_like_the_target(attack: Attack) -> None:
    """Attacks that estimate their own strength do so within sampling error."""
    estimates, aucs = [], []
    for seed in range(4):
        target, truth, shadows = pool_with_population(200 + seed)
        fitted = attack.fit(shadows)
        held_out = fitted.held_out()
        if held_out is None:
            pytest.skip("keeps nothing apart")
        estimates.append(roc(held_out.scores, held_out.members).auc)
        aucs.append(roc(fitted.score(target), truth).auc)
    assert abs(np.mean(estimates) - np.mean(aucs)) < 0.05
