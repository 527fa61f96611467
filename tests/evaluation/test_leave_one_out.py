"""Leave-one-out over a pool: what the attacker learns from, and what it must not see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dynanoise.benchmark.presets import controls
from dynanoise.core.defense import Method, Noise
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.result import ThreatModel
from dynanoise.core.seeding import derive
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import Temperature, undefended
from dynanoise.evaluation.leave_one_out import answered, attack_pool, fitted_defenses
from dynanoise.evaluation.protocols import adaptive
from dynanoise.evaluation.responses import NoiseSource
from dynanoise.evaluation.shadow_pool import Memory, judge_pool
from dynanoise.metrics.bootstrap import bootstrap
from dynanoise.noise.fresh import Fresh

ATTACKS = ("modified_entropy", "lira_by_class")


def made_up(leak: float = 2.0, models: int = 8, records: int = 400, seed: int = 0) -> Pool:
    """Models that are surer of what they were trained on."""
    generator = np.random.default_rng(seed)

    def rows(count: int, use: np.ndarray[tuple[int, int], np.dtype[np.int8]]) -> Outputs:
        labels = generator.integers(0, 4, count)
        logits = generator.normal(0, 1, (models, count, 1, 4))
        logits[:, np.arange(count), 0, labels] += 1.5 + leak * use
        return Outputs(logits, labels, np.arange(count), use)

    coins = (generator.random((models, records)) < 0.5).astype(np.int8)
    nobody = np.zeros((models, 100), dtype=np.int8)
    return Pool(rows(records, coins), rows(100, nobody), rows(100, nobody), seed, "made up")


def noise(model: int, role: str) -> NoiseSource:
    def source(purpose: str) -> Noise:
        return Fresh(derive(0, role, model, purpose))

    return source


def threat(queries: int = 1) -> ThreatModel:
    return adaptive(queries).threat


def success(pool: Pool, defense: Temperature | DynaNoise, queries: int = 1) -> dict[str, float]:
    seen = answered(pool, fitted_defenses(Method("x", defense), pool), threat(queries), noise)
    return {
        one.name: bootstrap(one.found, 0, 20).point["auc"] for one in attack_pool(seen, ATTACKS)
    }


def test_planted_leakage_is_found_and_temperature_does_not_hide_it() -> None:
    pool = made_up()
    plain, cooled = success(pool, undefended()), success(pool, Temperature(50))
    assert plain["modified_entropy"] > 0.75 and plain["strongest"] > 0.75
    assert cooled == pytest.approx(plain, abs=1e-9)


def test_repeats_average_fresh_noise_away() -> None:
    pool = made_up()
    once, often = (success(pool, DynaNoise(4.0, 1.0, 10.0), q)["strongest"] for q in (1, 256))
    plain = success(pool, undefended())["strongest"]
    assert once < plain - 0.05
    assert often == pytest.approx(plain, abs=0.02)


def test_a_target_that_says_nothing_cannot_be_told_from_its_shadows() -> None:
    """Constant answers of the target beside shadows that leak: exactly chance."""
    pool = made_up()
    seen = answered(pool, [undefended()] * pool.models, threat(), noise)
    silent = tuple(
        replace(one, log_probs=np.full_like(one.log_probs, np.log(0.25))) for one in seen.targets
    )
    for one in attack_pool(replace(seen, targets=silent), ("confidence", "modified_entropy")):
        assert bootstrap(one.found, 0, 5).point["auc"] == pytest.approx(0.5, abs=0.04), one.name


def test_every_example_has_as_many_in_as_out_shadows() -> None:
    pool = made_up(models=9)
    seen = answered(pool, [undefended()] * pool.models, threat(), noise)
    for target in range(pool.models):
        use = seen.shadows_of(target).use
        inside, outside = (use == 1).sum(axis=0), (use == 0).sum(axis=0)
        np.testing.assert_array_equal(inside, outside)
        assert len(set(inside.tolist()) - {0}) == 1
        # Who is left out says nothing about the target.
        kept = inside > 0
        own = pool.examples.use[target]
        assert abs(own[kept].mean() - own[~kept].mean()) < 0.25


def test_shadows_draw_their_own_noise() -> None:
    pool = made_up()
    seen = answered(pool, [DynaNoise(0.3, 2, 10)] * pool.models, threat(), noise)
    for target, shadow in zip(seen.targets, seen.shadows, strict=True):
        assert not np.allclose(target.log_probs, shadow.log_probs)
        assert target.population is not None and len(target.population.labels) == 100


def test_the_truth_is_not_used() -> None:
    """With the target's membership replaced its scores and thresholds stay as they were."""
    pool = made_up()
    flipped = pool.examples.use.copy()
    flipped[0] = 1 - flipped[0]
    other = replace(pool, examples=replace(pool.examples, use=flipped))
    found = [
        next(iter(attack_pool(answered(p, [undefended()] * 8, threat(), noise), ATTACKS)))
        for p in (pool, other)
    ]
    np.testing.assert_array_equal(found[0].found.scores[0], found[1].found.scores[0])
    np.testing.assert_array_equal(found[0].found.decisions[0], found[1].found.decisions[0])
    assert found[0].expected[0] == found[1].expected[0]


def test_a_repeatable_answer_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    answer = Temperature.__call__

    def counted(self: Temperature, *arguments: object) -> object:
        calls.append(1)
        return answer(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Temperature, "__call__", counted)
    pool = made_up()
    seen = answered(pool, [Temperature(10)] * 8, threat(256), noise)
    assert len(calls) == 8 * 2  # of each model examples and population
    once = answered(pool, [Temperature(10)] * 8, threat(1), noise)
    np.testing.assert_array_equal(seen.targets[0].log_probs, once.targets[0].log_probs)


def test_what_is_known_of_repeatable_answers_is_what_another_budget_finds() -> None:
    pools, rows, memory = {"plain": made_up()}, controls(DynaNoise(4, 1, 10)), Memory()
    steps: list[str] = []
    protocols = [replace(adaptive(q), attacks=ATTACKS) for q in (1, 4)]
    list(judge_pool(pools, rows, protocols[0], memory=memory))
    assert len(memory) == 2  # none and temperature
    known = list(judge_pool(pools, rows, protocols[1], steps.append, memory=memory))
    anew = list(judge_pool(pools, rows, protocols[1]))
    assert [(f.method, f.attack, f.metrics) for f in known] == [
        (f.method, f.attack, f.metrics) for f in anew
    ]
    assert len(steps) == len(known)
    replaced = replace(protocols[0], threat=replace(protocols[0].threat, knows_defense=False))
    other = list(judge_pool(pools, rows[:2], replaced, memory=memory))
    unaware = list(judge_pool(pools, rows[:2], replaced))
    assert [f.metrics for f in other] == [f.metrics for f in unaware]


def test_the_attacker_chooses_what_works_on_its_own_models() -> None:
    seen = answered(made_up(), [undefended()] * 8, threat(), noise)
    *_, best = attack_pool(seen, ("confidence", "modified_entropy"))
    assert best.name == "strongest" and best.chosen.get("modified_entropy", 0) >= 7


@pytest.fixture(scope="module")
def judged() -> Callable[[str, str | None, str], float]:
    protocol = replace(adaptive(1), attacks=ATTACKS)
    rows = list(
        judge_pool({"plain": made_up()}, controls(DynaNoise(4, 1, 10)), protocol, fprs=(0.05,))
    )
    assert len(rows) == 4 * (len(ATTACKS) + 2)
    table = {(row.method.name, row.attack): row.metrics for row in rows}
    return lambda method, attack, metric: table[method, attack][metric].value


def test_midput_is_what_its_formula_says(judged: Callable[[str, str | None, str], float]) -> None:
    for name in ("temperature", "dynanoise"):
        drop = judged("none", None, "accuracy") - judged(name, None, "accuracy")
        falls = [judged("none", a, "asr") - judged(name, a, "asr") for a in ATTACKS]
        assert judged(name, None, "midput") == pytest.approx(np.mean(falls) - drop)
        worst = judged("none", "strongest", "asr") - judged(name, "strongest", "asr") - drop
        assert judged(name, None, "midput_worst_case") == pytest.approx(worst)
        for metric in ("asr", "tpr@0.05"):
            suffix = "" if metric == "asr" else f"_{metric}"
            chosen = judged("none", "strongest", metric) - judged(name, "strongest", metric)
            assert judged(name, None, f"midput_worst_case{suffix}") == pytest.approx(chosen - drop)
            best, left = (max(judged(who, a, metric) for a in ATTACKS) for who in ("none", name))
            oracle = judged(name, None, f"midput_oracle{suffix}")
            assert oracle == pytest.approx(best - left - drop)
    assert judged("temperature", None, "midput") == pytest.approx(0, abs=1e-9)


def test_recipes_without_a_pool_are_left_out_and_smaller_ones_compared_alike() -> None:
    whole = made_up(models=10)
    rows = [
        Method("none", undefended()),
        Method("few", undefended(), recipe="few"),
        Method("absent", undefended(), recipe="absent"),
    ]
    pools = {"plain": whole, "few": whole.first(8)}
    found = list(judge_pool(pools, rows, replace(adaptive(1), attacks=ATTACKS)))
    assert [row.method.name for row in found] == ["none"] * 4 + ["few"] * 4
    # The same models under another name: against the first 8 of the baseline nothing is gained.
    assert found[-1].metrics["midput"].value == pytest.approx(0, abs=1e-9)
