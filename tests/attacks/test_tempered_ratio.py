"""Tempered ratios against their definition, and the choice of temperature and scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from dynanoise.attacks.tempered_ratio import MULTIPLES, TemperedRatio
from dynanoise.attacks.thresholds import auc
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Float64, Int8
from dynanoise.core.observation import ShadowObservations
from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits

K, N, MODELS = 5, 400, 8


def pool(seed: int, gain: float = 2.0, scales: Float64 | None = None) -> tuple[Float64, Int8]:
    """Logits [MODELS + 1, N, K] of label 0, and membership, half of the shadow models each."""
    generator = np.random.default_rng(seed)
    halves = np.arange(MODELS) < MODELS // 2
    use = np.stack([generator.permutation(halves) for _ in range(N)], axis=1)
    use = np.concatenate([use, generator.random((1, N)) < 0.5]).astype(np.int8)
    logits = generator.normal(0, 1, (MODELS + 1, N, K)) + generator.normal(0, 2, (N, K))
    logits[..., 0] += gain * use
    return logits * (np.ones(MODELS + 1) if scales is None else scales)[:, None, None], use


def observed(logits: Float64, use: Int8) -> ShadowObservations:
    return observe_shadow_logits(logits[:-1], np.zeros(N, dtype=int), use[:-1])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("scaled", [False, True])
def test_the_definition(temperature: float, scaled: bool) -> None:
    """BASE, s = ln p_y - (logsumexp over shadow models of ln p_y - ln K), record by record."""
    logits, use = pool(1)
    attack = TemperedRatio(multiple=temperature) if scaled else TemperedRatio(temperature)
    scores = attack.fit(observed(logits, use)).score(observe_logits(logits[-1], np.zeros(N, int)))
    scale = np.ones(MODELS + 1)
    if scaled:
        phi = logits[..., 0] - special.logsumexp(logits[..., 1:], axis=-1)
        scale = np.abs(phi).mean(axis=1)
    for record in (0, 7, 399):
        tempered = logits[:, record] / (temperature * scale)[:, None]
        log_p = tempered[:, 0] - special.logsumexp(tempered, axis=-1)
        expected = log_p[-1] - (special.logsumexp(log_p[:-1]) - np.log(MODELS))
        assert scores[record] == pytest.approx(expected, abs=1e-9)


def test_the_scale_comes_from_the_population_where_there_is_one() -> None:
    logits, use = pool(2)
    shadows, labels = observed(logits, use), np.zeros(N, int)
    attack = TemperedRatio(multiple=2.0)
    others = observe_logits(3 * logits[0], labels)
    known = tuple(replace(model, population=others) for model in shadows.observations)
    with_population = replace(shadows, observations=known)
    target = replace(observe_logits(logits[-1], labels), population=others)
    scores = attack.fit(with_population).score(target)
    phi = 3 * logits[0, :, 0] - special.logsumexp(3 * logits[0, :, 1:], axis=-1)
    same = TemperedRatio(2.0 * float(np.abs(phi).mean()))
    np.testing.assert_allclose(scores, same.fit(shadows).score(target), atol=1e-9)


def test_the_multiple_is_chosen_by_what_it_reaches() -> None:
    """As good on the target, within a little, as the best choice in hindsight."""
    scales = np.random.default_rng(0).uniform(0.3, 3, MODELS + 1)
    for seed, some in ((3, None), (4, scales), (5, 4 * np.ones(MODELS + 1))):
        logits, use = pool(seed, scales=some)
        shadows, target = observed(logits, use), observe_logits(logits[-1], np.zeros(N, int))
        members = use[-1] == 1
        each = [TemperedRatio(multiple=multiple).fit(shadows) for multiple in MULTIPLES]
        reached = [auc(fitted.score(target), members) for fitted in each]
        fitted = TemperedRatio().fit(shadows)
        assert auc(fitted.score(target), members) > max(reached) - 0.02
        assert max(reached) > min(reached) + 0.02, reached
        settled = fitted.attack.settle(fitted.learned)
        assert settled == TemperedRatio(multiple=fitted.learned.multiple)
        np.testing.assert_array_equal(settled.fit(shadows).score(target), fitted.score(target))


def test_records_without_shadow_models_score_0() -> None:
    logits, use = pool(6)
    hidden = use[:-1].copy()
    hidden[:, :5] = -1
    shadows = observe_shadow_logits(logits[:-1], np.zeros(N, dtype=int), hidden)
    scores = TemperedRatio().fit(shadows).score(observe_logits(logits[-1], np.zeros(N, int)))
    assert (scores[:5] == 0).all() and (scores[5:] != 0).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.inf, np.nan])
def test_temperatures_out_of_range_are_refused(temperature: float) -> None:
    with pytest.raises(InputError, match="Use a number above 0"):
        TemperedRatio(temperature)
    with pytest.raises(InputError, match="Use a number above 0"):
        TemperedRatio(multiple=temperature)


def test_a_temperature_for_all_and_a_multiple_exclude_each_other() -> None:
    with pytest.raises(InputError, match="Both the temperature"):
        TemperedRatio(1.0, 0.3)
