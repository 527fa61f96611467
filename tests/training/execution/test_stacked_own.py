"""Models that somebody else wrote, stacked against each trained alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from torch import nn  # noqa: E402

from dynanoise.core.errors import InputError  # noqa: E402
from dynanoise.core.registry import RECIPES  # noqa: E402
from tests.training.execution.test_stacked import (  # noqa: E402
    BATCH,
    CLASSES,
    COUNTS,
    DECAYING,
    MOVING,
    STILL,
    alone,
    assert_alike,
    numbers,
    rows,
    texts,
    together,
)

Build = Callable[[], nn.Module]


def frozen() -> nn.Module:
    """Its first layer stays as it was drawn."""
    model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    model[0].requires_grad_(False)
    return model


class Unused(nn.Module):
    """Has a layer that no answer needs."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.other = nn.Linear(5, CLASSES), nn.Linear(5, CLASSES)

    def forward(self, x: Any) -> Any:
        return self.used(x)


def fit_alike(build: Build, inputs: Any, schedule: Any = STILL) -> list[nn.Module]:
    """The models of a stack, which are those trained alone."""
    objective = RECIPES.get("plain")().objective(CLASSES)
    ours = together(build, inputs, objective, schedule)
    assert_alike(ours, alone(build, inputs, objective, schedule), atol=2e-5)
    return ours


@pytest.mark.parametrize("schedule", [STILL, MOVING, DECAYING], ids=["adam", "sgd", "cycle"])
@pytest.mark.parametrize("build", [frozen, Unused])
def test_what_is_not_trained_alone_is_not_in_a_stack(build: Build, schedule: Any) -> None:
    """Not even by weight decay."""
    fit_alike(build, numbers(), schedule)


class Tied(nn.Module):
    """Two layers share their weights, and one normalisation comes twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5, bias=False), nn.Linear(5, 5, bias=False)
        self.second.weight = self.first.weight
        norm = nn.BatchNorm1d(5)
        self.rest = nn.Sequential(norm, nn.ReLU(), self.second, norm, nn.Linear(5, CLASSES))

    def forward(self, x: Any) -> Any:
        return self.rest(self.first(x))


class Buffers(nn.Module):
    """Has some that no state dictionary has, and that are no floats."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, CLASSES)
        self.register_buffer("scale", torch.full((5,), 2.0), persistent=False)
        self.register_buffer("order", torch.arange(5).flip(0))

    def forward(self, x: Any) -> Any:
        return self.layer((x * self.scale)[:, self.order])


@pytest.mark.parametrize("build", [Tied, Buffers])
def test_shared_weights_and_buffers_of_all_kinds(build: Build) -> None:
    for model in fit_alike(build, numbers()):
        if isinstance(model, Tied):
            assert model.second.weight is model.first.weight


class Dropping(nn.Module):
    """One dropout layer, called three times on two shapes, between the calls of another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 16), nn.Linear(16, CLASSES)
        self.often, self.once = nn.Dropout(0.3), nn.Dropout(0.5)

    def forward(self, x: Any) -> Any:
        wide = self.often(self.first(self.often(x)).relu())
        return self.last(self.often(self.once(wide)))


def test_each_call_of_a_dropout_layer_has_draws_of_its_own() -> None:
    fit_alike(Dropping, numbers())


@pytest.mark.parametrize("counts", [COUNTS, (32, 32, 32)], ids=["ragged", "full"])
@pytest.mark.parametrize(
    "options",
    [
        {"momentum": None},
        {"track_running_stats": False},
        {"affine": False},
        {},
        {"momentum": 0.0},
    ],
    ids=str,
)
def test_batch_normalisation_of_all_kinds(
    options: dict[str, Any], counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padded batches and whole ones."""
    monkeypatch.setattr("tests.training.execution.test_stacked.COUNTS", counts)

    def build() -> nn.Module:
        norm = nn.BatchNorm1d(16, **options)
        if not options:
            norm.register_parameter("bias", None)
        first = nn.Linear(5, 16, bias=False)
        return nn.Sequential(first, norm, nn.ReLU(), nn.Linear(16, CLASSES))

    fit_alike(build, numbers())


@pytest.mark.parametrize("batch", [BATCH, 64], ids=["waiting", "ragged"])
def test_padding_is_of_no_record_that_overflows(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of all inputs is a member of the longest model alone: the others stay finite."""
    inputs = numbers()
    own = rows(3)
    others = set(torch.cat([rows(number) for number in (0, 1, 2, 4)]).tolist())
    (only, *_) = [row for row in own.tolist() if row not in others]
    order = torch.arange(len(inputs))
    order[0], order[only] = only, 0

    def moved(number: int) -> Any:
        return order[rows(number)]

    inputs = inputs[order]
    inputs[0] = 3e38
    monkeypatch.setattr("tests.training.execution.test_stacked.rows", moved)

    def build() -> nn.Module:
        first = nn.Linear(5, 16, bias=False)
        return nn.Sequential(first, nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES))

    objective = RECIPES.get("plain")().objective(CLASSES)
    schedule = replace(MOVING, batch=batch)
    ours = together(build, inputs, objective, schedule)
    theirs = alone(build, inputs, objective, schedule)
    fine = [0, 1, 2, 4]
    assert_alike([ours[n] for n in fine], [theirs[n] for n in fine], atol=2e-5)
    assert not all(torch.isfinite(value).all() for value in ours[3].state_dict().values())


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
@pytest.mark.parametrize("options", [{"max_norm": 0.5}, {"scale_grad_by_freq": True}], ids=str)
def test_embeddings_that_torch_would_stack_wrongly_are_refused(
    kind: type[nn.Module], options: dict[str, Any]
) -> None:
    def build() -> nn.Module:
        return nn.Sequential(kind(25, CLASSES, **options))

    with pytest.raises(InputError, match=f"{kind.__name__} with {next(iter(options))}"):
        together(build, texts(), RECIPES.get("plain")().objective(CLASSES), STILL)


class Counting(nn.Module):
    """Counts its batches, of which a stack has more: those in which a model waits for others."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, CLASSES)
        self.register_buffer("seen", torch.zeros(()))
        self.seen: Any

    def forward(self, x: Any) -> Any:
        self.seen = self.seen + 1
        return self.layer(x)


def tracking() -> nn.Module:
    norm = nn.InstanceNorm1d(5, track_running_stats=True)  # of inputs [b, 5, 3]
    return nn.Sequential(norm, nn.Flatten(), nn.Linear(15, CLASSES))


@pytest.mark.parametrize(("build", "name"), [(Counting, "seen"), (tracking, "0.running_mean")])
def test_other_buffers_that_change_in_training_are_refused(build: Build, name: str) -> None:
    inputs = numbers()[:, :, None].expand(-1, -1, 3) if build is tracking else numbers()
    with pytest.raises(InputError, match=f"changes its buffer {name} in training"):
        together(build, inputs, RECIPES.get("plain")().objective(CLASSES), STILL)


def test_a_model_that_is_one_layer() -> None:
    fit_alike(lambda: nn.BatchNorm1d(5), numbers())
