"""Every method has one look, in every figure, and no look is two methods'."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate import ROOT
from dynanoise.core.registry import DEFENSES, RECIPES
from dynanoise.report.charts.style import METHODS, PALETTE, method_looks
from dynanoise.report.io.results import read_results

RUNS = sorted((ROOT / "results").glob("*/results.json"))


def test_no_two_methods_of_the_presets_share_a_look() -> None:
    assert len(set(METHODS.values())) == len(METHODS)
    assert len({colour for colour, _ in METHODS.values()}) == len(METHODS)
    assert len(set(PALETTE)) == len(PALETTE)


def test_every_defense_and_recipe_of_the_package_has_a_fixed_look() -> None:
    assert {*DEFENSES.names(), *RECIPES.names()} - {"plain"} <= {*METHODS, "none"}
    assert set(METHODS.values()) <= set(PALETTE)  # whose markers have a dash pattern in ROC curves


@pytest.mark.behaviour
@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.parent.name)
def test_a_method_looks_the_same_in_every_committed_run(path: Path) -> None:
    methods = list(dict.fromkeys(result.method for result in read_results(path)))
    looks = method_looks(methods)
    assert list(dict.fromkeys(looks)) == list(looks) and set(looks) == set(methods)
    assert len(set(looks.values())) == len(methods)
    for method in methods:
        assert method not in METHODS or looks[method] == METHODS[method]


def test_a_name_from_elsewhere_keeps_its_look_and_takes_no_other() -> None:
    names = [f"setting_{number}" for number in range(7)]
    alone = {name: method_looks([name])[name] for name in names}
    assert not set(alone.values()) & set(METHODS.values())
    together = method_looks([*METHODS, *names])
    assert len({colour for colour, _ in together.values()}) == len(METHODS) + len(names)
    for name in names:
        assert method_looks(["none", "temperature", name, *METHODS])[name] == alone[name]
    assert method_looks(list(reversed([*METHODS, names[0]])))["hamp"] == METHODS["hamp"]


def test_more_methods_than_looks_are_an_error() -> None:
    looks = method_looks([f"m{number}" for number in range(105)])
    assert len(set(looks.values())) == 105
    with pytest.raises(ValueError, match="all the looks"):
        method_looks([f"m{number}" for number in range(106)])
