"""What results say of the training of their models, and a model that learns nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from dynanoise.benchmark.benchmark import bench
from dynanoise.benchmark.layouts import effort
from dynanoise.benchmark.plan import Plan
from dynanoise.core.errors import DivergedError
from dynanoise.training.execution.executors import InProcess
from dynanoise.training.jobs import ModelOutputs
from tests.factories.presets import small_digits


def test_results_have_the_largest_epsilon_of_private_models() -> None:
    nothing = np.zeros((0, 1, 2), dtype=np.float32)
    plain = ModelOutputs(nothing, nothing[:, 0], seconds=2.0)
    private = [
        replace(plain, facts={"epsilon": np.array(value), "delta": np.array(1e-4)})
        for value in (2.5, 3.0, np.inf)  # infinite without noise
    ]
    found = effort(private[:2])
    assert (found["seconds"], found["epsilon"], found["delta"]) == (4.0, 3.0, 1e-4)
    assert effort([*private, plain], private[:1])["epsilon"] == 2.5
    for unbounded in ([plain], private, [private[0], plain]):
        assert "epsilon" not in effort(unbounded)


@dataclass(frozen=True)
class Failing:
    """Trains all models but those of a recipe."""

    recipe: str

    def run(self, jobs: Iterable[Any], data: Any) -> Iterator[ModelOutputs]:
        for job in jobs:
            if type(job.recipe).__name__.lower() == self.recipe:
                raise DivergedError("It learnt nothing.", "Train it longer.")
            yield from InProcess().run([job], data)


def test_a_row_that_learns_nothing_can_be_left_out() -> None:
    rows = ("relaxloss", "temperature", "hamp")
    plan = Plan("small", 1, custom=small_digits(), protocols=("paper",), methods=rows)
    with pytest.raises(DivergedError) as caught:
        list(bench(plan, executor=Failing("relaxloss")))
    assert str(caught.value).endswith(
        "Or leave this row out: --defense 'temperature' --defense 'hamp'."
    )
    with pytest.raises(DivergedError) as caught:  # the baseline, which every row is compared with
        list(bench(plan, executor=Failing("plain")))
    assert "leave" not in str(caught.value)
