"""Leave-one-out over a pool: what the attacker learns from, and what it must not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dynanoise.attacks.base import HeldOut
from dynanoise.attacks.thresholds import auc
from dynanoise.benchmark.presets import controls
from dynanoise.core.defense import Defense, Method, Noise
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.outputs import Pool
from dynanoise.core.result import ThreatModel
from dynanoise.core.seeding import derive
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import Temperature, undefended
from dynanoise.evaluation.engine import MeasurementCache
from dynanoise.evaluation.protocols import adaptive
from dynanoise.evaluation.responses import NoiseSource
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.evaluation.trial import (
    AttackScores,
    ByPerson,
    Trial,
    attack_trials,
    to_common_scale,
)
from dynanoise.metrics.bootstrap import PoolScores, bootstrap, resample
from dynanoise.metrics.groups import by_person
from dynanoise.metrics.midput import trade_off
from dynanoise.metrics.success import Success
from dynanoise.noise.fresh import Fresh
from tests.factories.evaluations import ATTACKS, by_name, evaluate_pools, made_up


def noise(model: int, role: str) -> NoiseSource:
    def source(purpose: str) -> Noise:
        return Fresh(derive(0, role, model, purpose))

    return source


def threat(queries: int = 1) -> ThreatModel:
    return adaptive(queries).threat


def trials(pool: Pool, defenses: Sequence[Defense], queries: int = 1) -> list[Trial]:
    return list(ShadowPool(pool).trials(defenses, threat(queries), noise))


def success(pool: Pool, defense: Temperature | DynaNoise, queries: int = 1) -> dict[str, float]:
    fitted = [defense.fit(pool.view(model)) for model in range(pool.models)]
    return {
        attack.name: bootstrap(attack.scores, 0, 20).point["auc"]
        for attack in attack_trials(trials(pool, fitted, queries), ATTACKS)
    }


def test_planted_leakage_is_found_and_temperature_does_not_hide_it() -> None:
    pool = made_up()
    plain, cooled = success(pool, undefended()), success(pool, Temperature(50))
    assert plain["modified_entropy"] > 0.75 and plain["strongest"] > 0.75
    assert cooled == pytest.approx(plain, abs=1e-9)


@pytest.mark.behaviour
def test_repeats_average_fresh_noise_away() -> None:
    pool = made_up()
    once, often = (success(pool, DynaNoise(4.0, 1.0, 10.0), q)["strongest"] for q in (1, 256))
    plain = success(pool, undefended())["strongest"]
    assert once < plain - 0.05
    assert often == pytest.approx(plain, abs=0.02)


def test_a_target_with_constant_predictions_cannot_be_told_from_its_shadows() -> None:
    """Constant predictions of the target beside shadow models that leak: exactly chance."""
    silent = []
    for trial in trials(made_up(), [undefended()] * 8):
        constant = np.full_like(trial.target.log_probs, np.log(0.25))
        silent.append(trial._replace(target=replace(trial.target, log_probs=constant)))
    for attack in attack_trials(silent, ("confidence", "modified_entropy")):
        auc = bootstrap(attack.scores, 0, 5).point["auc"]
        assert auc == pytest.approx(0.5, abs=0.04), attack.name


def test_every_example_has_as_many_in_as_out_shadows() -> None:
    pool = made_up(models=9)
    for target, trial in enumerate(trials(pool, [undefended()] * pool.models)):
        use = trial.shadows.use
        inside, outside = (use == 1).sum(axis=0), (use == 0).sum(axis=0)
        np.testing.assert_array_equal(inside, outside)
        assert len(set(inside.tolist()) - {0}) == 1
        # The records without shadow models say nothing about the target.
        kept = inside > 0
        np.testing.assert_array_equal(kept, trial.scored)
        members = pool.records.use[target]
        assert abs(members[kept].mean() - members[~kept].mean()) < 0.25


def test_shadows_draw_their_own_noise() -> None:
    first, second, *_ = trials(made_up(), [DynaNoise(0.3, 2, 10)] * 8)
    # The first shadow model of the second trial is the target of the first.
    shadow = second.shadows.observations[0]
    assert not np.allclose(first.target.log_probs, shadow.log_probs)
    assert first.target.population is not None and len(first.target.population.labels) == 100


def test_the_truth_is_not_used() -> None:
    """With the target's membership replaced its scores and thresholds stay as they were."""
    pool = made_up()
    flipped = pool.records.use.copy()
    flipped[0] = 1 - flipped[0]
    other = replace(pool, records=replace(pool.records, use=flipped))
    first, second = (
        next(attack_trials(trials(p, [undefended()] * 8), ATTACKS)) for p in (pool, other)
    )
    np.testing.assert_array_equal(first.scores.scores[0], second.scores.scores[0])
    np.testing.assert_array_equal(first.scores.decisions[0], second.scores.decisions[0])
    assert first.expected is not None and second.expected is not None
    assert first.expected[0] == second.expected[0]


def test_a_repeatable_prediction_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    predict = Temperature.__call__

    def counted(self: Temperature, *arguments: object) -> object:
        calls.append(1)
        return predict(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Temperature, "__call__", counted)
    pool = made_up()
    often = trials(pool, [Temperature(10)] * 8, 256)
    assert len(calls) == 8 * 2  # of each model examples and population
    once = trials(pool, [Temperature(10)] * 8)
    np.testing.assert_array_equal(often[0].target.log_probs, once[0].target.log_probs)


@pytest.mark.behaviour
def test_repeatable_predictions_are_measured_once_for_all_budgets() -> None:
    pools, rows, measurements = (
        {"plain": made_up()},
        controls(DynaNoise(4, 1, 10)),
        MeasurementCache(),
    )
    steps: list[str] = []
    protocols = [replace(adaptive(q), attacks=ATTACKS) for q in (1, 4)]
    shared: dict[str, Any] = {"measurements": measurements}
    evaluate_pools(pools, rows, protocols[0], **shared)
    assert len(measurements._finished) == 2  # none and temperature
    known = evaluate_pools(pools, rows, protocols[1], progress=steps.append, **shared)
    anew = evaluate_pools(pools, rows, protocols[1])
    assert [(r.method, r.attack, r.metrics) for r in known] == [
        (r.method, r.attack, r.metrics) for r in anew
    ]
    assert len(steps) == len(known)
    replaced = replace(protocols[0], threat=replace(protocols[0].threat, knows_defense=False))
    other = evaluate_pools(pools, rows[:2], replaced, **shared)
    unaware = evaluate_pools(pools, rows[:2], replaced)
    assert [r.metrics for r in other] == [r.metrics for r in unaware]


@pytest.mark.parametrize("persons", [None, np.arange(400) // 2])
def test_midput_draws_the_same_models_for_attacks_and_accuracy(persons: Int64 | None) -> None:
    """Each model's gain in privacy is its loss of accuracy, so MIDPUT is 0 in every replicate."""
    members = np.random.default_rng(0).random((8, 200))[:, np.arange(400) // 2] < 0.5
    found = np.arange(8) < 3  # the attack is right about these models, wrong about the others
    design = ShadowPool(made_up(), persons=persons)

    def success(right: Bools) -> dict[str, Success]:
        decisions = members == right[:, None]
        scores = PoolScores(decisions.astype(np.float64), decisions, members, members | True)
        by = None if persons is None else ByPerson(by_person(scores, persons, np.full(8, 0.5)))
        attack = AttackScores("loss", scores, None, persons=by)
        return dict.fromkeys(("loss", "strongest"), design.metrics(attack, ()))

    before, after = success(found), success(found & False)
    metrics = trade_off(before, after, found.astype(np.float64), np.zeros(8))
    for name in ("midput", "midput_oracle", "midput_worst_case"):
        assert astuple(metrics[name]) == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    asr = before["loss"].metrics["asr"]
    assert asr.low is not None and asr.low < asr.value == 3 / 8
    # The draws are those of as many models and records, or persons, by the design's seed.
    seed = derive(0, "bootstrap")
    expected = [of_models for of_models, _ in resample(8, 400 if persons is None else 200, seed)]
    np.testing.assert_array_equal(before["loss"].draws, expected)


def test_the_attacker_chooses_what_works_on_its_own_models() -> None:
    names = ("gap", "confidence", "modified_entropy")
    *single, best = attack_trials(trials(made_up(), [undefended()] * 8), names)
    assert best.name == "strongest" and "gap" not in best.chosen

    def success(measured: AttackScores) -> Float64:
        pool = measured.scores
        rows = zip(pool.scores, pool.members, pool.scored, strict=True)
        return np.array([auc(scores[known], truth[known]) for scores, truth, known in rows])

    means = [success(measured).mean() for measured in single]
    assert means[0] < max(means) - 0.05
    # Of 400 records and 8 models two good attacks are told apart to about .01.
    assert success(best).mean() > max(means) - 0.01


def test_scores_of_all_attacks_and_trials_share_a_scale() -> None:
    """The false positive rate at which an attacker's own models have them."""
    generator = np.random.default_rng(0)
    members = generator.random(4000) < 0.5
    calibration = HeldOut(generator.normal(0, 1, 4000) + members, members)
    scores = generator.normal(0, 1, 500)
    common = to_common_scale(scores, calibration)
    expected = -stats.norm.logsf(scores)  # of non-members
    np.testing.assert_allclose(common[scores < 2], expected[scores < 2], atol=0.35)
    np.testing.assert_array_equal(np.argsort(common), np.argsort(scores))
    shifted = HeldOut(1000 + 7 * calibration.scores, members)
    np.testing.assert_allclose(to_common_scale(1000 + 7 * scores, shifted), common)


@pytest.fixture(scope="module")
def value() -> Callable[[str, str | None, str], float]:
    protocol = replace(adaptive(1), attacks=ATTACKS)
    rows = controls(DynaNoise(4, 1, 10))
    results = evaluate_pools({"plain": made_up()}, rows, protocol, fprs=(0.05,))
    assert len(results) == 4 * (len(ATTACKS) + 2)
    table = by_name(results)
    return lambda method, attack, metric: table[method, attack].metrics[metric].value


def test_midput_is_what_its_formula_says(value: Callable[[str, str | None, str], float]) -> None:
    for name in ("temperature", "dynanoise"):
        drop = value("none", None, "accuracy") - value(name, None, "accuracy")
        falls = [value("none", a, "asr") - value(name, a, "asr") for a in ATTACKS]
        assert value(name, None, "midput") == pytest.approx(np.mean(falls) - drop)
        worst = value("none", "strongest", "asr") - value(name, "strongest", "asr") - drop
        assert value(name, None, "midput_worst_case") == pytest.approx(worst)
        for metric in ("asr", "tpr@0.05"):
            suffix = "" if metric == "asr" else f"_{metric}"
            chosen = value("none", "strongest", metric) - value(name, "strongest", metric)
            assert value(name, None, f"midput_worst_case{suffix}") == pytest.approx(chosen - drop)
            best, left = (max(value(who, a, metric) for a in ATTACKS) for who in ("none", name))
            oracle = value(name, None, f"midput_oracle{suffix}")
            assert oracle == pytest.approx(best - left - drop)
    assert value("temperature", None, "midput") == pytest.approx(0, abs=1e-9)


def test_recipes_without_a_pool_are_left_out_and_smaller_ones_compared_alike() -> None:
    whole = made_up(models=10)
    rows = [
        Method("none", undefended()),
        Method("few", undefended(), recipe="few"),
        Method("absent", undefended(), recipe="absent"),
    ]
    pools = {"plain": whole, "few": whole.take_first(8)}
    results = evaluate_pools(pools, rows, replace(adaptive(1), attacks=ATTACKS))
    assert [result.method for result in results] == ["none"] * 4 + ["few"] * 4
    # The same models under another name: against the first 8 of the baseline nothing is gained.
    assert results[-1].metrics["midput"].value == pytest.approx(0, abs=1e-9)


def test_counts_are_those_of_the_trials() -> None:
    pool = made_up(models=7, records=60)
    use = pool.records.use.copy()
    use[:, :5] = -1
    use[2, 20:30] = -1
    hidden = replace(pool, records=replace(pool.records, use=use))
    counts = ShadowPool(hidden).counts
    members, outside = 0, 0
    for trial in trials(hidden, [undefended()] * 7):
        members += int((trial.scored & trial.members).sum())
        outside += int((trial.scored & ~trial.members).sum())
    assert counts == {
        "models": 7, "pool": 60, "reference": 100, "test": 100,
        "scored_members": members, "scored_non_members": outside,
    }  # fmt: skip
