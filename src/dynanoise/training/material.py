"""Everything that a recipe may train from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dynanoise.core.numerics import Int64
from dynanoise.core.seeding import derive
from dynanoise.data.dataset import Data

Part = Callable[[int, Callable[[], nn.Module]], nn.Module]
"""From the number of a sub-model, and a function that trains it, to the trained sub-model."""


def train_now(number: int, train: Callable[[], nn.Module]) -> nn.Module:
    """Train a sub-model: the `Part` that stores nothing.

    Args:
        number: its number; not used.
        train: trains it.
    """
    return train()


@dataclass(frozen=True, eq=False)
class Material:
    """Everything one training run may use.

    Attributes:
        build: makes a freshly initialised model, on the device, from torch's global generator,
            which the job has seeded and restores afterwards. Call it as often as needed.
        data: the data set; models take its raw inputs and do their own preprocessing.
        members: int64 [n], ids of the records to train on.
        reference: int64 [r], ids of known non-members, disjoint from members, test data and
            everything that attacks are scored on.
        seed: the model's own seed.
        device: where to train.
        part: gives a recipe its sub-models, from a store where they are there already. A sub-model
            depends on nothing but its number and the other attributes.
    """

    build: Callable[[], nn.Module]
    data: Data
    members: Int64
    reference: Int64
    seed: int
    device: torch.device
    part: Part = train_now

    def inputs(self, ids: Int64) -> Tensor:
        """Raw inputs [len(ids), ...] on the device."""
        return torch.from_numpy(self.data.inputs[ids]).to(self.device)

    def labels(self, ids: Int64) -> Tensor:
        """Labels int64 [len(ids)] on the device."""
        return torch.from_numpy(self.data.labels[ids]).to(self.device)

    def generator(self, purpose: str) -> torch.Generator:
        """A processor generator for one purpose, such as "order"."""
        return torch.Generator().manual_seed(derive(self.seed, purpose))
