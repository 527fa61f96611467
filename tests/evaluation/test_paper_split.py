"""The harness on made-up runs: who sees what, and what is measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dynanoise.attacks.base import Attack
from dynanoise.benchmark.presets import controls
from dynanoise.core.defense import Method, Noise
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Floats
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.outputs import Outputs, View
from dynanoise.core.registry import ATTACKS
from dynanoise.core.result import AttackProtocol, Result, ThreatModel
from dynanoise.core.seeding import derive
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import Temperature, undefended
from dynanoise.evaluation.paper_split import draw_equal_numbers, paper_splits
from dynanoise.evaluation.protocols import PAPER
from dynanoise.evaluation.provenance import describe
from dynanoise.evaluation.responses import NoiseSource
from dynanoise.metrics.midput import midput
from dynanoise.noise.fresh import Fresh
from tests.factories.evaluations import by_name, evaluate_runs
from tests.factories.outputs import make_outputs, make_run

METHODS = controls(DynaNoise(0.3, 2.0, 10.0))
AWARE = AttackProtocol("aware", "paper_split", ThreatModel("aware", True, repeats=2), PAPER.attacks)


def results(protocol: AttackProtocol = PAPER, **changes: Any) -> list[Result]:
    return evaluate_runs({"plain": make_run(**changes)}, METHODS, protocol)


def test_every_method_meets_every_attack_and_utility() -> None:
    found = results()
    names = [method.name for method in METHODS]
    expected = [(name, attack) for name in names for attack in (*PAPER.attacks, None)]
    assert [(result.method, result.attack) for result in found] == expected


def test_judging_repeats_itself() -> None:
    first, again = results(), results()
    assert [one.metrics for one in first] == [one.metrics for one in again]


def test_a_subset_of_attacks_gives_the_same_numbers() -> None:
    few = replace(PAPER, attacks=("loss", "shadow"))
    some, whole = by_name(results(few)), by_name(results())
    for key in [("dynanoise", "loss"), ("dynanoise", "shadow"), ("static", "loss")]:
        assert some[key].metrics == whole[key].metrics


def test_equal_numbers_are_scored() -> None:
    rows = make_outputs(records=100, members=70)
    chosen = draw_equal_numbers(rows, seed=0)
    assert rows.use[0, chosen].sum() == 30 and len(chosen) == 60
    assert (np.diff(chosen) > 0).all()
    assert set(np.flatnonzero(rows.use[0] == 0)) <= set(chosen)
    assert not np.array_equal(chosen, draw_equal_numbers(rows, seed=1))


def test_temperature_keeps_accuracy_exactly_and_static_does_not_depend_on_sensitivity() -> None:
    found = by_name(results())
    accuracy = {name: found[name, None].metrics["accuracy"].value for name, _ in found}
    assert accuracy["temperature"] == accuracy["none"]
    assert found["temperature", None].metrics["label_flips"].value == 0
    assert found["dynanoise", None].metrics["label_flips"].value > 0
    static = found["static", None].defense
    assert static["lambda_scale"] == 0 and 0.3 < static["base_variance"] < 0.9


def test_midput_is_that_of_the_findings_themselves() -> None:
    found = by_name(results())

    def success(name: str) -> dict[str, float]:
        return {attack: found[name, attack].metrics["asr"].value for attack in PAPER.attacks}

    for name in ("temperature", "dynanoise"):
        metrics = found[name, None].metrics
        expected = midput(
            success("none"),
            success(name),
            found["none", None].metrics["accuracy"].value,
            metrics["accuracy"].value,
        )
        assert metrics["midput"].value == expected.mean
        assert metrics["midput_leakage"].value == expected.leakage
        assert metrics["midput_worst_case"].value == expected.worst_case


def test_a_leaking_model_is_found_and_a_tight_one_is_not() -> None:
    for leak, least, most in [(4.0, 0.8, 1.0), (0.0, 0.3, 0.7)]:
        found = by_name(results(leak=leak))
        assert least < found["none", "loss"].metrics["auc"].value <= most


def test_an_attacker_who_knows_the_defense_does_better_against_temperature() -> None:
    """Calibrated on tempered shadows, the entropy attack sees what it sees undefended."""
    paper, aware = by_name(results()), by_name(results(AWARE))
    for attack in ("entropy", "modified_entropy", "lira_by_class"):
        undefended_asr = paper["none", attack].metrics["asr"].value
        assert paper["temperature", attack].metrics["asr"].value < undefended_asr - 0.05
        assert aware["temperature", attack].metrics["asr"].value > undefended_asr - 0.05


def test_the_aware_attackers_noise_is_not_the_targets() -> None:
    sources: list[bytes] = []

    @dataclass(frozen=True)
    class Spy:
        keeps_labels: bool = False
        invertible: bool = True
        repeatable: bool = False
        log: list[bytes] = field(default_factory=lambda: sources, hash=False, compare=False)

        def fit(self, view: View) -> Spy:
            return self

        def __call__(self, logits: npt.ArrayLike, noise: Noise) -> Floats:
            rows = np.asarray(logits)
            self.log.append(noise.draw(np.zeros(50), 1, "spy")[1].tobytes())
            return Temperature(1.0)(rows)

        def undo(self, log_probs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return log_probs

    spied = (Method("none", undefended()), Method("spy", Spy()))
    list(evaluate_runs({"plain": make_run()}, spied, AWARE))
    # Three shadows and the target, each asked twice, test data and members; none used twice.
    assert len(sources) == 10 and len(set(sources)) == 10


def test_defenses_are_fitted_to_each_model_of_an_aware_attacker() -> None:
    views: list[int] = []

    @dataclass(frozen=True)
    class Fitted(Temperature):
        def fit(self, view: View) -> Fitted:
            views.append(int(view.members.ids[0]))
            assert view.members.models == view.reference.models == 1
            assert (view.members.use == 1).all()
            return self

    methods = (Method("none", Fitted(1.0)),)
    list(evaluate_runs({"plain": make_run()}, methods, PAPER))
    assert views == [0]
    views.clear()
    list(evaluate_runs({"plain": make_run()}, methods, AWARE))
    assert views == [0, 100, 100, 100]


def test_noise_differs_between_methods_seeds_and_splits() -> None:
    """Static and dynamic noise of one run, and of two runs, must not be the same draws."""
    drawn: dict[tuple[str, int, str], bytes] = {}

    @dataclass(frozen=True)
    class Spy(Temperature):
        key: tuple[str, int, str] = ("", 0, "")

        def __call__(self, logits: npt.ArrayLike, noise: Noise | None = None) -> Floats:
            assert noise is not None
            drawn.setdefault(self.key, noise.draw(np.zeros(50), 1, "spy")[1].tobytes())
            return Temperature(1.0)(logits)

    keys = [("a", 0, "made up"), ("b", 0, "made up"), ("a", 1, "made up"), ("a", 0, "other")]
    for key in keys:
        name, seed, split = key
        run = replace(make_run(), seed=seed, split=split)
        list(evaluate_runs({"plain": run}, (Method(name, Spy(1.0, key)),), PAPER))
    assert len(set(drawn.values())) == len(keys)


def test_utility_is_counted_on_test_data_and_members() -> None:
    run = make_run()
    metrics = by_name(results())["none", None].metrics

    def right(outputs: Outputs) -> float:
        return float((outputs.logits[0, :, 0].argmax(-1) == outputs.labels).mean())

    assert metrics["accuracy"].value == right(run.test)
    assert metrics["train_accuracy"].value == right(run.view(0).members)
    assert right(run.test) != right(run.target)


def test_methods_need_names_of_their_own() -> None:
    twice = (Method("a", undefended()), Method("a", Temperature(2)))
    for methods in (twice, ()):
        with pytest.raises(InputError, match="Method names must be unique"):
            list(evaluate_runs({"plain": make_run()}, methods, PAPER))


def test_an_aware_attacker_is_handed_what_undoes_the_defense() -> None:
    undone: dict[str, npt.NDArray[np.float64]] = {}

    @dataclass(frozen=True)
    class Undoing(Attack):
        protocol: str = ""

        def learn(self, shadows: ShadowObservations) -> None:
            return None

        def formula(self, learned: None, observed: Observation) -> npt.NDArray[np.float64]:
            undone[self.protocol] = observed.undo(observed.log_probs)
            return observed.log_probs[:, 0, 0]

    run, methods = make_run(), (Method("temperature", Temperature(4.0)),)
    scored = run.target.select(records=draw_equal_numbers(run.target, run.seed))
    clean = scored.logits[0].astype(np.float64)
    clean -= clean.mean(axis=-1, keepdims=True)
    for protocol in (PAPER, AWARE):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ATTACKS, "get", lambda name, p=protocol: lambda: Undoing(p.name))
            list(evaluate_runs({"plain": run}, methods, replace(protocol, attacks=("loss",))))
    np.testing.assert_allclose(undone["aware"], clean, atol=1e-9)
    np.testing.assert_allclose(undone["paper"], clean / 4, atol=1e-9)


def test_fitted_arrays_are_recorded_by_their_digest() -> None:
    @dataclass(frozen=True, eq=False)
    class Fitted(Temperature):
        weights: npt.NDArray[np.float64] = field(default_factory=lambda: np.ones((2, 3)))

    found = describe(Fitted(2.0))
    assert found["weights"]["shape"] == [2, 3]
    assert len(found["weights"]["sha256"]) == 64
    json.dumps(found)


def test_methods_of_another_recipe_use_its_models() -> None:
    runs = {"plain": make_run(leak=0.0), "other": make_run(leak=4.0)}
    methods = (
        Method("none", undefended()),
        Method("other", undefended(), recipe="other"),
    )
    found = by_name(list(evaluate_runs(runs, methods, PAPER)))
    assert found["none", "loss"].metrics["auc"].value < 0.7
    assert found["other", "loss"].metrics["auc"].value > 0.8


def test_only_an_aware_attacker_uses_shadows_of_the_methods_recipe() -> None:
    """As published, attacks on a training-time defense are fitted on undefended shadows."""
    methods = (
        Method("none", undefended()),
        Method("other", undefended(), recipe="other"),
    )

    def metrics(protocol: AttackProtocol, shadows_seed: int) -> list[Any]:
        other = replace(make_run(), shadows=make_run(seed=shadows_seed).shadows)
        runs = {"plain": make_run(), "other": other}
        return [one.metrics for one in evaluate_runs(runs, methods, protocol)]

    assert metrics(PAPER, 50) == metrics(PAPER, 60)
    assert metrics(AWARE, 50)[:7] == metrics(AWARE, 60)[:7]
    assert metrics(AWARE, 50)[7:] != metrics(AWARE, 60)[7:]


@pytest.mark.parametrize("protocol", [PAPER, AWARE])
def test_nothing_is_written_into_a_run(protocol: AttackProtocol) -> None:
    run = make_run()
    before = [part.logits.copy() for part in (run.target, run.shadows, run.test, run.reference)]
    list(evaluate_runs({"plain": run}, METHODS, protocol))
    after = [run.target, run.shadows, run.test, run.reference]
    assert all(np.array_equal(a, b.logits) for a, b in zip(before, after, strict=True))


def test_shadows_behind_a_defense_use_noise_of_their_own() -> None:
    def noise(model: int, role: str) -> NoiseSource:
        return lambda purpose: Fresh(derive(0, f"{role} {model} {purpose}"))

    run = make_run()
    defenses = [DynaNoise()] * (1 + run.shadows.models)
    once = ThreatModel("aware", knows_defense=True)
    [trial] = paper_splits({"plain": run}, "plain")["plain"].trials(defenses, once, noise)
    np.testing.assert_array_equal(trial.shadows.use, run.shadows.use)
    for model, seen in enumerate(trial.shadows.observations):
        logits = run.shadows.logits[model].astype(np.float64)
        defended = np.log(DynaNoise()(logits, noise(model, "shadow")("first")))
        recovered = DynaNoise().undo(defended)
        np.testing.assert_allclose(
            seen.log_probs - seen.log_probs.mean(axis=-1, keepdims=True), recovered, atol=1e-12
        )
