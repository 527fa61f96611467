"""Models that are asked again say what they said before, and leave nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from threadpoolctl import threadpool_info  # noqa: E402
from torch import nn  # noqa: E402

from dynanoise.core.registry import RECIPES  # noqa: E402
from dynanoise.training import replay  # noqa: E402
from dynanoise.training.jobs import Job  # noqa: E402
from dynanoise.training.models.mlp import Mlp  # noqa: E402
from dynanoise.training.store.store import Store  # noqa: E402
from tests.factories import tiny  # noqa: E402


def job() -> Job:
    recipe = RECIPES.get("plain")(tiny.QUICK)
    return Job("target", Mlp((16,)), recipe, np.arange(90), np.arange(90, 120), seed=3)


@pytest.mark.parametrize("with_store", [False, True])
def test_a_model_says_again_what_it_said(with_store: bool, tmp_path: Path) -> None:
    data = tiny.data()
    store = Store(tmp_path) if with_store else None
    for _ in range(2):  # trained, then found
        forward, answers = replay.trained(job(), data, store)
        ids = np.array([4, 100, 7])
        said = forward(forward.inputs(ids))
        assert said.dtype == np.float32 and said.shape == (3, 3)
        assert said == pytest.approx(answers.logits[ids, 0], abs=1e-6)
    assert len(list(Store(tmp_path).entries())) == with_store


def test_a_store_that_cannot_be_written_costs_nothing_but_the_storing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    forward, _ = replay.trained(job(), tiny.data(), Store(tmp_path / "file"))
    assert forward(forward.inputs(np.array([0]))).shape == (1, 3)


def test_initial_weights_are_the_seeds_and_the_global_generator_is_left_alone() -> None:
    data = tiny.data()
    before = torch.get_rng_state()
    one, same, other = (replay.untrained(replace(job(), seed=seed), data) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert tiny.same_weights(one.model, same.model)
    assert not tiny.same_weights(one.model, other.model)
    assert not one.model.training


def test_an_out_of_fold_module_is_untrained_and_answers() -> None:
    recipe = RECIPES.get("out_of_fold")(tiny.QUICK, models=3)
    forward = replay.untrained(replace(job(), recipe=recipe), tiny.data())
    single = replay.untrained(job(), tiny.data())
    assert forward(forward.inputs(np.arange(10))).shape == (10, 3)
    assert (
        forward.nbytes - dict(forward.model.named_buffers())["partition"].nbytes
        == 3 * single.nbytes
    )


def test_threads_are_set_for_torch_and_blas_and_given_back() -> None:
    def counts() -> list[int]:
        return [torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]

    before = counts()
    torch.set_num_threads(2)
    try:
        set_to_two = counts()
        with replay.threads(1):
            assert set(counts()) == {1}
        assert counts() == set_to_two
    finally:
        torch.set_num_threads(before[0])


def test_dropout_is_off() -> None:
    """Otherwise an answer would be timed that nobody is given."""
    data = tiny.data()

    class Unruly:
        def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
            return tiny.unruly()

    forward = replay.untrained(replace(job(), model=Unruly()), data)
    inputs = forward.inputs(np.arange(10))
    assert np.array_equal(forward(inputs), forward(inputs))
