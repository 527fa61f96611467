"""Out-of-fold answers: the model that answers near a record was not trained on it, exactly."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

import torch

from dynanoise.core.errors import DivergedError, InputError
from dynanoise.core.registry import MODELS
from dynanoise.data.dataset import Data
from dynanoise.integrations.out_of_fold.router import Router
from dynanoise.partition.neighbourhood import sample
from dynanoise.training import loop
from dynanoise.training.execution.outputs import outputs_of, rebuilt
from dynanoise.training.facts import facts_of
from dynanoise.training.jobs import Job, train_and_query
from dynanoise.training.material import Material
from dynanoise.training.queries import stored_model
from dynanoise.training.recipes.out_of_fold import OutOfFold, cells_of, verify
from dynanoise.training.schedule import Schedule
from dynanoise.training.store.store import Store, key
from tests.factories import tiny

ONE = Schedule(epochs=1, batch=32, learning_rate=1e-2)
SMALL = OutOfFold(tiny.QUICK, models=4, width=1.5, components=2, noise=0.05)


def images(count: int = 60) -> Data:
    generator = np.random.default_rng(0)
    coarse = generator.normal(120, 40, (count, 4, 4, 3)).repeat(2, 1).repeat(2, 2)
    return Data(
        "blocks",
        np.clip(coarse, 0, 255).astype(np.uint8),
        np.arange(count) % 2,
        2,
    )


def texts(count: int = 80) -> Data:
    generator = np.random.default_rng(0)
    tokens = np.where(
        np.arange(8) < generator.integers(3, 9, (count, 1)),
        generator.integers(1, 30, (count, 8)),
        0,
    )
    return Data("texts", tokens.astype(np.int32), np.arange(count) % 2, 2, vocabulary_size=30)


KINDS: dict[str, tuple[Data, Any, OutOfFold]] = {
    "numbers": (tiny.data(), MODELS.get("mlp")((8,)), replace(SMALL, schedule=ONE)),
    "images": (
        images(),
        MODELS.get("cnn")(width=4),
        OutOfFold(ONE, models=4, width=2.0, components=2, noise=2, brightness=10),
    ),
    "texts": (
        texts(),
        MODELS.get("text")(vocabulary=30, width=4),
        OutOfFold(ONE, models=4, width=1.0, components=3, deletion=True),
    ),
    "records": (tiny.data(), MODELS.get("mlp")((8,)), OutOfFold(ONE, models=3, width=0)),
}


def material_of(data: Data, model: Any, members: Any = None) -> Material:
    third = len(data) // 3
    return Material(
        build=lambda: model.build(data.inputs.shape[1:], data.classes),
        data=data,
        members=np.arange(third, len(data)) if members is None else members,
        reference=np.arange(third),
        seed=1,
        device=torch.device("cpu"),
    )


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch teaches nothing; what is learnt does not matter here."""
    monkeypatch.setattr(
        "dynanoise.training.recipes.out_of_fold.divergence.check_converged", lambda *_: None
    )


def trained_rows(monkeypatch: pytest.MonkeyPatch) -> list[set[bytes]]:
    """The inputs that each model is trained on, in the order of the training."""
    rows: list[set[bytes]] = []
    fit = loop.fit

    def watch(model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        rows.append({row.tobytes() for row in inputs.numpy()})
        return fit(model, inputs, *rest, **named)

    monkeypatch.setattr(loop, "fit", watch)
    return rows


def answered_by_members(router: Router, data: Data, rows: list[set[bytes]], points: int) -> int:
    """Number of sampled points near a member that a model answers which was trained on it."""
    facts = facts_of(router)
    cells, members = cells_of(facts), facts["members"]
    inputs = data.inputs[members]
    seen = np.array([[row.tobytes() in part for row in inputs] for part in rows])
    near = [inputs]
    if cells.neighbourhood is not None:
        generator = np.random.default_rng(2)
        near += list(sample(cells.neighbourhood, inputs, generator, points, cells.scale))
    spies = [torch.nn.Module() for _ in rows]
    for number, spy in enumerate(spies):
        spy.forward = lambda queries, number=number: torch.full((len(queries), 1), float(number))
    asked = type(router)(spies)
    asked._cells = cells
    wrong = 0
    for queries in near:
        model = asked(torch.from_numpy(queries))[:, 0].long().numpy()
        wrong += int(seen[model, np.arange(len(inputs))].sum())
    return wrong


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("kind", KINDS)
def test_no_member_is_answered_by_a_model_that_was_trained_on_it(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, model, recipe = KINDS[kind]
    rows = trained_rows(monkeypatch)
    router = recipe.train(material_of(data, model))
    assert isinstance(router, Router)
    assert answered_by_members(router, data, rows, 40) == 0
    facts = facts_of(router)
    for number, part in enumerate(rows):
        kept = facts["members"][~facts["left_out"][number]]
        assert part == {row.tobytes() for row in data.inputs[kept]}
    assert verify(facts, data.inputs).tolist() == [len(facts["members"]), recipe.models]

    class Broken(Router):
        """The next model answers."""

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            models = list(self.models)
            shifted = Router(models[1:] + models[:1])
            shifted._cells = self._cells
            return shifted.forward(inputs)

    router.__class__ = Broken
    assert answered_by_members(router, data, rows, 40) > 0


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("kind", KINDS)
def test_answers_near_a_record_have_the_same_bits_without_it(kind: str) -> None:
    """The property itself: trained with and without a record, outputs near it are equal."""
    data, model, recipe = KINDS[kind]
    given = material_of(data, model)
    record = given.members[len(given.members) // 2]
    with_it = recipe.train(given)
    without = recipe.train(material_of(data, model, given.members[given.members != record]))
    cells = cells_of(facts_of(with_it))
    near = [data.inputs[record][None]]
    if cells.neighbourhood is not None:
        points = sample(cells.neighbourhood, near[0], np.random.default_rng(3), 30, cells.scale)
        near += list(points)
    queries = torch.from_numpy(np.concatenate(near))
    assert torch.equal(with_it(queries), without(queries))
    # Elsewhere the record does make a difference.
    everything = torch.from_numpy(data.inputs)
    assert not torch.equal(with_it(everything), without(everything))


def test_each_row_is_answered_by_the_model_of_its_fold() -> None:
    router = SMALL.train(tiny.material())
    assert isinstance(router, Router)
    inputs = torch.from_numpy(tiny.data().inputs)
    folds = router.cells.fold(tiny.data().inputs)
    assert len(set(folds)) > 1
    logits = router(inputs)
    for row, fold in enumerate(folds):
        alone = router.models[fold](inputs[row : row + 1])
        torch.testing.assert_close(logits[row : row + 1], alone)
    assert router(inputs[:0]).shape == (0, 3)
    inputs.requires_grad_()
    (gradient,) = torch.autograd.grad(router(inputs).sum(), inputs)
    assert gradient.abs().sum() > 0


def test_a_stored_model_brings_its_cells_and_its_proof(tmp_path: Path) -> None:
    data, store = tiny.data(), Store(tmp_path)
    job = Job("target", MODELS.get("mlp")((8,)), SMALL, np.arange(90), np.arange(90, 120), 3)
    outputs = outputs_of(job, data, store)
    again = rebuilt(job, data, store)
    logits = loop.predict(again, torch.from_numpy(data.inputs))
    np.testing.assert_array_equal(logits.numpy(), outputs.logits[:, 0])
    # As an attacker who chooses inputs queries it, in a process of its own.
    function = pickle.loads(pickle.dumps(stored_model(job, data, store)))
    np.testing.assert_array_equal(function(data.inputs), logits.numpy())
    assert function.gradient(data.inputs[:3], np.ones((3, 3))).any()
    stored = store.get(key(job, data))
    assert stored is not None
    assert verify(stored.facts, data.inputs).tolist() == [90, 4]
    # A record that was put back, other data, and damaged cells.
    facts = dict(stored.facts)
    broken = facts["left_out"].copy()
    broken[tuple(np.argwhere(broken)[0])] = False
    with pytest.raises(InputError, match="1 records are in a model that may answer"):
        verify({**facts, "left_out": broken}, data.inputs)
    with pytest.raises(InputError, match="cells are damaged"):
        verify({**facts, "cells": facts["cells"][:-5]}, data.inputs)
    with pytest.raises(InputError, match="records are not the 90 of the training"):
        verify(facts, data.inputs[::-1])
    with pytest.raises(InputError, match="There are 50 records, and the model was trained on"):
        verify(facts, data.inputs[:50])
    with pytest.raises(InputError, match="has no cells"):
        verify({}, data.inputs)


def test_the_same_job_gives_the_same_bits() -> None:
    assert tiny.same_weights(SMALL.train(tiny.material()), SMALL.train(tiny.material()))


def test_the_key_is_that_of_the_pool_or_of_the_job() -> None:
    given = tiny.material()
    other = replace(given, seed=2)
    assert SMALL.cells(given).digest == SMALL.cells(other).digest
    own = replace(SMALL, key=None)
    assert own.cells(given).digest != own.cells(other).digest


@pytest.mark.usefixtures("lenient")
def test_gradients_of_images_go_through_the_model_of_their_fold() -> None:
    data, model, recipe = KINDS["images"]
    router = recipe.train(material_of(data, model))
    pixels = torch.from_numpy(data.inputs[:8])
    rows = pixels.float().requires_grad_()
    torch.testing.assert_close(router(rows), router(pixels))
    (gradient,) = torch.autograd.grad(router(rows).sum(), rows)
    assert gradient.abs().sum() > 0


@pytest.mark.behaviour
def test_accuracy_on_members_is_that_on_others() -> None:
    data = tiny.data(600)
    recipe = replace(SMALL, schedule=tiny.QUICK)
    job = Job("target", MODELS.get("mlp")((16,)), recipe, np.arange(300), np.arange(540, 600), 0)
    right = train_and_query(job, data).outputs.logits[:, 0].argmax(axis=1) == data.labels
    assert right[:300].mean() > 0.7 and abs(right[:300].mean() - right[300:540].mean()) < 0.1


def test_a_model_that_learnt_nothing_is_trained_again_alone() -> None:
    class Silent(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return 0 * rows

    given = tiny.material(lambda: torch.nn.Sequential(torch.nn.Linear(5, 3), Silent()))
    with pytest.raises(DivergedError, match=r"model 0 of 4: .* Learning rates tried: .*, .*, "):
        SMALL.train(given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": 1}, "models is 1"),
        ({"models": 2.0}, "models is 2.0"),
        ({"width": -1.0}, "width is -1.0"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"width": 0.0}, r"noise is 0\.05 and width 0"),
    ],
)
def test_impossible_parameters_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SMALL, **changes)


def test_neighbourhoods_of_other_data_and_empty_models_are_refused() -> None:
    with pytest.raises(InputError, match=r"shift=1.* does not suit numbers"):
        replace(SMALL, shift=1).train(tiny.material())
    with pytest.raises(InputError, match="deletion=True does not suit numbers"):
        replace(SMALL, deletion=True).train(tiny.material())
    with pytest.raises(InputError, match="Model 0 of 4 has none of 90 members"):
        replace(SMALL, noise=5.0).train(tiny.material())
