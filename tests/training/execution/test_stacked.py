"""Stacked training against each model trained alone, which knows nothing of stacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from torch import nn  # noqa: E402

from dynanoise.core.registry import RECIPES  # noqa: E402
from dynanoise.training import loop  # noqa: E402
from dynanoise.training.execution import stacked  # noqa: E402
from dynanoise.training.execution.stacked_steps import paces  # noqa: E402
from dynanoise.training.models.cnn import Cnn  # noqa: E402
from dynanoise.training.models.mlp import Mlp  # noqa: E402
from dynanoise.training.models.text import Text  # noqa: E402
from dynanoise.training.schedule import Schedule  # noqa: E402

RECORDS, CLASSES, BATCH = 120, 3, 16
# Batches that are all full; a last one of 1, which is left out; one batch less, and one more, than
# others; less than a batch.
COUNTS = (64, 65, 50, 81, 9)
STILL = Schedule(epochs=3, batch=BATCH, learning_rate=1e-2)
MOVING = Schedule(
    epochs=3, batch=BATCH, learning_rate=0.05, optimizer="sgd", weight_decay=0.01, one_cycle=True
)
DECAYING = Schedule(epochs=3, batch=BATCH, learning_rate=1e-2, weight_decay=0.01, one_cycle=True)

Build = Callable[[], nn.Module]


def numbers() -> Any:
    return torch.randn(RECORDS, 5, generator=torch.Generator().manual_seed(0))


def pictures() -> Any:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (RECORDS, 8, 8, 3), dtype=torch.uint8, generator=generator)


def texts() -> Any:
    return torch.randint(0, 25, (RECORDS, 6), generator=torch.Generator().manual_seed(0))


def normed() -> nn.Module:
    """Without a bias in front of the normalisation: its gradient is nothing but rounding, of which
    Adam makes whole steps.
    """
    norm = nn.BatchNorm1d(16)
    layers = (nn.Linear(5, 16, bias=False), norm, nn.ReLU(), nn.Dropout(0.3))
    return nn.Sequential(*layers, nn.Linear(16, CLASSES))


KINDS: dict[str, tuple[Build, Any]] = {
    "mlp": (lambda: Mlp((16,)).build((5,), CLASSES), numbers()),
    "norm and dropout": (normed, numbers()),
    "cnn": (lambda: Cnn(4).build((8, 8, 3), CLASSES), pictures()),
    "text": (lambda: Text(20, 8).build((6,), CLASSES), texts()),
}


def labels() -> Any:
    return torch.randint(0, CLASSES, (RECORDS,), generator=torch.Generator().manual_seed(1))


def rows(number: int) -> Any:
    chosen = np.random.default_rng(number).permutation(RECORDS)[: COUNTS[number]]
    return torch.from_numpy(np.sort(chosen))


def alone(
    build: Build, inputs: Any, objective: loop.Objective, schedule: Schedule
) -> list[nn.Module]:
    made = []
    for number in range(len(COUNTS)):
        torch.manual_seed(number)
        model, own = build(), rows(number)
        order = torch.Generator().manual_seed(number)
        targets = objective.targets(labels()[own])

        def loss(logits: Any, targets: Any, epoch: int) -> Any:
            return objective.loss(logits, targets, epoch, torch.mean)

        made.append(loop.fit(model, inputs[own], targets, schedule, order, loss=loss))
    return made


def together(
    build: Build,
    inputs: Any,
    objective: loop.Objective,
    schedule: Schedule,
    numbers: range | None = None,
) -> list[nn.Module]:
    parts = []
    for number in range(len(COUNTS)) if numbers is None else numbers:
        torch.manual_seed(number)
        model, draws = build(), torch.Generator()
        draws.set_state(torch.get_rng_state())
        order = torch.Generator().manual_seed(number)
        parts.append(stacked.Part(model, rows(number), order, draws))
    stacked.fit(parts, inputs, objective.targets(labels()), schedule, objective.loss)
    return [part.model for part in parts]


def assert_alike(ours: list[nn.Module], theirs: list[nn.Module], atol: float) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert not mine.training
        states = mine.state_dict(), other.state_dict()
        assert states[0].keys() == states[1].keys()
        for name, values in states[0].items():
            torch.testing.assert_close(values, states[1][name], rtol=1e-4, atol=atol)


@pytest.mark.parametrize("schedule", [STILL, MOVING, DECAYING], ids=["adam", "sgd", "cycle"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_model_is_as_if_trained_alone(kind: str, schedule: Schedule) -> None:
    build, inputs = KINDS[kind]
    objective = RECIPES.get("plain")().objective(CLASSES)
    apart = alone(build, inputs, objective, schedule)
    assert_alike(together(build, inputs, objective, schedule), apart, atol=2e-5)
    before = [value for value in build().state_dict().values() if value.is_floating_point()]
    after = [value for value in apart[0].state_dict().values() if value.is_floating_point()]
    moved = max(float((a - b).abs().max()) for a, b in zip(before, after, strict=True))
    assert moved > 0.01  # a hundred times and more what the two may differ by


@pytest.mark.parametrize(
    ("recipe", "parameters"),
    [("hamp", {}), ("hamp", {"scaling": "per_batch"}), ("relaxloss", {"alpha": 1.0})],
)
def test_other_recipes_are_as_if_trained_alone(recipe: str, parameters: dict[str, Any]) -> None:
    """RelaxLoss takes both branches: its level is near the loss."""
    build, inputs = KINDS["norm and dropout"]
    objective = RECIPES.get(recipe)(**parameters).objective(CLASSES)
    apart = alone(build, inputs, objective, STILL)
    assert_alike(together(build, inputs, objective, STILL), apart, atol=2e-5)


def test_a_model_is_the_same_in_a_smaller_stack() -> None:
    build, inputs = KINDS["norm and dropout"]
    objective = RECIPES.get("plain")().objective(CLASSES)
    whole = together(build, inputs, objective, STILL)
    part = together(build, inputs, objective, STILL, range(1, 3))
    assert_alike(part, whole[1:3], atol=2e-5)


def test_in_bfloat16_it_learns_as_well() -> None:
    """Where the device has it; rounding to 8 bits leaves nothing closer to compare."""
    schedule = Schedule(epochs=12, batch=BATCH, learning_rate=0.03, bfloat16=True)
    build, inputs = KINDS["cnn"]
    objective = RECIPES.get("plain")().objective(CLASSES)

    def fitted(models: list[nn.Module]) -> float:
        answers = [model(inputs[rows(n)]).argmax(dim=1) for n, model in enumerate(models)]
        right = [(a == labels()[rows(n)]).float().mean().item() for n, a in enumerate(answers)]
        return float(np.mean(right))

    ours = fitted(together(build, inputs, objective, schedule))
    assert ours > 0.6
    assert ours == pytest.approx(fitted(alone(build, inputs, objective, schedule)), abs=0.1)


def test_the_global_generator_is_left_as_it_was() -> None:
    """Dropout draws from each model's own, and what is known of earlier schedules is no reason."""
    paces.cache_clear()
    build, inputs = KINDS["norm and dropout"]
    objective = RECIPES.get("plain")().objective(CLASSES)
    torch.manual_seed(0)
    parts = [stacked.Part(build(), rows(0), torch.Generator().manual_seed(0), torch.Generator())]
    before = torch.get_rng_state()
    stacked.fit(parts, inputs, labels(), STILL, objective.loss)
    assert torch.equal(before, torch.get_rng_state())
