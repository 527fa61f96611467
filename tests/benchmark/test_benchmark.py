"""What a plan may ask for, before any work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dynanoise.benchmark.benchmark import Plan
from dynanoise.benchmark.preset import Size
from dynanoise.benchmark.presets import PRESETS
from dynanoise.core.defense import Method
from dynanoise.core.errors import InputError, UnknownNameError
from dynanoise.core.registry import PRESETS as REGISTRY
from dynanoise.core.result import AttackProtocol
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.protocols import ADAPTIVE, PAPER

DIGITS = PRESETS["digits"]


def test_a_protocol_that_cannot_be_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise its name would stand over the results of another one."""
    protocol: AttackProtocol = replace(PAPER, threat=replace(PAPER.threat, augmented=True))
    monkeypatch.setattr(REGISTRY, "get", lambda name: replace(DIGITS, protocols=(protocol,)))
    with pytest.raises(InputError, match="digits has none"):
        Plan("digits")


def test_steps_are_counted() -> None:
    """Three seeds, four models, four methods with six attacks and utility."""
    rows = ("temperature", "static", "dynanoise")
    few = Plan("digits", methods=rows, protocols=("paper",))
    assert few.steps == 3 * (4 + 4 * 7)
    assert Plan("digits", 1, methods=("dynanoise",), attacks=("loss",)).steps == 4 + 2 * 2
    pool = Plan("digits", methods=rows, protocols=("adaptive",))
    assert pool.steps == 16 + 4 * (len(ADAPTIVE.attacks) + 2)


@pytest.mark.parametrize("seeds", [0, -1, True, 1.5])
def test_impossible_numbers_of_seeds_are_refused(seeds: Any) -> None:
    with pytest.raises(InputError, match="seeds is"):
        Plan("digits", seeds)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": "huge"}, "There is no size 'huge'. Known: cpu"),
        ({"methods": ("dynanose",)}, "no method 'dynanose'. Known: none, temperature"),
        ({"attacks": ("liar",)}, "no attack 'liar'. Known: confidence, loss"),
        ({"name": "digitz"}, "Did you mean 'digits'"),
    ],
)
def test_unknown_names_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UnknownNameError, match=says):
        Plan(**{"name": "digits", **wrong})


def test_the_baseline_always_stays() -> None:
    names = [row.name for row in Plan("digits", methods=("dynanoise",)).preset.methods]
    assert names == ["none", "dynanoise"]


def test_protocols_are_run_in_the_order_in_which_they_are_named() -> None:
    names = ("adaptive_64", "paper", "adaptive_4", "paper")
    plan = Plan("digits", protocols=names)
    assert [one.name for one in plan.preset.protocols] == ["adaptive_64", "paper", "adaptive_4"]
    usual = [one.name for one in Plan("digits").preset.protocols]
    assert usual == ["paper", "adaptive", "adaptive_16"]


def test_only_an_aware_attacker_has_shadows_of_every_recipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    methods = (DIGITS.methods[0], Method("other", undefended(), recipe="other"))
    sizes = {"cpu": Size(600, 300, {"plain": {}, "other": {}})}
    aware = replace(PAPER, threat=replace(PAPER.threat, knows_defense=True))
    for protocol, expected in ((PAPER, 0), (aware, 3)):
        changed = replace(DIGITS, methods=methods, sizes=sizes, protocols=(protocol,))
        monkeypatch.setattr(REGISTRY, "get", lambda name, preset=changed: preset)
        assert Plan("digits").shadows == {"plain": 3, "other": expected}


def test_the_command_names_what_is_not_the_default() -> None:
    plan = Plan("digits", 2, "cpu", ("static",), ("loss", "shadow"), ("paper",), "cuda")
    assert plan.command == (
        "dynanoise bench digits --seeds 2 --size cpu --defense static --attack loss "
        "--attack shadow --protocol paper --device cuda"
    )
