"""Which models are stacked, that each comes out as it would alone, and what the store does then."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
pytest.importorskip("safetensors", reason="storing needs: pip install 'dynanoise[train]'")

from torch import nn  # noqa: E402

from dynanoise.core.errors import DivergedError, InputError, WorkerError  # noqa: E402
from dynanoise.core.registry import MODELS, RECIPES  # noqa: E402
from dynanoise.data.dataset import Data  # noqa: E402
from dynanoise.training.execution import together  # noqa: E402
from dynanoise.training.execution.estimate import estimate, gain  # noqa: E402
from dynanoise.training.execution.executors import FromStore, InProcess, Processes  # noqa: E402
from dynanoise.training.execution.together import arrange, train_together  # noqa: E402
from dynanoise.training.jobs import Answers, Job, train_and_answer  # noqa: E402
from dynanoise.training.models.cnn import Cnn  # noqa: E402
from dynanoise.training.models.mlp import Mlp  # noqa: E402
from dynanoise.training.recipes.plain import Plain  # noqa: E402
from dynanoise.training.schedule import Schedule  # noqa: E402
from dynanoise.training.store import stored as module  # noqa: E402
from dynanoise.training.store.store import Store, describe, key  # noqa: E402
from dynanoise.training.store.stored import attempted  # noqa: E402
from tests.training import tiny  # noqa: E402

DATA = tiny.data()
QUICK = Schedule(epochs=6, batch=16, learning_rate=1e-2)


def job(number: int, **changes: Any) -> Job:
    coins = np.random.default_rng(number).random(120) < 0.5
    plain = Job(
        name=f"model {number}",
        model=Mlp((16,)),
        recipe=Plain(QUICK),
        members=np.flatnonzero(coins),
        reference=np.arange(120, 150),
        seed=number,
    )
    return replace(plain, **changes)


@dataclass(frozen=True)
class Dropping:
    """A network with dropout."""

    stackable: ClassVar[bool] = True

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        linear = nn.Linear
        layers = (linear(shape[0], 16), nn.ReLU(), nn.Dropout(0.3))
        return nn.Sequential(*layers, linear(16, classes))


def jobs(count: int, **changes: Any) -> list[Job]:
    return [job(number, **changes) for number in range(count)]


def never(alike: Sequence[Job], data: Data) -> float:
    raise AssertionError("nothing is to be measured")


def sizes(groups: Sequence[tuple[Job, ...]]) -> list[int]:
    assert all(
        one.stacked == (len(group) > 1) or len(group) == 1 for group in groups for one in group
    )
    return [len(group) for group in groups]


def close(ours: Sequence[Answers], theirs: Sequence[Answers]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.logits, other.logits, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(mine.random, other.random, rtol=1e-4, atol=1e-4)


def test_stacks_are_full_or_even() -> None:
    seven = jobs(7)
    assert sizes(arrange(seven, DATA, size=4, gain=never)) == [4, 3]
    assert sizes(arrange(seven, DATA, size=16, gain=never)) == [7]
    assert sizes(arrange(seven, DATA, size=16, slots=2, gain=never)) == [4, 3]
    assert sizes(arrange(seven, DATA, size=2, slots=3, gain=never)) == [2, 2, 1, 2]
    assert sizes(arrange(seven, DATA, size=16, slots=99, gain=never)) == [1] * 7
    kept = arrange(seven, DATA, size=4, gain=never)
    assert [one.name for group in kept for one in group] == [one.name for one in seven]
    assert all(one.stacked for group in kept for one in group)
    assert arrange([], DATA, size=4, gain=never) == []


def test_only_what_can_be_is_stacked() -> None:
    mixed = [
        *jobs(2),
        *jobs(2, recipe=RECIPES.get("advreg")(QUICK)),
        *jobs(2, model=Cnn(norm="group")),
        *jobs(2, recipe=RECIPES.get("hamp")(QUICK)),
        *jobs(1, recipe=RECIPES.get("hamp")(replace(QUICK, epochs=7))),
        *jobs(2, threads=2),
    ]
    groups = arrange(mixed, DATA, size=16, gain=never)
    assert sizes(groups) == [2, 1, 1, 1, 1, 2, 1, 2]
    assert [group[0].stacked for group in groups] == [True, *[False] * 4, *[True] * 3]
    assert not any(one.stacked for (one,) in arrange(mixed, DATA, size=1, gain=never))
    assert [MODELS.get(name)().build is not None for name in ("mlp", "text")] == [True, True]


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_below_1_is_refused(size: int) -> None:
    for made in (lambda: InProcess(stack=size), lambda: Processes(2, stack=size)):
        with pytest.raises(InputError, match=f"stack is {size}"):
            made()


def test_it_is_measured_on_a_gpu_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert sizes(arrange(jobs(3), DATA, size=None, gain=never)) == [1, 1, 1]
    gpu = jobs(20, device="cuda")
    asked: list[int] = []

    def measured(times: float) -> Any:
        def of(alike: Sequence[Job], data: Data) -> float:
            asked.append(len(alike))
            return times

        return of

    with caplog.at_level(logging.INFO):
        assert sizes(arrange(gpu, DATA, size=None, gain=measured(3.0))) == [10, 10]
    assert "model 0: stacked training is 3 times as fast" in caplog.text
    assert sizes(arrange(gpu, DATA, size=None, gain=measured(0.9))) == [1] * 20
    assert asked == [together.MOST] * 2

    def too_large(alike: Sequence[Job], data: Data) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with caplog.at_level(logging.INFO):
        assert sizes(arrange(gpu, DATA, size=None, gain=too_large)) == [1] * 20
    assert "16 stacked models do not fit into memory" in caplog.text
    assert sizes(arrange(gpu[:1], DATA, size=None, gain=never)) == [1]


@pytest.mark.parametrize("way", [True, False])
def test_a_run_goes_on_as_it_began(tmp_path: Path, way: bool) -> None:
    store = Store(tmp_path)
    gpu = jobs(4, device="cuda")
    begun = replace(gpu[2], stacked=way)
    made = train_and_answer(replace(begun, device="cpu"), DATA)
    assert store.put(key(begun, DATA), made, describe(begun, DATA))
    groups = arrange(gpu, DATA, size=None, store=store, gain=never)
    assert sizes(groups) == ([4] if way else [1] * 4)


@pytest.mark.parametrize("model", [Mlp((16,)), Dropping()])
def test_a_stack_answers_as_its_models_alone(model: Any) -> None:
    wanted = jobs(5, model=model)
    alone = [train_and_answer(one, DATA).answers for one in wanted]
    (group,) = arrange(wanted, DATA, size=16, gain=never)
    made = train_together(group, DATA)
    close([one.answers for one in made], alone)
    assert all(one.answers.stacked and one.answers.retries == 0 for one in made)
    assert not any(one.stacked for one in alone)
    different = np.abs(alone[0].logits - alone[1].logits).max()
    assert different > 0.1


def diverging() -> tuple[list[Job], Data]:
    """The second of three has a member so large that a step in its direction overflows."""
    inputs = DATA.inputs.copy()
    wanted = jobs(3, recipe=Plain(replace(QUICK, optimizer="sgd")))
    only = np.setdiff1d(wanted[1].members, np.union1d(wanted[0].members, wanted[2].members))
    inputs[only[0]] = 3e38
    return wanted, replace(DATA, inputs=inputs)


def test_a_diverged_model_is_trained_alone_and_spoils_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wanted, spoilt = diverging()
    (group,) = arrange(wanted, spoilt, size=16, gain=never)
    with pytest.raises(DivergedError, match="model 1"):
        train_together(group, spoilt)
    assert "model 1" in caplog.text and "It is trained alone." in caplog.text
    assert "model 0" not in caplog.text and "model 2" not in caplog.text
    fine = train_together([group[0], group[2]], spoilt)
    for made, number in zip(fine, (0, 2), strict=True):
        alone = train_and_answer(wanted[number], spoilt).answers
        np.testing.assert_allclose(made.answers.logits, alone.logits, rtol=1e-4, atol=1e-4)


def test_a_model_that_cannot_be_trained_costs_no_other_of_its_stack(tmp_path: Path) -> None:
    wanted, spoilt = diverging()
    store = Store(tmp_path)
    with pytest.raises(DivergedError, match="model 1"):
        list(InProcess(store, stack=16).run(wanted, spoilt))
    own = [replace(one, stacked=True) for one in wanted]
    assert [key(one, spoilt) in store for one in own] == [True, False, True]


@pytest.mark.parametrize("executor", [InProcess(stack=4), Processes(2, stack=4)])
def test_executors_give_the_answers_of_models_alone(executor: Any) -> None:
    wanted = jobs(6)
    close(list(executor.run(wanted, DATA)), list(InProcess().run(wanted, DATA)))


@dataclass(frozen=True)
class Fatal:
    """Ends the process that would train it, as the operating system does where memory is short."""

    stackable: ClassVar[bool] = True

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        os._exit(9)


def test_a_worker_that_dies_is_one_sentence_and_finished_stacks_are_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = Processes(1, store, stack=2).run([*jobs(2), *jobs(2, model=Fatal())], DATA)
    assert [next(run).stacked for _ in range(2)] == [True, True]
    with pytest.raises(WorkerError, match="A worker process died"):
        next(run)
    assert len(list(store.entries())) == 2


def refuse(*given: Any) -> Any:
    raise AssertionError("a finished model was trained again")


def test_finished_models_of_a_stack_are_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    wanted = jobs(6)
    first = list(InProcess(store, stack=4).run(wanted, DATA))
    assert len(list(store.entries())) == 6
    trained: list[int] = []

    def counted(missing: Sequence[Job], *given: Any) -> Any:
        trained.append(len(missing))
        return train_together(missing, *given)

    monkeypatch.setattr(module, "train_together", counted)
    monkeypatch.setattr(module, "train_and_answer", refuse)
    again = list(InProcess(store, stack=4).run(wanted, DATA))
    assert trained == []
    for before, after in zip(first, again, strict=True):
        np.testing.assert_array_equal(before.logits, after.logits)
        assert after.stacked
    # One entry is damaged: that model alone is made again.
    name = key(replace(wanted[1], stacked=True), DATA)
    next(tmp_path.glob(f"*/{name}/answers.npz")).write_bytes(b"damaged")
    close(list(InProcess(store, stack=4).run(wanted, DATA)), first)
    assert trained == [1]
    # What trains nothing takes them, whichever way they were trained.
    for before, after in zip(first, FromStore(store).run(wanted, DATA), strict=True):
        np.testing.assert_allclose(before.logits, after.logits, atol=1e-4)


def test_stacked_models_have_keys_of_their_own() -> None:
    own = job(0)
    assert key(own, DATA) != key(replace(own, stacked=True), DATA)
    assert "stacked" not in describe(own, DATA)


def test_models_that_another_run_trains_are_left_out_of_the_stack(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (group,) = arrange(jobs(3), DATA, size=4, gain=never)
    with store.claim(key(group[1], DATA), "theirs"):
        found = attempted(group, DATA, store, "ours")
    assert [one is None for one in found] == [False, True, False]
    assert [key(one, DATA) in store for one in group] == [True, False, True]


def test_the_estimate_is_divided_by_what_stacking_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    (group,) = arrange(jobs(4), DATA, size=4, gain=never)
    times = gain(group, DATA)
    assert 0 < times < 100
    asked: list[int] = []

    def tenfold(alike: Sequence[Job], data: Data) -> float:
        asked.append(len(alike))
        return 10.0

    clock = iter(np.arange(0, 1e6))
    monkeypatch.setattr("dynanoise.training.execution.estimate.gain", tenfold)
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    alone, stacked = estimate(jobs(4), DATA), estimate(group, DATA, stack=3)
    assert asked == [3]
    assert stacked.size == alone.size
    assert stacked.seconds < alone.seconds
