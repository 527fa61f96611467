"""What a plan may ask for, before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynanoise.benchmark.benchmark import Plan
from dynanoise.benchmark.preset import Size
from dynanoise.benchmark.presets import PRESETS
from dynanoise.config.configuration import Configuration
from dynanoise.core.defense import Method
from dynanoise.core.errors import DynaNoiseError, InputError, TooFewRecordsError, UnknownNameError
from dynanoise.core.registry import PRESETS as REGISTRY
from dynanoise.core.result import AttackProtocol
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import Temperature, undefended
from dynanoise.evaluation.methods import defended, method_of
from dynanoise.evaluation.protocols import ADAPTIVE, PAPER
from dynanoise.noise.keyed import Keyed

DIGITS = PRESETS["digits"]


def test_a_protocol_that_cannot_be_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise its name would stand over the results of another one."""
    protocol: AttackProtocol = replace(PAPER, threat=replace(PAPER.threat, augmented=True))
    monkeypatch.setattr(
        REGISTRY, "get", lambda name: replace(DIGITS, near=None, protocols=(protocol,))
    )
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
        (
            {"methods": ("dynanose",)},
            "no method 'dynanose'. Did you mean 'dynanoise'. Known: none, temperature",
        ),
        ({"attacks": ("liar",)}, "no attack 'liar'. Did you mean 'lira'. Known: confidence, loss"),
        ({"name": "digitz"}, "Did you mean 'digits'"),
    ],
)
def test_unknown_names_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UnknownNameError, match=says):
        Plan(**{"name": "digits", **wrong})


def attacks_by_protocol(*attacks: str, **choices: Any) -> dict[str, tuple[str, ...]]:
    plan = Plan("digits", methods=("temperature",), attacks=attacks, **choices)
    return {one.name: one.attacks for one in plan.preset.protocols}


def test_an_attack_with_other_parameters_is_run_where_the_usual_one_is() -> None:
    text = "lira(variance=example)"
    assert attacks_by_protocol(text) == {"adaptive": (text,), "adaptive_16": (text,)}
    assert attacks_by_protocol("loss", text) == {
        "paper": ("loss",),
        "adaptive": (text,),
        "adaptive_16": (text,),
    }
    assert attacks_by_protocol("loss(threshold=0.5)") == {"paper": ("loss(threshold=0.5)",)}


def test_an_attack_of_no_protocol_is_run_wherever_it_can_be() -> None:
    both, pools = "scale_aligned(attack=threshold)", "scale_aligned(attack=lira)"
    assert attacks_by_protocol(both, protocols=("paper", "adaptive")) == {
        "paper": (both,),
        "adaptive": (both,),
    }
    assert attacks_by_protocol(pools, protocols=("paper", "adaptive")) == {"adaptive": (pools,)}


def test_a_choice_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(InputError, match="No protocol that was chosen runs lira"):
        Plan("digits", attacks=("lira",), protocols=("paper",))


QUANTILES = "quantile_regression(least=100)"


def test_an_attack_on_inputs_wants_a_reference_set_before_any_training() -> None:
    assert attacks_by_protocol(QUANTILES) == {"adaptive": (QUANTILES,), "adaptive_16": (QUANTILES,)}
    with pytest.raises(TooFewRecordsError, match=r"needs 1,000 known non-members.* there are 300"):
        Plan("digits", attacks=("quantile_regression",))


def test_any_registered_defense_or_recipe_is_a_method() -> None:
    texts = ("dynanoise(base_variance=0.5)", "static", "relaxloss(alpha=1)+temperature")
    rows = Plan("digits", methods=texts).preset.methods
    assert [row.name for row in rows] == ["none", "static", texts[0], texts[2]]
    assert rows[1] == DIGITS.methods[2]  # the preset's own, with its parameters
    assert rows[2].defense == DynaNoise(base_variance=0.5) and rows[2].recipe == "plain"
    assert rows[3].defense == Temperature() and rows[3].recipe == "relaxloss(alpha=1)"
    size = DIGITS.size(None)
    assert size.pool_models(rows[3].recipe) == 16 and size.pool_models("theirs") == 16


def test_a_defense_yaml_is_a_method(tmp_path: Path) -> None:
    path = tmp_path / "Mine.yaml"
    Configuration(DynaNoise(0.1), Keyed(4.0, "m", "ab" * 32)).write(path)
    plan = Plan("digits", methods=(str(path), "static"))
    assert plan.preset.methods[2] == Method("Mine.yaml", DynaNoise(0.1), cell_width=4.0)
    assert plan.command.endswith("--seeds 3 --defense Mine.yaml --defense static")


def test_a_cell_width_in_a_specification_means_keyed_noise() -> None:
    text = "dynanoise(keep_label=True, cell_width=4)"
    row = Plan("digits", methods=(text,)).preset.methods[1]
    assert row == Method(text, DynaNoise(keep_label=True), cell_width=4.0)
    assert method_of(f"relaxloss+{text}").cell_width == 4.0
    assert defended(text) == Method("dynanoise", DynaNoise(keep_label=True), cell_width=4.0)
    assert defended("static(cell_width=4)").cell_width == 4.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("temperature(cell_width=4)", "temperature draws no noise, keyed or fresh."),
        ("dynanoise(noise=keyed)", "For keyed noise write cell_width=WIDTH instead"),
        ("dynanoise(cellwidth=4)", "Did you mean 'cell_width'?"),
        ("dynanoise(cell_width=0)", "cell_width is 0."),
        ("a+b+c", "'a+b+c' has 3 parts. Write DEFENSE, or RECIPE+DEFENSE."),
        ("temperature+static", "There is no recipe 'temperature'."),
        ("", "The method '' cannot be read. Write a name, or NAME(PARAMETER=VALUE, ...)."),
        ("dynanoise_keyed(samples=2)", "The preset's method 'dynanoise_keyed' has no parameters."),
    ],
)
def test_methods_of_another_form_are_refused(text: str, says: str) -> None:
    with pytest.raises(DynaNoiseError) as caught:
        Plan("digits", methods=(text,))
    assert says in str(caught.value)


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
    plan = Plan(
        "digits",
        2,
        size="cpu",
        methods=("static",),
        attacks=("loss", "shadow"),
        protocols=("paper",),
        device="cuda",
    )
    assert plan.command == (
        "dynanoise bench digits --seeds 2 --size cpu --defense static --attack loss "
        "--attack shadow --protocol paper --device cuda"
    )
