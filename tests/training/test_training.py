"""Training repeats itself, leaves no trace in torch's state, and really trains."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from dynanoise.benchmark.presets import PRESETS  # noqa: E402
from dynanoise.core.errors import InputError  # noqa: E402
from dynanoise.core.registry import DATASETS, MODELS, RECIPES  # noqa: E402
from dynanoise.data.dataset import Data  # noqa: E402
from dynanoise.data.splits import paper_split  # noqa: E402
from dynanoise.metrics.roc import roc  # noqa: E402
from dynanoise.training import loop  # noqa: E402
from dynanoise.training.designs import paper_jobs, paper_run  # noqa: E402
from dynanoise.training.execution.executors import InProcess  # noqa: E402
from dynanoise.training.jobs import Job, ModelOutputs  # noqa: E402
from dynanoise.training.jobs import train_and_query as train  # noqa: E402
from dynanoise.training.schedule import Schedule  # noqa: E402


@pytest.fixture(scope="module")
def data() -> Data:
    loaded: Data = DATASETS.get("digits")()
    return loaded


def train_and_query(one: Job, data: Data) -> ModelOutputs:
    return train(one, data).outputs


def job(**changes: Any) -> Job:
    plain = Job(
        name="target",
        model=MODELS.get("mlp")((32,)),
        recipe=RECIPES.get("plain")(Schedule(epochs=3, learning_rate=1e-2)),
        members=np.arange(100),
        reference=np.arange(100, 150),
        seed=1,
    )
    return replace(plain, **changes)


def test_the_same_job_gives_the_same_bits(data: Data) -> None:
    np.testing.assert_array_equal(
        train_and_query(job(), data).logits, train_and_query(job(), data).logits
    )


@pytest.mark.parametrize("change", [{"seed": 2}, {"members": np.arange(1, 101)}])
def test_another_seed_or_other_members_give_another_model(
    data: Data, change: dict[str, Any]
) -> None:
    different = train_and_query(job(**change), data).logits
    assert not np.allclose(different, train_and_query(job(), data).logits)


def test_the_seed_decides_the_order_of_the_records_too(data: Data) -> None:
    """With the same initial weights, another seed still gives another model."""

    class Constant:
        def build(self, shape: tuple[int, ...], classes: int) -> Any:
            model = torch.nn.Linear(shape[0], classes)
            torch.nn.init.zeros_(model.weight)
            torch.nn.init.zeros_(model.bias)
            return model

    first, second = (train_and_query(job(model=Constant(), seed=s), data).logits for s in (1, 2))
    assert not np.array_equal(first, second)


@pytest.mark.behaviour
def test_torchs_global_state_is_left_as_it_was(data: Data) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    threads = torch.get_num_threads()
    train_and_query(job(threads=2), data)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_torchs_global_state_is_not_used(data: Data) -> None:
    torch.manual_seed(4)
    first = train_and_query(job(), data).logits
    torch.manual_seed(5)
    np.testing.assert_array_equal(train_and_query(job(), data).logits, first)


def test_threads_are_given_back_after_an_error(data: Data) -> None:
    threads = torch.get_num_threads()
    with pytest.raises(IndexError):
        train_and_query(job(members=np.array([10**6]), threads=threads + 1), data)
    assert torch.get_num_threads() == threads


@pytest.mark.behaviour
def test_training_learns_its_members(data: Data) -> None:
    """100 epochs fit 200 digits perfectly; one epoch does not."""
    members = np.arange(200)
    long, short = (
        train_and_query(
            job(
                model=MODELS.get("mlp")((256,)),
                recipe=RECIPES.get("plain")(Schedule(epochs=epochs)),
                members=members,
            ),
            data,
        )
        .logits[members, 0]
        .argmax(-1)
        for epochs in (100, 1)
    )
    assert (long == data.labels[members]).mean() == 1
    assert (short == data.labels[members]).mean() < 0.9


def test_answers_are_about_every_record_in_order(data: Data) -> None:
    answers = train_and_query(job(), data)
    assert answers.logits.shape == (len(data), 1, 10) and answers.logits.dtype == np.float32
    assert answers.random.shape == (100, 10) and np.isfinite(answers.random).all()


def test_answers_may_be_about_some_records_only(data: Data) -> None:
    asked = np.concatenate([np.arange(100), np.arange(100, 400, 3)])
    every, some = (train_and_query(job(queries=ids), data).logits for ids in (None, asked))
    np.testing.assert_allclose(some, every[asked], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("asked", [np.arange(5, 100), np.arange(100)[::-1], np.zeros(100, int)])
def test_the_members_are_among_those_asked_about_and_all_in_order(asked: Any) -> None:
    with pytest.raises(InputError, match="not in ascending order, or lack some"):
        job(queries=asked, members=np.arange(10))


def test_a_run_lays_the_models_out_as_the_paper_does(data: Data) -> None:
    split = paper_split(len(data), pool=100, reference=50, seed=0)
    jobs = paper_jobs(split, job().model, job().recipe, seed=0, shadows=2, threads=1)
    assert [one.name for one in jobs] == ["target", "shadow 0", "shadow 1"]
    assert len({one.seed for one in jobs}) == 3
    np.testing.assert_array_equal(jobs[0].members, split.members)
    np.testing.assert_array_equal(jobs[1].members, split.shadow_members)
    said = list(InProcess().run(jobs, data))
    run = paper_run(data, split, said, seed=0)
    answers = np.empty((3, len(data), 1, 10), np.float32)
    answers[:, split.ids] = [one.logits for one in said]
    np.testing.assert_array_equal(run.target.logits[0], answers[0][run.target.ids])
    np.testing.assert_array_equal(run.shadows.logits[1], answers[2][run.shadows.ids])
    np.testing.assert_array_equal(run.reference.logits[2], answers[2][run.reference.ids])
    np.testing.assert_array_equal(run.test.logits[0], answers[0][run.test.ids])
    np.testing.assert_array_equal(run.test.labels, data.labels[run.test.ids])
    assert run.random is not None
    np.testing.assert_array_equal(run.random[1], said[1].random)
    np.testing.assert_array_equal(run.view(2).random, said[2].random)
    assert set(run.target.ids[run.target.use[0] == 1]) == set(split.members)
    assert set(run.shadows.ids[run.shadows.use[1] == 1]) == set(split.shadow_members)
    for part in (run.target, run.shadows, run.test, run.reference):
        assert (np.diff(part.ids) > 0).all()
    position = np.arange(len(run.target.ids))
    # Position tells nothing of membership: an AUC within 4 of its standard deviations of 0.5.
    sides = run.target.use[0] == 1
    sd = np.sqrt((len(sides) + 1) / (12 * sides.sum() * (~sides).sum()))
    assert abs(roc(position, sides).auc - 0.5) < 4 * sd
    assert not run.test.use.any() and not run.reference.use.any()


def test_a_schedule_trains_in_its_precision(data: Data) -> None:
    """And outputs say in which."""
    plain = Schedule(epochs=3, learning_rate=1e-2)
    outputs = [
        train_and_query(job(recipe=RECIPES.get("plain")(schedule)), data)
        for schedule in (plain, replace(plain, bfloat16=True))
    ]
    assert [output.bfloat16 for output in outputs] == [False, True]
    assert not np.array_equal(outputs[0].logits, outputs[1].logits)


@pytest.mark.parametrize("faster", [False, True])
def test_a_plan_turns_bfloat16_off_where_it_is_slower(
    faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what is stored says in which precision it was trained, by whatever worker."""
    monkeypatch.setattr(loop, "_faster_in_bfloat16", lambda device: faster)
    plain = RECIPES.get("plain")
    assert loop.settled(plain(Schedule(bfloat16=True)), "cpu").schedule.bfloat16 is faster
    assert loop.settled(plain(Schedule()), "cpu").schedule.bfloat16 is False
    assert PRESETS["cifar10"].size(None).recipe("plain").schedule.bfloat16 is faster
    assert PRESETS["digits"].size(None).recipe("plain").schedule.bfloat16 is False


@pytest.mark.parametrize(("bfloat16", "expected"), [(3.0, False), (0.9, False), (0.7, True)])
def test_precision_is_measured(
    bfloat16: float, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In processor seconds of a convolution, without a draw from the global generator."""
    spent = iter([0.0, bfloat16, 10.0, 11.0] * 4)  # float32 takes one second
    monkeypatch.setattr(time, "process_time", lambda: next(spent))
    before = torch.get_rng_state()
    loop._faster_in_bfloat16.cache_clear()
    assert loop._faster_in_bfloat16("cpu") is expected
    loop._faster_in_bfloat16.cache_clear()
    assert torch.equal(before, torch.get_rng_state())
