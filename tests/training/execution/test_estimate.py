"""What models will cost: sizes exactly, times in proportion to a clock that is made up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
pytest.importorskip("safetensors", reason="storing needs: pip install 'dynanoise[train]'")

from dynanoise.core.errors import DivergedError  # noqa: E402
from dynanoise.core.registry import MODELS, RECIPES  # noqa: E402
from dynanoise.training import divergence  # noqa: E402
from dynanoise.training.execution import estimate  # noqa: E402
from dynanoise.training.jobs import Job  # noqa: E402
from dynanoise.training.material import Material  # noqa: E402
from dynanoise.training.schedule import Schedule  # noqa: E402
from dynanoise.training.store.store import Store  # noqa: E402
from dynanoise.training.store.stored import stored  # noqa: E402
from tests.training import tiny  # noqa: E402

DATA = tiny.data(600)
SCHEDULE = Schedule(epochs=50, batch=16, learning_rate=3e-2)


def job(recipe: Any, members: int = 400, **changes: Any) -> Job:
    plain = Job(
        name="target",
        model=MODELS.get("mlp")((16,)),
        recipe=recipe,
        members=np.arange(members),
        reference=np.arange(500, 560),
        seed=1,
    )
    return replace(plain, **changes)


class Clock:
    """Stands still, but for what it is told that time passes."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@dataclass(frozen=True)
class Timed:
    """Takes a second to begin with, and a tenth for every record and epoch."""

    clock: Clock
    schedule: Schedule = SCHEDULE
    version: ClassVar[int] = 1

    def train(self, material: Material) -> Any:
        self.clock.now += 1 + 0.1 * len(material.members) * self.schedule.epochs
        return material.build()


def test_time_grows_with_records_and_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    jobs = [job(Timed(clock)), job(Timed(clock), members=100)]
    found = estimate.estimate(jobs, DATA)
    assert found.seconds == pytest.approx(2 * 1 + 0.1 * 50 * (400 + 100))
    few = job(Timed(clock), members=10)  # less than a batch
    assert estimate.estimate([few], DATA).seconds == pytest.approx(1 + 0.1 * 50 * 10)
    assert estimate.estimate([], DATA) == (0.0, 0)


def test_the_size_is_that_of_the_stored_entry(tmp_path: Path) -> None:
    one = job(RECIPES.get("plain")(SCHEDULE), asked=np.arange(500))
    stored(one, DATA, Store(tmp_path))
    (entry,) = Store(tmp_path).entries()
    assert entry.size == pytest.approx(estimate.estimate([one], DATA).size, abs=4096)


@pytest.mark.parametrize("name", ["plain", "advreg", "relaxloss", "selena", "hamp"])
def test_a_few_steps_of_every_recipe_can_be_measured(name: str) -> None:
    """Though they leave models at chance, which is an error elsewhere."""
    schedule = replace(SCHEDULE, learning_rate=1e-9)
    before = torch.random.get_rng_state()
    found = estimate.estimate([job(RECIPES.get(name)(schedule))], DATA)
    assert found.seconds > 0 and found.size > 4 * 3 * 600
    assert torch.equal(torch.random.get_rng_state(), before)
    with pytest.raises(DivergedError):
        divergence.check("it", np.zeros((90, 3)), np.arange(90) % 3)


def test_the_adversary_takes_part_in_what_is_measured() -> None:
    recipe = RECIPES.get("advreg")(SCHEDULE, plain_epochs=4)
    assert estimate._brief(recipe, 1) == replace(
        recipe, schedule=replace(SCHEDULE, epochs=1), plain_epochs=0
    )
