"""A made-up data set that trains in milliseconds, and what a recipe is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from dynanoise.data.dataset import Data
from dynanoise.training.material import Material
from dynanoise.training.schedule import Schedule

QUICK = Schedule(epochs=4, batch=16, learning_rate=3e-2)
CLASSES = 3


def data(count: int = 150) -> Data:
    """Three clouds of five numbers, which overlap a little."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    centres = 2 * np.eye(CLASSES, 5)
    inputs = centres[labels] + generator.normal(0, 0.8, (count, 5))
    return Data("clouds", inputs.astype(np.float32), labels.astype(np.int64), CLASSES)


def linear() -> nn.Module:
    return nn.Linear(5, CLASSES)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def unruly() -> nn.Module:
    """With dropout, which draws in every step, and batch statistics, which every pass changes."""
    return nn.Sequential(
        nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, CLASSES)
    )


def material(build: Callable[[], nn.Module] = network, **changes: object) -> Material:
    """90 members, 30 records of reference; ``build`` draws from a seeded global generator."""

    def seeded() -> nn.Module:
        torch.manual_seed(7)
        return build()

    plain = Material(
        build=seeded,
        data=data(),
        members=np.arange(90),
        reference=np.arange(90, 120),
        seed=1,
        device=torch.device("cpu"),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    """True if every weight and statistic has the same bits."""
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[name], theirs[name]) for name in ours
    )


def accuracy(model: nn.Module, given: Material) -> float:
    """On the members."""
    guesses = model(given.inputs(given.members)).argmax(dim=1)
    return float((guesses == given.labels(given.members)).float().mean())
