"""Keyed noise in the harness: one answer is all there is, and nobody else has the target's key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dynanoise.core.defense import Defense, Method
from dynanoise.core.numerics import Floats
from dynanoise.core.registry import PRESETS
from dynanoise.core.result import AttackProtocol, ThreatModel
from dynanoise.core.seeding import derive
from dynanoise.defenses.calibrated_label import CalibratedLabel
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.engine import MeasurementCache
from dynanoise.evaluation.protocols import KEY_KNOWN, PAPER, adaptive, select_attacks, single_model
from dynanoise.evaluation.responses import NoiseSource, make_noise, observe
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.evaluation.trial import Trial, attack_trials
from dynanoise.noise.fresh import Fresh
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey
from tests.factories.evaluations import (
    ATTACKS,
    by_name,
    evaluate_alone,
    evaluate_pools,
    evaluate_runs,
    made_up,
)
from tests.factories.outputs import make_outputs, make_run

CELLS = Method("cells", DynaNoise(4.0, 1.0, 10.0), cell_width=6.0)
BARE = Method("bare", DynaNoise(0.0, temperature=2.0, keep_label=True), cell_width=6.0)
NONE = Method("none", undefended())


def noise(model: int, role: str) -> NoiseSource:
    return make_noise(CELLS, 0, "split", CELLS.name, role, model)


def trials(defense: Defense, queries: int) -> list[Trial]:
    design = ShadowPool(made_up())
    return list(design.trials([defense] * 8, adaptive(queries).threat, noise))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every answer of DynaNoise: its noise."""
    made: list[Any] = []
    answer = DynaNoise.__call__

    def counted(self: DynaNoise, logits: Any, noise: Any) -> Floats:
        made.append(noise)
        return answer(self, logits, noise)

    monkeypatch.setattr(DynaNoise, "__call__", counted)
    return made


def test_fresh_noise_is_what_it_was() -> None:
    """The seeds of committed results."""
    fresh = Method("dynanoise", DynaNoise())
    made = make_noise(fresh, 7, "split", "dynanoise", "target", 3)("examples first")
    same = Fresh(derive(7, "noise", "split", "dynanoise", "target", 3, "examples first"))
    np.testing.assert_array_equal(
        made.draw(np.zeros((2, 3)), 1, "")[1], same.draw(np.zeros((2, 3)), 1, "")[1]
    )
    held = make_noise(fresh, 7, "split", "dynanoise", holder="shadow 1")("first")
    same = Fresh(derive(7, "noise", "split", "dynanoise", "shadow 1 first"))
    np.testing.assert_array_equal(
        held.draw(np.zeros((2, 3)), 1, "")[1], same.draw(np.zeros((2, 3)), 1, "")[1]
    )


def test_a_model_has_one_key_and_every_model_and_role_another() -> None:
    sources = [noise(model, role) for model in range(3) for role in ("target", "shadow")]
    keys: list[Any] = [source("examples first") for source in sources]
    assert [source("population further 3") for source in sources] == keys
    assert all(type(key) is Keyed and type(key.key) is ExperimentKey for key in keys)
    assert len({key.key.root() for key in keys}) == 6


def test_256_queries_need_one_answer(calls: list[Any]) -> None:
    rows = make_outputs()
    seen = observe(DynaNoise(), rows, noise(0, "target"), repeats=256)
    assert seen.constant
    further = np.concatenate(list(seen.repeat(255)), axis=1)
    assert len(calls) == 1
    np.testing.assert_array_equal(further, np.broadcast_to(seen.log_probs, further.shape))
    again = DynaNoise()(rows.logits[0].astype(np.float64), noise(0, "target")("another purpose"))
    np.testing.assert_array_equal(np.log(again), seen.log_probs)


@pytest.mark.parametrize("defense", [CELLS.defense, BARE.defense], ids=["noise", "no noise"])
def test_shadows_have_keys_of_their_own_even_without_noise(defense: Any, calls: list[Any]) -> None:
    """Cells without noise repeat under fresh noise too, but their grid is the key's."""
    first, second, *_ = trials(defense, 256)
    assert len(calls) == 2 * 8 * 2  # of each model and role: examples and population
    roots = {used.key.root() for used in calls}
    assert len(roots) == 16
    # The first shadow model of the second trial is the target of the first.
    assert not np.allclose(first.target.log_probs, second.shadows.observations[0].log_probs)


def test_repeats_give_an_attacker_nothing() -> None:
    def scores(queries: int) -> list[Any]:
        found = attack_trials(trials(CELLS.defense, queries), ATTACKS)
        return [attack.scores.scores for attack in found]

    np.testing.assert_array_equal(scores(1), scores(256))


@pytest.mark.behaviour
def test_judged_once_for_every_budget_and_recorded_with_its_noise(calls: list[Any]) -> None:
    pools, measurements = {"plain": made_up()}, MeasurementCache()
    rows = [NONE, CELLS, BARE, Method("floor", CalibratedLabel())]
    first, second = (replace(adaptive(q), attacks=ATTACKS) for q in (1, 256))
    once = evaluate_pools(pools, rows, first, measurements=measurements)
    asked = len(calls)
    assert len({used.key.root() for used in calls}) == 2 * 8 * 2  # of method, model and role
    often = evaluate_pools(pools, rows, second, measurements=measurements)
    assert len(calls) == asked and len(measurements._finished) == 4
    assert [f.metrics for f in once] == [f.metrics for f in often]
    said = {f.method: f.defense for f in once}
    assert said["cells"]["noise"] == {"name": "keyed", "cell_width": 6.0}
    assert said["bare"]["keep_label"] is True and "noise" not in said["none"]
    utility = {f.method: f.metrics for f in once if f.attack is None}
    for name in ("bare", "floor"):
        assert utility[name]["accuracy"].value == utility["none"]["accuracy"].value
        assert utility[name]["label_flips"].value == 0


def test_in_the_papers_layout_target_and_shadows_have_keys_of_their_own(calls: list[Any]) -> None:
    aware = AttackProtocol("aware", "paper_split", ThreatModel("aware", True, 4), PAPER.attacks)
    found = evaluate_runs({"plain": make_run()}, [NONE, CELLS], aware)
    assert len(calls) == 1 + 3 + 2  # the target once, three shadows, test data and members
    assert len({used.key.root() for used in calls}) == 1 + 3
    assert found[-1].defense["noise"]["name"] == "keyed"


def test_one_model_alone(calls: list[Any]) -> None:
    pool = made_up().take_first(1)
    protocol = single_model(16, ("modified_entropy",))
    found = evaluate_alone(pool, [NONE, CELLS], protocol)
    assert found[-1].defense["noise"]["cell_width"] == 6.0
    assert len({used.key.root() for used in calls}) == 1


@pytest.mark.behaviour
def test_who_has_the_key_sees_the_cell_and_the_label(calls: list[Any]) -> None:
    """One root for all, no noise, and its grid is everybody's; attacks do better than without."""
    pools = {"plain": made_up(leak=4.0)}
    rows = [NONE, CELLS]
    usual, known = (replace(one, attacks=ATTACKS) for one in (adaptive(), KEY_KNOWN))
    without = by_name(evaluate_pools(pools, rows, usual))
    calls.clear()
    with_key = by_name(evaluate_pools(pools, rows, known))
    attacked = [used for used in calls if used.key._path[-2] == "known"]
    # As target and as shadow, examples and population; utility is that of the real answers.
    assert len(attacked) == 2 * 8 * 2 and len({used.key.root() for used in attacked}) == 1
    assert len({used.key.root() for used in calls}) == 1 + 8
    name = ("cells", "strongest")
    assert with_key[name].metrics["auc"].value > without[name].metrics["auc"].value + 0.02
    plain = without["none", "strongest"].metrics["auc"].value
    assert with_key["none", "strongest"].metrics["auc"].value == plain
    assert plain >= with_key[name].metrics["auc"].value
    utility = [found["cells", None].metrics["accuracy"] for found in (with_key, without)]
    assert utility[0] == utility[1]


def test_only_who_lacks_the_key_and_knows_of_cells_uses_cell_mates() -> None:
    assert select_attacks(CELLS, adaptive(16))[-1] == "cell_mates(attack=lira)"
    for method, protocol in ((NONE, adaptive()), (CELLS, PAPER), (CELLS, KEY_KNOWN)):
        assert select_attacks(method, protocol) == protocol.attacks
    named = replace(adaptive(), attacks=("cell_mates(attack=lira)",))
    assert select_attacks(CELLS, named) == named.attacks


def test_a_leaked_key_is_a_question_to_methods_that_have_one() -> None:
    preset = PRESETS.get("digits").choose(protocols=["adaptive_key"])
    (protocol,) = preset.protocols
    assert [one.name for one in preset.methods_of(protocol, None)] == [
        "none",
        "dynanoise_keyed",
        "cells",
    ]
