"""RMIA: against its definition in probabilities, pair by pair, and how `a` is chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynanoise.attacks.base import FittedAttack
from dynanoise.attacks.pseudo_targets import pseudo_targets
from dynanoise.attacks.rmia import GRID, PSEUDO_TARGETS, Rmia, offline_log_mean, share_exceeded
from dynanoise.attacks.thresholds import auc
from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.numerics import Float64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.registry import ATTACKS
from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
from dynanoise.metrics.roc import roc
from tests.factories.attack_cases import pool_target_and_shadows, reorder


def own(observed: Observation) -> Float64:
    """p_y, [N, A]."""
    p: Float64 = np.exp(observed.log_probs)
    return np.take_along_axis(p, observed.labels[:, None, None], axis=-1)[..., 0]


def by_pairs(attack: Rmia, seen: Observation, shadows: ShadowObservations) -> Float64:
    """The definition: all pairs of a record and a known non-member, in probabilities."""
    population = [model.population for model in (seen, *shadows.observations)]
    target_z, *each_z = (own(model) for model in population if model is not None)
    mean_z = np.mean(each_z, axis=0)
    each_x = np.stack([own(model) for model in shadows.observations])

    def expected(mean_in: Float64 | float, mean_out: Float64) -> Float64:
        if not attack.offline:
            return np.asarray((mean_in + mean_out) / 2)
        assert attack.a is not None
        return np.asarray(((1 + attack.a) * mean_out + 1 - attack.a) / 2)

    ratio_z = target_z / (expected(0.0, mean_z) if attack.offline else mean_z)
    scores = np.zeros(len(seen.labels))
    for n in range(len(scores)):
        use = shadows.use[:, n]
        if (use < 0).all():
            continue
        p = expected(each_x[use == 1, n].mean(axis=0), each_x[use == 0, n].mean(axis=0))
        ratio_x = own(seen)[n] / p
        wins = [ratio > attack.gamma * z for ratio in ratio_x for z in ratio_z.ravel()]
        scores[n] = np.mean(wins)
    return scores


def shares_of(fitted: FittedAttack, scores: Float64) -> Float64:
    """The shares n / count behind scores whose ties are broken by less than half a step."""
    count = fitted.learned.means.comparisons
    shares: Float64 = np.round(scores * count) / count
    assert (abs(scores - shares) < 0.26 / count).all()
    return shares


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("attack", [Rmia(), Rmia(offline=True, a=0.3), Rmia(offline=True, a=1)])
@pytest.mark.parametrize("inputs", [1, 3])
def test_scores_equal_counting_pairs(attack: Rmia, gamma: float, inputs: int) -> None:
    attack = replace(attack, gamma=gamma)
    target, _, shadows = pool_target_and_shadows(1, 2.0, count=80, inputs=inputs)
    use = shadows.use.copy()
    use[:, 3] = -1  # a record without shadow models
    shadows = ShadowObservations(shadows.observations, use, shadows.clean)
    fitted = attack.fit(shadows)
    scores = fitted.score(target)
    expected = by_pairs(attack, target, shadows)
    assert scores[3] == 0 and len(np.unique(expected)) > 10
    np.testing.assert_allclose(shares_of(fitted, scores), expected, rtol=0, atol=1e-12)
    # The decision is about the share, whatever breaks its ties.
    np.testing.assert_array_equal(fitted.decide(scores), expected > fitted.learned.threshold)


def test_ties_are_broken_by_the_ratio() -> None:
    """One known non-member: two shares are possible, and as many scores as ratios."""
    target, _, shadows = pool_target_and_shadows(1, 2.0, count=80)

    def with_one(model: Observation) -> Observation:
        assert model.population is not None
        return replace(model, population=reorder(model.population, np.arange(1)))

    few = replace(shadows, observations=tuple(map(with_one, shadows.observations)))
    fitted = Rmia().fit(few)
    scores = fitted.score(with_one(target))
    slots = shadows.slots
    each = np.stack([own(model)[:, 0] for model in shadows.observations])
    mean = np.concatenate(slots.take(each)).mean(axis=0)
    ratios = own(target)[slots.rows, 0] / mean
    assert len(np.unique(shares_of(fitted, scores))) == 2
    np.testing.assert_array_equal(np.argsort(scores[slots.rows]), np.argsort(ratios))


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=20),
    st.lists(st.integers(-5, 5), min_size=1, max_size=20),
    st.integers(-2, 2),
)
def test_shares_with_ties_equal_counting_pairs(x: list[int], z: list[int], log_gamma: int) -> None:
    """Ratios are whole powers of e, so that many pairs lie exactly at gamma."""
    gamma = float(np.exp(log_gamma))
    assert np.log(gamma) == log_gamma  # else ties would be none
    shares = share_exceeded(np.array(x, float), np.array(z, float), gamma)
    pairs = np.array(x)[:, None] - np.array(z) > log_gamma
    np.testing.assert_array_equal(shares, pairs.mean(axis=1))


def test_a_tie_at_gamma_is_not_exceeded() -> None:
    """Every model says the same of everything: r_x = r_z = 1."""
    shadows = observe_shadow_logits(np.zeros((2, 3, 2)), [0, 1, 0], [[1, 1, 1], [0, 0, 0]])
    population = observe_logits(np.zeros((4, 2)), [0, 0, 1, 1])
    models = tuple(replace(model, population=population) for model in shadows.observations)
    target = replace(shadows.observations[0], population=population)
    for gamma, share in ((1.0, 0.0), (0.99, 1.0)):
        fitted = Rmia(offline=True, a=1, gamma=gamma).fit(replace(shadows, observations=models))
        assert fitted.learned.threshold == share
        assert fitted.score(target).tolist() == [share] * 3


def test_probabilities_that_underflow_are_still_compared() -> None:
    """p_y = e^-800 in the target, e^-900 in the shadows: the ratio is e^100, and z has e^50."""
    shadows = observe_shadow_logits(np.zeros((2, 1, 2)), [0], [[1], [0]])

    def sure(log_p: float) -> Float64:
        return np.array([[[log_p, 0.0]]])

    def seen(of: float, about_known: float) -> Observation:
        population = replace(observe_logits(np.zeros((1, 2)), [0]), log_probs=sure(about_known))
        return replace(shadows.observations[0], log_probs=sure(of), population=population)

    models = tuple(seen(-900, -900) for _ in range(2))
    fitted = Rmia().fit(replace(shadows, observations=models))
    assert shares_of(fitted, fitted.score(seen(-800, -850))).tolist() == [1.0]
    assert shares_of(fitted, fitted.score(seen(-800, -750))).tolist() == [0.0]


def test_the_score_grows_with_the_probability_of_the_class() -> None:
    target, _, shadows = pool_target_and_shadows(2, 1.0, count=80)
    fitted = Rmia().fit(shadows)
    scores = fitted.score(target)
    raised = target.log_probs.copy()
    rows = np.arange(len(target.labels))
    raised[rows, 0, target.labels] *= 0.5
    assert (fitted.score(replace(target, log_probs=raised)) >= scores).all()


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
def test_the_offline_mean(a: float) -> None:
    mean_out = np.array([1e-30, 0.2, 0.9])
    expected = ((1 + a) * mean_out + (1 - a)) / 2
    np.testing.assert_allclose(np.exp(offline_log_mean(np.log(mean_out), a)), expected, rtol=1e-12)


def test_a_is_the_one_of_greatest_mean_auc_on_pseudo_targets() -> None:
    target, _, shadows = pool_target_and_shadows(3, 1.0, shadow_leak=1.0, count=150)
    attack = Rmia(offline=True, seed=5)
    fitted = attack.fit(shadows)
    means = []
    for a in GRID:
        aucs = []
        for played in pseudo_targets(shadows, PSEUDO_TARGETS, seed=5):
            scores = replace(attack, a=a).fit(played.shadows).score(played.target)
            aucs.append(roc(scores[played.scored], played.members[played.scored]).auc)
        means.append(np.mean(aucs))
    assert fitted.learned.a == GRID[int(np.argmax(means))]
    assert max(means) - min(means) > 0.005  # there is something to choose
    fixed = replace(attack, a=fitted.learned.a).fit(shadows)
    np.testing.assert_array_equal(fixed.score(target), fitted.score(target))


def test_offline_uses_no_in_model() -> None:
    target, _, shadows = pool_target_and_shadows(4, 1.0, count=80)
    changed = []
    for model, use in zip(shadows.observations, shadows.use, strict=True):
        rows = model.log_probs.copy()
        rows[use != 0] = np.log(0.25)
        changed.append(replace(model, log_probs=rows))
    fitted = [
        Rmia(offline=True, a=0.3).fit(some)
        for some in (shadows, replace(shadows, observations=tuple(changed)))
    ]
    np.testing.assert_array_equal(fitted[0].score(target), fitted[1].score(target))


def test_the_threshold_is_the_score_of_a_ratio_of_one() -> None:
    """Halves of the shadows say 0.2 and 0.6 of z: r_z is 0.5 and 1.5, and 1 / 0.5 > 1.9."""
    shadows = observe_shadow_logits(np.zeros((2, 1, 2)), [0], [[1], [0]])
    models = tuple(
        replace(model, population=observe_logits(np.log([[p, 1 - p]]), [0]))
        for model, p in zip(shadows.observations, (0.2, 0.6), strict=True)
    )
    for gamma, share in ((0.5, 1.0), (1.9, 0.5), (2.1, 0.0)):
        fitted = Rmia(gamma=gamma).fit(replace(shadows, observations=models))
        assert fitted.learned.threshold == share
        # One pair is compared, so the shares are 0 and 1.
        assert fitted.decide(np.floor([share, share + 1])).tolist() == [False, True]


def test_one_model_of_either_kind_is_too_few_to_choose_a() -> None:
    shadows = observe_shadow_logits(np.zeros((2, 3, 2)), [0, 1, 0], [[1, 1, 1], [0, 0, 0]])
    with pytest.raises(TooFewRecordsError, match="say what a is"):
        Rmia(offline=True).fit(shadows)


def test_a_population_is_needed_and_the_same_for_all() -> None:
    target, _, shadows = pool_target_and_shadows(5, 1.0, count=40)
    fitted = Rmia().fit(shadows)
    with pytest.raises(InputError, match=r"none were passed\. Give `Observation\.population`"):
        fitted.score(replace(target, population=None))
    assert target.population is not None
    fewer = reorder(target.population, np.arange(50))
    with pytest.raises(InputError, match="about the same population"):
        fitted.score(replace(target, population=fewer))
    moved = reorder(target.population, np.arange(100)[::-1])
    with pytest.raises(InputError, match="about the same population"):
        fitted.score(replace(target, population=moved))

    def with_first(population: Observation | None) -> ShadowObservations:
        first = replace(shadows.observations[0], population=population)
        return replace(shadows, observations=(first, *shadows.observations[1:]))

    with pytest.raises(InputError, match="none were passed"):
        Rmia().fit(with_first(None))
    with pytest.raises(InputError, match="queried with different known non-members"):
        Rmia().fit(with_first(fewer))


@pytest.mark.parametrize("a", [-0.1, 1.1, float("nan")])
def test_a_out_of_range_is_refused(a: float) -> None:
    with pytest.raises(InputError, match="Use a number from 0 to 1"):
        Rmia(offline=True, a=a)


@pytest.mark.parametrize("gamma", [0.0, -1.0, float("nan"), float("inf")])
def test_gamma_out_of_range_is_refused(gamma: float) -> None:
    with pytest.raises(InputError, match="Use a number above 0"):
        Rmia(gamma=gamma)


def test_names_and_the_area_under_the_curve() -> None:
    assert ATTACKS.build("rmia(offline=True, gamma=1.5)") == Rmia(offline=True, gamma=1.5)
    generator = np.random.default_rng(0)
    scores, members = generator.integers(0, 5, 60).astype(float), generator.random(60) < 0.4
    assert auc(scores, members) == pytest.approx(roc(scores, members).auc)
    assert auc(scores, np.ones(60, bool)) == 0.5
