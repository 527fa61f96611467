"""What a sweep may ask for, and what it makes of it."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from dynanoise.benchmark.presets import PRESETS
from dynanoise.benchmark.sweep import PARAMETERS, Sweep
from dynanoise.defenses.dynanoise import DynaNoise


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_only_the_named_parameter_changes(parameter: str) -> None:
    plan = Sweep(parameter, "sst2", values=(1.5, 3.0)).plan
    own = next(row for row in PRESETS["sst2"].methods if row.name == "dynanoise").defense
    assert isinstance(own, DynaNoise)
    assert [row.name for row in plan.preset.methods] == [
        "none",
        f"{parameter}=1.5",
        f"{parameter}=3",
    ]
    for row, value in zip(plan.preset.methods[1:], (1.5, 3.0), strict=True):
        assert isinstance(row.defense, DynaNoise) and row.recipe == "plain"
        assert asdict(row.defense) == {**asdict(own), parameter: value}


def test_a_sweep_trains_and_counts_what_its_plan_does() -> None:
    sweep = Sweep("temperature", seeds=2, attacks=("loss",))
    assert sweep.plan.shadows == {"plain": 3}
    assert sweep.plan.steps == 2 * (4 + (1 + len(PARAMETERS["temperature"])) * 2)
