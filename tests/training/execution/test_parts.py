"""Sub-models, stored one by one: the bits are those of a run that stores none."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

import torch
from torch import nn

from dynanoise.core.errors import DivergedError
from dynanoise.core.registry import MODELS
from dynanoise.data.dataset import Data
from dynanoise.training import loop
from dynanoise.training.execution.executors import (
    InProcess,
    Processes,
    parts_of,
    perform,
    tasks_of,
)
from dynanoise.training.execution.outputs import outputs_of
from dynanoise.training.execution.parts import Parts, count_parts
from dynanoise.training.jobs import Job, ModelOutputs
from dynanoise.training.recipes.out_of_fold import OutOfFold, verify
from dynanoise.training.recipes.plain import Plain
from dynanoise.training.recipes.selena import Selena
from dynanoise.training.schedule import Schedule
from dynanoise.training.store.store import Store, key
from tests.factories import tiny
from tests.factories.waiting import LONG

DATA = tiny.data()


def job(recipe: Any, model: Any = None, seed: int = 3) -> Job:
    mlp = MODELS.get("mlp")((8,))
    return Job(f"model {seed}", model or mlp, recipe, np.arange(90), np.arange(90, 120), seed=seed)


FOLDS = job(OutOfFold(tiny.QUICK, models=4, width=1.0, noise=0.05))
SELENA = job(Selena(tiny.QUICK, models=5, left_out=2))


def pictures() -> Data:
    generator = np.random.default_rng(1)
    labels = np.arange(150) % 3
    pixels = generator.integers(0, 60, (150, 8, 8, 3)) + 60 * labels[:, None, None, None]
    return Data("squares", pixels.astype(np.uint8), labels.astype(np.int64), 3)


CNN = MODELS.get("cnn")(width=4)
FAST = Schedule(epochs=8, batch=32, learning_rate=0.05, optimizer="sgd", one_cycle=True)
CASES = [
    pytest.param(FOLDS, DATA, id="out_of_fold"),
    pytest.param(SELENA, DATA, id="selena"),
    pytest.param(
        job(OutOfFold(replace(FAST, bfloat16=True), models=3, width=0.0), CNN),
        pictures(),
        id="out_of_fold_images",
    ),
    pytest.param(job(Selena(FAST, models=3, left_out=1), CNN), pictures(), id="selena_images"),
]


class Killed(BaseException):
    """Stands for the death of a run at a certain sub-model."""


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The models whose training has begun."""
    begun: list[nn.Module] = []
    fit = loop.fit

    def watch(model: nn.Module, *rest: Any, **named: Any) -> nn.Module:
        begun.append(model)
        return fit(model, *rest, **named)

    monkeypatch.setattr(loop, "fit", watch)
    return begun


def end_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the run where a model's training begins."""
    fit = loop.fit
    begun: list[nn.Module] = []

    def watch(model: nn.Module, *rest: Any, **named: Any) -> nn.Module:
        begun.append(model)
        if len(begun) == number:
            raise Killed
        return fit(model, *rest, **named)

    monkeypatch.setattr(loop, "fit", watch)


def same(first: ModelOutputs, second: ModelOutputs) -> bool:
    return (
        np.array_equal(first.logits, second.logits)
        and np.array_equal(first.random, second.random)
        and first.facts.keys() == second.facts.keys()
        and all(np.array_equal(first.facts[name], second.facts[name]) for name in first.facts)
    )


def roles(store: Store) -> list[str]:
    return [str(entry.description["job"]) for entry in store.entries()]


@pytest.mark.parametrize(("of", "data"), CASES)
def test_a_stopped_job_goes_on_after_its_last_sub_model(
    of: Job,
    data: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trainings: list[nn.Module],
) -> None:
    store, count = Store(tmp_path), count_parts(of)
    with monkeypatch.context() as patch:
        end_at(3, patch)
        with pytest.raises(Killed):
            outputs_of(of, data, store)
    assert sorted(roles(store)) == [f"model 3, sub-model {n} of {count}" for n in (1, 2)]
    trainings.clear()
    resumed = outputs_of(of, data, store)
    student = 1 if isinstance(of.recipe, Selena) else 0
    assert len(trainings) == count - 2 + student
    assert same(resumed, outputs_of(of, data, None))
    assert roles(store) == ["model 3"]  # the sub-models are in it, or have done their part


def test_the_stored_router_answers_as_the_one_that_was_trained(tmp_path: Path) -> None:
    outputs = outputs_of(FOLDS, DATA, Store(tmp_path))
    assert verify(outputs.facts, DATA.inputs).tolist() == [90, 4]


def test_recipes_without_sub_models_have_none(tmp_path: Path) -> None:
    assert count_parts(job(Plain(tiny.QUICK))) == 0
    assert (count_parts(FOLDS), count_parts(SELENA)) == (4, 5)
    outputs_of(job(Plain(tiny.QUICK)), DATA, Store(tmp_path))
    assert roles(Store(tmp_path)) == ["model 3"]


@pytest.mark.process
@pytest.mark.parametrize("stored", [False, True])
def test_workers_share_the_sub_models_of_a_job(
    stored: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [FOLDS, SELENA, replace(SELENA, seed=4, name="model 4"), job(Plain(tiny.QUICK), seed=5)]
    store = Store(tmp_path)
    if stored:
        Parts(DATA, store).train(FOLDS, 1)
        outputs_of(jobs[2], DATA, store)
    with caplog.at_level(logging.INFO, "dynanoise"):
        found = list(Processes(2, store).run(jobs, DATA))
    assert all(same(a, b) for a, b in zip(found, InProcess().run(jobs, DATA), strict=True))
    trained = [record.getMessage().split(":")[0] for record in caplog.records]
    once = {
        "model 5": 1,
        **{f"model 3, sub-model {n} of 4": 1 for n in range(1, 5)},
        **{f"model {m}, sub-model {n} of 5": 1 for m in (3, 4) for n in range(1, 6)},
        "model 3": 2,
        "model 4": 1,
    }
    if stored:
        once = {
            role: count
            for role, count in once.items()
            if not role.startswith("model 4") and role != "model 3, sub-model 2 of 4"
        }
    assert {role: trained.count(role) for role in trained} == once
    assert sorted(roles(store)) == ["model 3", "model 3", "model 4", "model 5"]


def test_a_sub_model_that_is_stored_is_no_task_and_is_not_trained_again(
    tmp_path: Path, trainings: list[nn.Module]
) -> None:
    store = Store(tmp_path)
    (task,) = tasks_of([FOLDS], store)
    assert parts_of(replace(task, store=None), DATA) == []  # workers could not hand them over
    assert [part.part for part in parts_of(task, DATA)] == [0, 1, 2, 3]
    for _ in range(2):
        Parts(DATA, store).train(FOLDS, 1)
    assert len(trainings) == 1
    assert [part.part for part in parts_of(task, DATA)] == [0, 2, 3]
    late = parts_of(task, DATA)[-1]
    outputs_of(FOLDS, DATA, store)
    assert parts_of(task, DATA) == []
    perform(late, DATA)  # begun when the whole is there already
    assert len(trainings) == 4 and roles(store) == ["model 3"]


def test_a_damaged_sub_model_is_trained_again(
    tmp_path: Path, trainings: list[nn.Module], caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    parts = Parts(DATA, store)
    for number in range(3):
        parts.train(FOLDS, number)
    name = parts.name(FOLDS, 1)
    file = tmp_path / name[:2] / name / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    trainings.clear()
    assert same(outputs_of(FOLDS, DATA, store), outputs_of(FOLDS, DATA, None))
    assert len(trainings) == 2 + 4
    assert "is damaged" in caplog.text
    assert roles(store) == ["model 3"]


def test_sub_models_stay_until_the_whole_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full when the whole is stored leaves what a repetition needs."""
    store = Store(tmp_path)
    put = Store.put

    def full(self: Store, name: str, *rest: Any) -> bool:
        return False if name == key(FOLDS, DATA) else put(self, name, *rest)

    monkeypatch.setattr(Store, "put", full)
    outputs_of(FOLDS, DATA, store)
    assert len(roles(store)) == 4


def test_a_store_that_takes_nothing_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "put", lambda *given: False)
    assert same(outputs_of(SELENA, DATA, Store(tmp_path)), outputs_of(SELENA, DATA, None))


def test_a_sub_model_that_another_run_trains_is_waited_for(
    tmp_path: Path, trainings: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    name = Parts(DATA, store).name(FOLDS, 2)
    theirs = store.claim(name, "theirs")
    assert theirs.__enter__()
    Parts(DATA, store).train(FOLDS, 2)
    assert trainings == []
    waits: list[float] = []

    def finished(seconds: float) -> None:
        waits.append(seconds)
        theirs.__exit__(None, None, None)
        Parts(DATA, store).train(FOLDS, 2)

    monkeypatch.setattr("dynanoise.training.execution.parts.time.sleep", finished)
    assert same(outputs_of(FOLDS, DATA, store), outputs_of(FOLDS, DATA, None))
    assert waits == [store.pause] and len(trainings) == 4 + 4


def test_sub_models_of_another_learning_rate_are_not_mixed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole that is retrained with a third of the learning rate trains its sub-models again."""
    store, rates = Store(tmp_path), []
    fit = loop.fit

    def blow_up(model: nn.Module, *rest: Any, **named: Any) -> nn.Module:
        schedule = next(value for value in rest if isinstance(value, Schedule))
        rates.append(schedule.learning_rate)
        trained = fit(model, *rest, **named)
        if schedule.learning_rate == tiny.QUICK.learning_rate:
            with torch.no_grad():
                for weight in trained.parameters():
                    weight.fill_(float("nan"))
        return trained

    monkeypatch.setattr(loop, "fit", blow_up)
    outputs = outputs_of(SELENA, DATA, store)
    third = tiny.QUICK.learning_rate / 3
    assert rates == [tiny.QUICK.learning_rate, *[third] * 6] and outputs.retries == 1
    assert np.isfinite(outputs.logits).all()
    assert roles(store) == ["model 3"]


@pytest.mark.process
def test_a_sub_model_that_diverges_is_an_error_of_the_whole(tmp_path: Path) -> None:
    hopeless = Schedule(epochs=1, batch=90, learning_rate=1e-9)
    jobs = [job(OutOfFold(hopeless, models=3, width=0.0))]
    with pytest.raises(DivergedError, match=r"model 3 \(OutOfFold\)"):
        list(Processes(2, Store(tmp_path)).run(jobs, DATA))


KILL = """
import os, signal, sys
from dynanoise.training import loop
from dynanoise.training.execution.outputs import outputs_of
from dynanoise.training.store.store import Store
from tests.training.execution.test_parts import DATA, FOLDS

fit, models = loop.fit, []

def watch(model, *rest, **named):
    models.append(model)
    if len(models) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return fit(model, *rest, **named)

loop.fit = watch
outputs_of(FOLDS, DATA, Store(sys.argv[1]))
"""


@pytest.mark.process
@pytest.mark.behaviour
def test_a_run_that_is_killed_leaves_its_finished_sub_models(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILL, str(tmp_path)], check=False, timeout=LONG)
    assert killed.returncode == -signal.SIGKILL
    store = Store(tmp_path)
    assert sorted(roles(store)) == [f"model 3, sub-model {n} of 4" for n in (1, 2)]
    resumed = outputs_of(FOLDS, DATA, store)
    assert same(resumed, outputs_of(FOLDS, DATA, None))
    assert verify(resumed.facts, DATA.inputs).tolist() == [90, 4]
    assert roles(store) == ["model 3"]
