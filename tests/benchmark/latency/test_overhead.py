"""Results of time and memory, measured on digits with defenses of known cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from dynanoise.benchmark.latency.overhead import OverheadPlan, draw_ids, overhead
from dynanoise.benchmark.latency.timing import Effort
from dynanoise.benchmark.presets import PRESETS
from dynanoise.core.defense import Method, Noise
from dynanoise.core.errors import InputError, MissingExtraError, UnknownNameError
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import View
from dynanoise.core.registry import PRESETS as REGISTRY
from dynanoise.core.result import Result
from dynanoise.defenses.temperature import Temperature, undefended
from dynanoise.report.io.results import from_json, to_json
from tests.factories.outputs import make_outputs

pytestmark = pytest.mark.behaviour

FEW: Mapping[int, Effort] = {1: Effort(6, block=0.001), 16: Effort(6, block=0.001)}


class Clock:
    """Moves by 0.1 ms when it is read, and by the work of defenses, whatever the machine does."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1e-4
        return self.now


CLOCK = Clock()


@dataclass(frozen=True)
class Slow(Temperature):
    """Takes 5 ms for each batch, not for each record."""

    def __call__(self, logits: Any, noise: Noise | None = None) -> Floats:
        CLOCK.now += 0.005
        return super().__call__(logits, noise)


@dataclass(frozen=True)
class Hoarder(Temperature):
    """Needs 4 MiB for each prediction, and holds 2 MiB that it was fitted to."""

    table: Float64 | None = None

    def fit(self, view: View) -> Self:
        return replace(self, table=np.zeros(2**18))

    def __call__(self, logits: Any, noise: Noise | None = None) -> Floats:
        assert self.table is not None
        np.ones(2**19).sum()
        return super().__call__(logits, noise)


DIGITS = replace(
    PRESETS["digits"],
    methods=(
        Method("none", undefended()),
        Method("slow", Slow(2.0)),
        Method("hoarder", Hoarder(2.0), recipe="relaxloss"),
        Method("smaller", undefended(), recipe="dpsgd"),
    ),
    variants={"dpsgd": "mlp(hidden=(8,))"},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def measured(folder: Path) -> tuple[dict[str, Result], list[str]]:
    pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    steps: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(REGISTRY, "get", lambda name: DIGITS)
        plan = OverheadPlan("digits", efforts=FEW)
        rows = overhead(plan, steps.append, store=folder, clock=CLOCK)
        assert len(steps) == plan.steps
    return {row.method: row for row in rows}, steps


@pytest.mark.behaviour
def test_a_slower_defense_has_the_larger_ratio(
    measured: tuple[dict[str, Result], list[str]],
) -> None:
    rows, _ = measured
    slow = rows["slow"].metrics
    # 5 ms each beside less than 1 ms, for a batch, so its records share it.
    assert slow["ratio_batch_1"].value > 5
    assert slow["ms_per_record_batch_1"].value >= 5
    assert 5 / 16 <= slow["ms_per_record_batch_16"].value < 5
    assert slow["ratio_batch_1"].low is not None
    none = rows["none"].metrics
    assert none["ratio_batch_1"].value == none["ratio_batch_16"].value == 1.0
    assert none["repeat_ratio_batch_1"].low is not None
    assert "repeat_ratio_batch_1" not in slow
    assert 0 < none["ms_per_record_batch_1"].value < slow["ms_per_record_batch_1"].value


@pytest.mark.behaviour
def test_memory_is_the_defenses_own(measured: tuple[dict[str, Result], list[str]]) -> None:
    rows, _ = measured
    hoarder, none = rows["hoarder"].metrics, rows["none"].metrics
    for batch in (1, 16):
        assert 4.0 <= hoarder[f"extra_mib_batch_{batch}"].value < 4.1
        assert 0 < none[f"extra_mib_batch_{batch}"].value < 0.1
    assert (hoarder["fitted_mib"].value, none["fitted_mib"].value) == (2.0, 0.0)
    weights = 64 * 256 + 256 + 256 * 10 + 10  # float32
    assert none["model_mib"].value == pytest.approx(weights * 4 / 2**20)
    assert rows["smaller"].metrics["model_mib"].value < none["model_mib"].value


def test_results_name_the_model_the_defense_and_the_command(
    measured: tuple[dict[str, Result], list[str]],
) -> None:
    rows, steps = measured
    assert list(rows) == ["none", "slow", "hoarder", "smaller"]
    assert {row.protocol for row in rows.values()} == {"overhead"}
    assert {row.attack for row in rows.values()} == {None}
    assert rows["none"].recipe_parameters["schedule"]["epochs"] == 100
    assert rows["hoarder"].recipe_parameters == {"weights": "those of plain"}
    assert rows["smaller"].recipe_parameters == {"weights": "initial"}
    assert rows["smaller"].model_parameters == {"hidden": (8,)}
    assert rows["hoarder"].defense["table"]["shape"] == [2**18]
    assert rows["none"].command == "dynanoise bench overhead --on digits"
    assert rows["none"].counts["rounds_batch_16"] == 6
    assert rows["none"].hardware["threads"] == 1
    assert all(row.seconds > 0 for row in rows.values())
    again = from_json(to_json(list(rows.values())))
    assert [row.metrics for row in again] == [row.metrics for row in rows.values()]
    assert steps[0] == "target" and steps[-1] == "batch 16, memory"


def test_a_stored_model_is_not_trained_again(
    measured: tuple[dict[str, Result], list[str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dynanoise.training.execution import outputs

    def refuse(*arguments: Any) -> None:
        raise AssertionError("a stored model was trained again")

    monkeypatch.setattr(outputs, "train_and_query", refuse)
    monkeypatch.setattr(REGISTRY, "get", lambda name: DIGITS)
    plan = OverheadPlan("digits", methods=("smaller",), efforts={4: Effort(6, block=1e-4)})
    rows = overhead(plan, store=folder)
    assert [row.method for row in rows] == ["none", "smaller"]
    assert rows[0].split == measured[0]["none"].split
    assert set(rows[1].metrics) == {
        "ratio_batch_4", "ms_per_record_batch_4", "extra_mib_batch_4", "fitted_mib", "model_mib",
    }  # fmt: skip


def test_queries_are_members_and_non_members_by_turns_and_do_not_repeat() -> None:
    outputs = make_outputs(records=50, members=40, first_id=100)
    batches = draw_ids(outputs, (3, 20), seed=0)
    member = (batches - 100) < 40
    assert (member.sum(axis=1) == 10).all()
    assert all(len(set(row)) == 20 for row in batches)
    assert not np.array_equal(batches[0], batches[1])
    assert not np.array_equal(batches, draw_ids(outputs, (3, 20), seed=1))
    single = [bool((draw_ids(outputs, (1, 1), seed) < 140).item()) for seed in range(40)]
    assert 10 < sum(single) < 30


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"on": "digitz"}, UnknownNameError, "Did you mean 'digits'"),
        ({"size": "huge"}, UnknownNameError, "no size 'huge'"),
        ({"methods": ("dynanose",)}, UnknownNameError, "no method 'dynanose'"),
        ({"efforts": {}}, InputError, "batch sizes are"),
        ({"efforts": {0: Effort(6)}}, InputError, "batch sizes are"),
    ],
)
def test_what_cannot_be_timed_is_refused(
    wrong: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        OverheadPlan(**{"on": "digits", **wrong})


def test_the_command_names_what_is_not_the_default() -> None:
    plan = OverheadPlan("cifar10", "quick", ("dynanoise", "memguard"), "cuda")
    assert plan.command == (
        "dynanoise bench overhead --on cifar10 --size quick --defense dynanoise "
        "--defense memguard --device cuda"
    )


def test_without_torch_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install"):
        overhead(OverheadPlan("digits"))
