"""A model at chance is noticed, trained again with smaller steps, and otherwise an error."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

import torch

from dynanoise.core.errors import DivergedError
from dynanoise.training import divergence
from dynanoise.training.jobs import Job, train_and_query
from dynanoise.training.material import Material
from dynanoise.training.recipes.dpsgd import DpSgd
from dynanoise.training.recipes.plain import Plain
from dynanoise.training.schedule import Schedule
from tests.factories import tiny


class Architecture:
    def build(self, shape: tuple[int, ...], classes: int) -> Any:
        return torch.nn.Linear(shape[0], classes)


@dataclass(frozen=True)
class Fragile:
    """Learns only with steps below ``limit``."""

    schedule: Schedule
    limit: float
    answer: float = 0.0

    def train(self, material: Material) -> Any:
        if self.schedule.learning_rate < self.limit:
            return Plain(self.schedule).train(material)
        model = material.build()
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, self.answer)
        return model.eval()


def job(recipe: Any) -> Job:
    return Job("shadow 4", Architecture(), recipe, np.arange(90), np.arange(90, 120), seed=3)


SCHEDULE = Schedule(epochs=10, batch=16, learning_rate=0.3)


@pytest.mark.parametrize(("limit", "retries"), [(1.0, 0), (0.2, 1), (0.04, 2)])
def test_smaller_steps_are_tried(
    limit: float, retries: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answers = train_and_query(job(Fragile(SCHEDULE, limit)), tiny.data()).outputs
    assert answers.retries == retries == len(caplog.records)
    assert all("shadow 4" in record.getMessage() for record in caplog.records)
    rate = 0.3 / 3**retries
    straight = train_and_query(job(Plain(Schedule(10, 16, rate))), tiny.data()).outputs
    # A retry starts from the job's seed again, as if its rate had been asked for.
    np.testing.assert_allclose(answers.logits, straight.logits, rtol=1e-6)


@pytest.mark.parametrize("answer", [0.0, float("nan")])
def test_after_two_retries_it_is_an_error(answer: float) -> None:
    with pytest.raises(
        DivergedError, match=r"shadow 4 \(Fragile\): .*0\.3, 0\.1, 0\.0333\. Train it longer"
    ):
        train_and_query(job(Fragile(SCHEDULE, 0.0, answer)), tiny.data())


def test_a_recipe_without_a_schedule_is_tried_once() -> None:
    class Hopeless:
        tries = 0

        def train(self, material: Material) -> Any:
            self.tries += 1
            return Fragile(SCHEDULE, 0.0).train(material)

    recipe = Hopeless()
    with pytest.raises(DivergedError, match="shadow 4"):
        train_and_query(job(recipe), tiny.data())
    assert recipe.tries == 1


def test_noise_of_differential_privacy_may_drown_everything() -> None:
    """That is its price; a repetition would cost privacy and help nobody."""
    pytest.importorskip("opacus", reason="DP-SGD needs opacus: pip install 'dynanoise[dp]'")
    drowned = DpSgd(Schedule(2, 16, 1e-6, "sgd"), noise_multiplier=50)
    given = job(drowned)
    outputs = train_and_query(given, tiny.data()).outputs
    assert outputs.retries == 0 and float(outputs.facts["epsilon"]) < 1
    right = outputs.logits[given.members, 0].argmax(axis=1) == tiny.data().labels[given.members]
    assert right.mean() <= divergence.chance_bound(tiny.data().labels[given.members])


def test_chance_is_three_standard_deviations_above_the_largest_class() -> None:
    labels = np.repeat([0, 1], [75, 25])
    assert divergence.chance_bound(labels) == pytest.approx(0.75 + 3 * np.sqrt(0.75 * 0.25 / 100))
    labels = np.arange(100) % 2  # a bound of 0.65
    right = np.eye(2)[labels]
    one_right = np.where(np.arange(100)[:, None] < 66, right, 1 - right)
    divergence.check_converged("it", one_right, labels)
    with pytest.raises(DivergedError, match=r"it learnt nothing: .* 100 records is 0\.640"):
        divergence.check_converged(
            "it", np.where(np.arange(100)[:, None] < 64, right, 1 - right), labels
        )


def test_balanced_chance_is_three_standard_deviations_above_guessing() -> None:
    """The bound beside that of 20,000 guesses with the predictions' frequencies."""
    labels = np.repeat([0, 1, 2], [150, 40, 10])
    generator = np.random.default_rng(0)
    for predicted in (labels, np.arange(200) % 3):
        right = predicted[generator.integers(200, size=(20_000, 200))] == labels
        balanced = np.mean([right[:, labels == label].mean(axis=1) for label in range(3)], axis=0)
        bound = balanced.mean() + 3 * balanced.std()
        found = divergence.balanced_chance_bound(predicted, labels)
        assert found == pytest.approx(bound, abs=0.003)


def test_guesses_that_find_rare_records_by_chance_have_learnt_nothing() -> None:
    labels = np.repeat([0, 1], [980, 20])
    generator = np.random.default_rng(0)
    passed = 0
    for _ in range(200):
        try:
            divergence.check_converged("it", generator.normal(0, 1, (1000, 2)), labels)
        except DivergedError:
            continue
        passed += 1
    assert passed <= 4


def test_a_model_that_finds_rare_positives_has_learnt() -> None:
    """A third of 10% positives, at an accuracy of 0.886, which is below that of none."""
    labels = np.repeat([0, 1], [450, 50])
    predicted = np.concatenate([np.arange(450) < 24, np.arange(50) < 17]).astype(int)
    assert (predicted == labels).mean() < 0.9
    divergence.check_converged("it", np.eye(2)[predicted], labels)
    with pytest.raises(DivergedError, match=r"balanced accuracy is 0\.500, .* up to 0\.500"):
        divergence.check_converged("it", np.eye(2)[np.zeros(500, int)], labels)


def test_what_no_accuracy_could_exceed_is_not_an_error() -> None:
    divergence.check_converged("it", np.zeros((50, 2)), np.zeros(50, dtype=np.int64))
    divergence.check_converged("it", np.zeros((4, 2)), np.array([0, 0, 1, 1]))
    with pytest.raises(DivergedError, match="not finite"):
        divergence.check_converged("it", np.full((4, 2), np.nan), np.array([0, 0, 1, 1]))
