"""The search over settings: what it is told, what it may see, and what it recommends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from dynanoise.audits.inputs import check_inputs
from dynanoise.core.defense import Method
from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.outputs import Pool
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import Temperature, undefended
from dynanoise.evaluation.protocols import adaptive
from dynanoise.evaluation.provenance import Provenance
from dynanoise.evaluation.responses import make_noise
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.evaluation.trial import attack_trials
from dynanoise.tuning.objective import Objective, Setting, Utility, scale_temperature
from dynanoise.tuning.search import Limits, find_front, list_quantisations, open_evaluation, search
from dynanoise.tuning.tuning import LABEL, NONE, SCALED, TunePlan, count_steps, tune
from dynanoise.tuning.tuning_result import compare_references
from tests.factories.audit_files import arrays

PROVENANCE = Provenance("made up", "made up", "dynanoise tune")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few attacks, and every third of the cells without noise: each width, several temperatures."""
    monkeypatch.setattr("dynanoise.evaluation.feasibility.STRONG", ("lira", "gap", "population"))
    monkeypatch.setattr(
        "dynanoise.tuning.tuning.list_quantisations", lambda gap: list_quantisations(gap)[::3]
    )


def pool(sharpness: float = 1.0, **shape: int) -> Pool:
    """Models whose logits are all multiplied, so that large ones are overconfident."""
    made: dict[str, Any] = {"models": 8, "records": 400, "tests": 200, **shape}
    files = arrays(**made)
    for name in ("logits", "test_logits"):
        if name in files:
            files[name] = files[name] * sharpness
    return check_inputs("made up", **files).pool()


def setting(
    variance: float, growth: float, temperature: float, *, width: float | None = None
) -> Method:
    """With keyed noise where cells have a width, and then with its label."""
    defense = DynaNoise(variance, growth, temperature, keep_label=width is not None)
    return Method("x", defense, cell_width=width)


def test_what_changes_nothing_gains_nothing() -> None:
    objective = Objective(pool(), 16, seed=0)
    for same in (Method("x", undefended()), setting(0.0, 0.0, 1.0)):
        found = objective(same)
        assert found.gain == found.drop == 0 and found.utility == objective.plain
    # Another temperature is undone, and shows in the likelihood alone.
    cooled = objective(Method("x", Temperature(5.0)))
    assert cooled.gain == pytest.approx(0, abs=1e-9) and cooled.drop == 0
    assert cooled.utility.nll != pytest.approx(objective.plain.nll, abs=0.01)


@pytest.mark.behaviour
def test_averaged_answers_are_answers_with_less_noise() -> None:
    """Against asking as often as the budget says, by the harness."""
    noisy = setting(9.0, 1.0, 2.0)
    objectives = [Objective(pool(records=1200), queries, seed=0) for queries in (1, 16)]
    once, often = (one(noisy).gain for one in objectives)
    assert once > often + 0.02
    design, threat = ShadowPool(objectives[1].pool), adaptive(16).threat
    fitted = [noisy.defense.fit(view) for view in design.views(threat)]
    trials = design.trials(fitted, threat, lambda model, role: make_noise(noisy, 5, role, model))
    *_, strongest = attack_trials(list(trials), objectives[1].attacks)
    success = strongest.scores.balanced_accuracy
    queried = objectives[1].success - success - objectives[1](noisy).drop
    assert often == pytest.approx(queried, abs=0.02)


def test_keyed_answers_do_not_care_about_the_budget() -> None:
    keyed = setting(4.0, 1.0, 2.0, width=2.0)
    once, often = (Objective(pool(), queries, seed=0)(keyed).gain for queries in (1, 256))
    assert once == often > 0


def test_the_search_sees_some_records_and_the_judgement_the_others() -> None:
    given = pool()
    objective = Objective(given, 1, seed=0)
    seen = set(objective.pool.records.ids)
    rest = set(given.records.ids[objective.rest])
    assert not seen & rest and len(seen | rest) == len(given.records.ids)
    assert seen != set(Objective(given, 1, seed=1).pool.records.ids)
    tests = set(objective.pool.test.ids)
    others = set(given.test.ids[objective.rest_of_test])
    assert not tests & others and len(tests | others) == len(given.test.ids)


@pytest.mark.parametrize("parameters", [{"drop": -0.1}, {"nll": float("nan")}, {"ece": -1.0}])
def test_limits_are_numbers(parameters: dict[str, float]) -> None:
    with pytest.raises(InputError, match="limit"):
        Limits(**parameters)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 3)), max_size=12))
def test_the_front_is_what_nothing_beats(points: list[tuple[float, float]]) -> None:
    settings = [
        Setting(setting(0.3, 2.0, 10.0), gain, 0.0, Utility(1.0, nll, 0.0)) for gain, nll in points
    ]
    found = {(one.gain, one.utility.nll) for one in find_front(settings)}
    assert found == {
        (gain, nll)
        for gain, nll in points
        if not any(g >= gain and n <= nll and (g, n) != (gain, nll) for g, n in points)
    }


def test_limits_rule_out_what_costs_too_much() -> None:
    def costs(drop: float, nll: float, ece: float) -> Setting:
        return Setting(setting(0.3, 2.0, 10.0), 0.1, drop, Utility(0.9, nll, ece))

    limits = Limits(0.01, 1.2, 0.1)
    assert limits.satisfied(costs(0.01, 1.2, 0.1))
    assert not any(
        limits.satisfied(costs(*one)) for one in ((0.011, 1, 0), (0, 1.21, 0), (0, 1, 0.11))
    )
    assert Limits().satisfied(costs(-0.5, 1e9, 1.0))


@pytest.mark.process
def test_the_same_settings_with_any_number_of_processes() -> None:
    """Two processes find what one does, and another seed something else."""
    tried = []
    for workers, seed in ((1, 0), (2, 0), (1, 1)):
        objective = Objective(pool(), 4, seed)
        with open_evaluation(objective, workers) as evaluate_all:
            tried.append(list(search(objective, Limits(nll=2.0), 5, evaluate_all)))
    assert tried[0] == tried[1] != tried[2]


def test_later_generations_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a goal that needs no models: the second half is better than the first."""
    monkeypatch.setattr("dynanoise.tuning.search.GENERATION", 10)

    class Made:
        seed, gap = 0, 2.0

        def evaluate_all(self, methods: list[Method]) -> list[Setting]:
            made = []
            for one in methods:
                assert isinstance(one.defense, DynaNoise)
                far = abs(np.log(one.defense.temperature / 3))
                made.append(Setting(one, -far, 0.0, Utility(1.0, far, 0.0)))
            return made

    settings = search(Made(), Limits(nll=9.0), 100, Made().evaluate_all)  # type: ignore[arg-type]
    found = [setting.gain for setting in settings]
    assert np.mean(found[50:]) > np.mean(found[:50])


@pytest.mark.behaviour
def test_proposals_keep_to_their_ranges_and_three_digits() -> None:
    objective = Objective(pool(), 1, seed=3)
    for one in search(objective, Limits(), 16, objective.evaluate_all):
        defense = one.method.defense
        assert isinstance(defense, DynaNoise)
        for value in (defense.base_variance, defense.temperature, one.method.cell_width or 1.0):
            assert float(f"{value:.3g}") == value
        assert 1 <= defense.samples <= 8
    assert {one.defense.base_variance for one in list_quantisations(1.0)} == {0}  # type: ignore[attr-defined]


def tuned(change: Callable[[TunePlan], TunePlan] = lambda plan: plan, **shape: Any):  # type: ignore[no-untyped-def]
    plan = change(TunePlan(trials=8, queries=4))
    said: list[str] = []
    given = pool(**shape)
    return given, tune(given, plan, PROVENANCE, said.append), said


@pytest.mark.behaviour
def test_the_recommended_setting_keeps_to_the_limits_and_gains() -> None:
    given, found, said = tuned()
    assert found.chosen is not None and len(said) <= count_steps(given, found.plan)
    assert found.worst(found.chosen).low > 0
    rows = {one.method: one for one in found.results if one.attack is None}
    assert {NONE, LABEL, SCALED, *found.finalists} == set(rows)
    own, plain, label, scaled = (rows[name].metrics for name in (found.chosen, NONE, LABEL, SCALED))
    assert plain["accuracy"].value - own["accuracy"].value <= 0.01
    limit = (plain["nll"].value + label["nll"].value) / 2
    assert scaled["nll"].value <= plain["nll"].value
    assert own["nll"].value <= limit < label["nll"].value
    lows = {
        name: found.worst(name).low
        for name in found.finalists
        if rows[name].metrics["nll"].value <= limit and not found.beaten[name]
    }
    assert found.worst(found.chosen).low == max(lows.values())
    budgets = {(one.protocol, one.threat.repeats) for one in found.results}
    assert budgets == {("adaptive", 1), ("adaptive_4", 4)}
    # Counts say which records: those that the search did not use.
    assert {one.counts["pool"] for one in found.results} == {200}
    assert {2 * one.counts["test"] for one in found.results} == {len(given.test.ids)}


@pytest.mark.behaviour
def test_nothing_is_recommended_that_costs_too_much() -> None:
    _, found, _ = tuned(lambda plan: replace(plan, max_nll=0.0, trials=3))
    assert found.chosen is None and not found.finalists
    assert {one.method for one in found.results} == {NONE, LABEL, SCALED}
    assert "calibrated_label, which needs no search" in compare_references(found)[-1]


@pytest.mark.behaviour
@pytest.mark.parametrize("sharpness", [0.25, 2.0, 4.0, 10.0])
def test_the_limit_on_likelihood_is_never_worse_than_the_label(sharpness: float) -> None:
    objective = Objective(pool(sharpness), 4, seed=0)
    plain, scaled = objective.plain.nll, objective.scaled.utility.nll
    label = objective.floor.utility.nll
    assert (plain > label) == (sharpness != 2)  # too small logits have that, too
    limit = TunePlan().limits(plain, scaled, label).nll
    assert limit is not None and limit < label
    # The label does not depend on the scale, nor do scaled outputs.
    same = Objective(pool(), 4, seed=0)
    assert label == same.floor.utility.nll
    assert scaled == pytest.approx(same.scaled.utility.nll, abs=1e-4)


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 3.0, 20.0])
def test_temperature_scaling_has_the_best_likelihood_of_a_grid(sharpness: float) -> None:
    reference = pool(sharpness).reference
    found = scale_temperature(reference).temperature

    def loss(temperature: float) -> float:
        log_probs = log_softmax(reference.logits[:, :, 0] / temperature, axis=-1)
        return float(-log_probs[:, np.arange(len(reference.labels)), reference.labels].mean())

    grid = np.geomspace(0.02, 50, 400)
    assert loss(found) <= min(map(loss, grid)) + 1e-4
    same = scale_temperature(pool().reference).temperature
    assert found == pytest.approx(sharpness * same, rel=0.02)


@pytest.mark.behaviour
@pytest.mark.parametrize("sharpness", [2.0, 10.0])
def test_no_setting_is_recommended_that_the_label_beats(sharpness: float) -> None:
    """Even where the limit on likelihood allows it."""
    _, found, _ = tuned(lambda plan: replace(plan, max_nll=50.0), sharpness=sharpness)
    sentences = compare_references(found)
    rows = {
        name: [one.metrics for one in found.results if one.method == name and one.attack is None]
        for name in (LABEL, *found.finalists)
    }
    beaten = [name for name in found.finalists if as_good(rows[LABEL], rows[name])]
    assert beaten and [name for name, by in found.beaten.items() if LABEL in by] == beaten
    assert found.chosen not in beaten
    for name in beaten:
        expected = f"{name} is not recommended: {LABEL} is as good or better in every column."
        assert expected in sentences
    if found.chosen is not None:
        assert any(text.startswith(f"Beside {LABEL}, {found.chosen} is") for text in sentences)


def as_good(first: list[Any], second: list[Any]) -> bool:
    """Whether a method is at least as good as another in every column of the table."""
    larger = all(
        one[name].value >= other[name].value
        for one, other in zip(first, second, strict=True)
        for name in ("midput_worst_case", "accuracy")
    )
    smaller = all(first[0][name].value <= second[0][name].value for name in ("nll", "ece"))
    return larger and smaller


def test_one_model_and_missing_test_data_are_refused() -> None:
    with pytest.raises(InputError, match="one model"):
        tuned(models=1)
    for tests in (0, 2):  # of two one is the reference
        with pytest.raises(TooFewRecordsError, match=f"outputs about {tests // 2} records of test"):
            tuned(tests=tests)


@pytest.mark.parametrize("name", ["trials", "queries", "workers"])
def test_counts_are_checked(name: str) -> None:
    with pytest.raises(InputError, match=name):
        TunePlan(**{name: 0})  # type: ignore[arg-type]
