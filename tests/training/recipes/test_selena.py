"""SELENA: no member is answered by a model that saw it, and the student sees no label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

import torch

from dynanoise.core.errors import DivergedError, InputError
from dynanoise.training import loop
from dynanoise.training.facts import facts_of
from dynanoise.training.recipes.selena import Selena, partition, split_ai
from tests.factories import tiny

LABELS = {
    row.tobytes(): int(label)
    for row, label in zip(tiny.data().inputs, tiny.data().labels, strict=True)
}


class Spy(torch.nn.Module):
    """Knows the label of what it was trained on for certain, and nothing of the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny.network()
        self.trained_on: set[bytes] = set()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows = [row.numpy().tobytes() for row in inputs]
        answer: torch.Tensor = self.inner(inputs)
        if self.training:
            self.trained_on.update(rows)
            return answer
        answer = torch.zeros_like(answer)
        for position, row in enumerate(rows):
            if row in self.trained_on:
                answer[position, LABELS[row]] = 50
        return answer


SMALL = Selena(tiny.QUICK, models=6, left_out=2)


@pytest.mark.parametrize(("models", "left_out"), [(25, 10), (5, 2), (2, 1), (7, 6)])
def test_every_example_is_left_out_of_exactly_so_many(models: int, left_out: int) -> None:
    count = 4000
    seen = partition(count, models, left_out, torch.Generator().manual_seed(0))
    assert seen.shape == (models, count) and seen.dtype == torch.bool
    assert ((~seen).sum(dim=0) == left_out).all()
    share = 1 - left_out / models
    sd = np.sqrt(count * share * (1 - share))
    assert (np.abs(seen.sum(dim=1).numpy() - count * share) < 5 * sd).all()


def test_who_is_left_out_does_not_depend_on_the_position() -> None:
    seen = partition(6000, 4, 2, torch.Generator().manual_seed(1)).double().numpy()
    pairs = {tuple(column) for column in seen.T}
    assert len(pairs) == 6  # all 4 choose 2
    neighbours = np.corrcoef(seen[0, :-1], seen[0, 1:])[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(6000)


Taught = list[tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> Taught:
    """The inputs and targets of every model that is trained, the student's last."""
    watched: Taught = []
    fit = loop.fit

    def watch(model: Any, inputs: Any, targets: Any, *rest: Any, **named: Any) -> Any:
        watched.append((inputs, targets))
        assert not named  # the loss is cross-entropy
        return fit(model, inputs, targets, *rest)

    monkeypatch.setattr(loop, "fit", watch)
    return watched


def test_no_member_is_answered_by_a_model_that_saw_it(taught: Taught) -> None:
    built: list[Spy] = []

    def build() -> Spy:
        built.append(Spy())
        return built[-1]

    given = tiny.material(build)
    student = SMALL.train(given)
    # One that saw the member would have put 50 on its label.
    torch.testing.assert_close(taught[-1][1], torch.full((90, tiny.CLASSES), 1 / 3))
    seen = facts_of(student)["seen"]
    assert seen.shape == (6, 90)
    for spy, saw in zip([spy for spy in built if spy is not student], seen, strict=True):
        expected = {row.tobytes() for row in given.data.inputs[given.members][saw]}
        assert spy.trained_on == expected  # the stored map says what happened


def test_answers_are_the_mean_over_the_models_that_did_not_see() -> None:
    """Against a loop over examples, with teachers that are constants."""
    seen = partition(12, 5, 2, torch.Generator().manual_seed(3))
    said = torch.randn(5, 12, 3, generator=torch.Generator().manual_seed(4))
    # An input is its own number, so a teacher can look its answer up.
    numbers, labels = torch.arange(12.0)[:, None], torch.zeros(12, dtype=torch.int64)

    class Teacher(torch.nn.Module):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            assert not self.training
            return said[self.number, inputs[:, 0].long()]

    got = split_ai(lambda number: Teacher(number).train(), numbers, labels, seen)
    for example in range(12):
        blind = [m for m in range(5) if not seen[m, example]]
        assert len(blind) == 2
        expected = torch.stack([said[m, example].softmax(0) for m in blind]).mean(0)
        torch.testing.assert_close(got[example], expected)


def test_distillation_sees_the_answers_and_no_label(taught: Taught) -> None:
    given = tiny.material()
    SMALL.train(given)
    assert len(taught) == 7
    inputs, answers = taught[-1]
    assert torch.equal(inputs, given.inputs(given.members))
    assert answers.shape == (90, tiny.CLASSES) and answers.is_floating_point()
    torch.testing.assert_close(answers.sum(dim=1), torch.ones(90))
    assert (answers.amax(dim=1) < 1).all()  # none is one-hot
    wrong = answers.argmax(dim=1) != given.labels(given.members)
    assert wrong.any()  # the sub-models' mistakes are taught, not put right


def test_sub_models_and_student_have_seeds_of_their_own() -> None:
    starts: list[bytes] = []

    def build() -> torch.nn.Module:
        model = torch.nn.Linear(5, tiny.CLASSES)
        starts.append(model.weight.detach().numpy().tobytes())
        return model

    given = tiny.material()
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    SMALL.train(replace(given, build=build))
    assert len(starts) == len(set(starts)) == 7
    torch.random.set_rng_state(state)
    build()
    assert starts[-1] == starts[0]  # the student starts where a plain model does


def test_the_same_material_gives_the_same_student() -> None:
    assert tiny.same_weights(SMALL.train(tiny.material()), SMALL.train(tiny.material()))


@pytest.mark.behaviour
def test_the_student_is_right_and_in_evaluation_mode() -> None:
    given = tiny.material(tiny.unruly)
    student = SMALL.train(given)
    assert not student.training and tiny.accuracy(student, given) > 0.8


def test_a_sub_model_that_learnt_nothing_is_not_taken_for_a_teacher() -> None:
    given = tiny.material(lambda: torch.nn.Sequential(torch.nn.Linear(5, 3), Silent()))
    with pytest.raises(DivergedError, match="sub-model 0 learnt nothing"):
        SMALL.train(given)


class Silent(torch.nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return 0 * rows


@pytest.mark.parametrize(("models", "left_out"), [(5, 5), (5, 6), (5, 0), (1, 1)])
def test_impossible_numbers_are_refused(models: int, left_out: int) -> None:
    with pytest.raises(InputError, match=f"left_out is {left_out} with {models} models"):
        Selena(tiny.QUICK, models=models, left_out=left_out)


def test_too_few_members_are_refused() -> None:
    with pytest.raises(InputError, match="2 members leave one of 25 sub-models without any"):
        Selena(tiny.QUICK, 25, 24).train(tiny.material(members=np.arange(2)))
