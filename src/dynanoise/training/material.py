"""What a recipe is given to train from, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dynanoise.core.numerics import Int64
from dynanoise.core.seeding import derive
from dynanoise.data.dataset import Data


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
        seed: of this model.
        device: where to train.
    """

    build: Callable[[], nn.Module]
    data: Data
    members: Int64
    reference: Int64
    seed: int
    device: torch.device

    def inputs(self, ids: Int64) -> Tensor:
        """Raw inputs [len(ids), ...] on the device."""
        return torch.from_numpy(self.data.inputs[ids]).to(self.device)

    def labels(self, ids: Int64) -> Tensor:
        """Labels int64 [len(ids)] on the device."""
        return torch.from_numpy(self.data.labels[ids]).to(self.device)

    def generator(self, purpose: str) -> torch.Generator:
        """A processor generator for one purpose, such as "order"."""
        return torch.Generator().manual_seed(derive(self.seed, purpose))


def device_name(device: str) -> str:
    """The name of a GPU, such as "NVIDIA H200"; the device's own for others."""
    kind = torch.device(device)
    return torch.cuda.get_device_name(kind) if kind.type == "cuda" else device


class Recipe(Protocol):
    """How a model is trained: a frozen dataclass of parameters, registered in ``RECIPES``.

    Attributes:
        version: raised whenever the recipe's results change, so that stored models of an older
            version are not taken for its own.
    """

    version: Any

    def train(self, material: Material) -> nn.Module:
        """A trained model in evaluation mode, on the material's device."""
