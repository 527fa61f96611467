"""Attackers whose own models are not quite like the target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynanoise.benchmark.plan import Plan
from dynanoise.benchmark.preset import Kind
from dynanoise.benchmark.presets import PRESETS
from dynanoise.core.defense import Method
from dynanoise.core.errors import InputError, UnknownNameError
from dynanoise.core.outputs import Pool
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.protocols import MISMATCHED, PAPER, adaptive, mismatched, parse_protocol
from tests.factories.evaluations import evaluate_pools, made_up

NONE = Method("none", undefended())
ATTACKS = ("lira", "threshold", "scale_aligned(attack=threshold)")


def asr(pool: Pool, attacker: Pool | None = None) -> dict[str | None, float]:
    protocol = replace(mismatched("architecture"), attacks=ATTACKS)
    attackers = None if attacker is None else {"plain": attacker}
    found = evaluate_pools({"plain": pool}, [NONE], protocol, attackers=attackers)
    return {one.attack: one.metrics["asr"].value for one in found if one.attack is not None}


def changed(pool: Pool, scale: float, noise: float = 0.0) -> Pool:
    """The same models on another scale."""
    logits = pool.records.logits
    blur = np.random.default_rng(1).normal(0, 1, logits.shape)
    return replace(pool, records=replace(pool.records, logits=scale * (logits + noise * blur)))


def test_an_attacker_with_the_same_models_finds_the_same() -> None:
    pool = made_up()
    copy = replace(pool, split="another value of the same models")
    assert asr(pool, copy) == asr(pool)


def test_models_on_another_scale_mislead_thresholds_until_they_are_aligned() -> None:
    pool = made_up()
    own, theirs = asr(pool), asr(pool, changed(pool, 3.0))
    assert theirs["threshold"] < own["threshold"] - 0.05
    aligned = theirs["scale_aligned(attack=threshold)"]
    assert aligned > own["threshold"] - 0.03 and aligned > theirs["threshold"] + 0.05


def test_models_that_say_less_help_less() -> None:
    pool = made_up()
    assert asr(pool, changed(pool, 1.0, noise=4.0))["lira"] < asr(pool)["lira"] - 0.03


def test_the_fewer_models_decide_how_many_are_used() -> None:
    """And MIDPUT compares with the baseline under the same attacker."""
    pool = made_up(models=10)
    few = changed(pool, 3.0).take_first(8)
    rows = [NONE, Method("same", undefended(), recipe="other")]
    protocol = replace(adaptive(), attacks=("lira",))
    found = list(
        evaluate_pools(
            {"plain": pool, "other": pool}, rows, protocol, attackers={"plain": few, "other": few}
        )
    )
    assert [one.method for one in found] == ["none"] * 3 + ["same"] * 3
    assert found[-1].metrics["midput"].value == pytest.approx(0, abs=1e-9)
    assert found[0].metrics == found[3].metrics


def test_models_of_another_membership_are_refused() -> None:
    with pytest.raises(InputError, match="not trained on the same records"):
        asr(made_up(), made_up(seed=1))


def test_every_name_means_its_protocol() -> None:
    for protocol in (*MISMATCHED, PAPER, adaptive(), adaptive(64), adaptive(2, near=True)):
        assert parse_protocol(protocol.name) == protocol
    for wrong in ("adaptive_", "adaptive_0", "adaptive_-1", "adaptive_near_", "near", "adaptive_x"):
        assert parse_protocol(wrong) is None
    with pytest.raises(InputError, match="query budget is 0"):
        adaptive(0)


def test_pools_are_trained_for_targets_and_for_attackers() -> None:
    def pools(*protocols: str) -> dict[str, int]:
        plan = Plan("digits", methods=("dynanoise", "hamp"), protocols=protocols)
        return {str(kind): count for kind, count in plan.pools.items()}

    assert pools("adaptive_64") == {"plain": 16, "hamp": 16}
    assert pools("adaptive_recipe") == {"plain": 16, "relaxloss": 16, "hamp": 16}
    assert pools("adaptive_architecture") == {
        "plain": 16, "plain, other architecture": 16, "hamp": 16, "hamp, other architecture": 16
    }  # fmt: skip
    assert pools("paper") == pools("adaptive_disjoint") == {}
    digits = PRESETS["digits"]
    assert digits.architecture(Kind("plain", other=True)) != digits.architecture(Kind("plain"))


def test_plans_that_cannot_be_run_say_why() -> None:
    with pytest.raises(InputError, match="near-duplicates, and sst2 has none"):
        Plan("sst2", protocols=("adaptive_near",))
    with pytest.raises(InputError, match="needs pools that imagenet10 does not have"):
        Plan("imagenet10", size="quick", protocols=("adaptive_recipe",))
    own = replace(PRESETS["digits"], other_parameters={})
    with pytest.raises(InputError, match="another architecture, and digits names none"):
        Plan("digits", protocols=("adaptive_architecture",), custom=own)
    with pytest.raises(UnknownNameError, match="adaptive_disjoint, adaptive_Q"):
        Plan("digits", protocols=("adaptiv",))


def test_an_attacker_without_the_targets_records_is_judged_in_the_papers_layout() -> None:
    plan = Plan("digits", methods=("hamp",), protocols=("adaptive_disjoint",))
    assert plan.shadows == {"plain": 3, "hamp": 3}
    assert not plan.preset.protocols[0].threat.augmented
    assert "lira" not in plan.preset.protocols[0].attacks
