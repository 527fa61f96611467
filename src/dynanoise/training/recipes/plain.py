"""Plain training: cross-entropy, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from dynanoise.numerics import Int64
from dynanoise.training.data import Data


@dataclass(frozen=True)
class Plain:
    """Minibatch cross-entropy with Adam, a fixed number of epochs, no augmentation.

    Args:
        epochs: passes over the members.
        batch: records a step.
        learning_rate: Adam's step size.
    """

    epochs: int = 100
    batch: int = 32
    learning_rate: float = 1e-3

    def train(
        self,
        build: Callable[[], nn.Module],
        data: Data,
        members: Int64,
        reference: Int64,
        generator: torch.Generator,
    ) -> nn.Module:
        """A trained model in evaluation mode.

        Args:
            build: makes a freshly initialised model.
            data: the data set.
            members: ids of the records to train on.
            reference: ids of known non-members, for recipes that need them; not this one.
            generator: decides the order of the records.
        """
        model = build().train()
        inputs = torch.from_numpy(data.inputs[members])
        labels = torch.from_numpy(data.labels[members])
        optimizer = torch.optim.Adam(model.parameters(), lr=self.learning_rate)
        for _ in range(self.epochs):
            order = torch.randperm(len(members), generator=generator)
            for rows in order.split(self.batch):
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
                optimizer.step()
        return model.eval()


RECIPES = {"plain": Plain}
