"""Training many small models at once, as one model with another axis."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from dynanoise.training import loop
from dynanoise.training.execution.stacked_steps import Steps
from dynanoise.training.execution.stand_ins import draws, real_buffers, restart, shared, stand_ins
from dynanoise.training.schedule import Schedule

VERSION = 1
"""Raised whenever the results of stacked training change, see `material.Recipe`."""


@dataclass(frozen=True, eq=False)
class Part:
    """One of the models that are trained at once.

    Attributes:
        model: on the device of the inputs; changed in place.
        rows: int64 [n], which of the inputs it is trained on.
        order: decides the order of the records, as in `loop.fit`.
        draws: on the device, for dropout.
    """

    model: nn.Module
    rows: Tensor
    order: torch.Generator
    draws: torch.Generator


def fit(
    parts: Sequence[Part],
    inputs: Tensor,
    targets: Tensor,
    schedule: Schedule,
    loss: loop.MeanLoss,
) -> None:
    """What `loop.fit` does to each model, done to all in the same operations.

    Records, batches and their order are those of the models alone, and on a processor so are the
    draws of dropout; what differs is the rounding. Epochs begin together: a model with fewer
    batches than others waits, and a smaller last batch is padded.

    Args:
        parts: models of one architecture, which mix the records of a batch in batch normalisation
            alone and draw random numbers in `torch.nn.Dropout` alone; left in evaluation mode.
        inputs: raw inputs [n, ...] of all models' records.
        targets: whatever the loss takes, [n, ...], on the same device.
        schedule: how long and how fast.
        loss: see `loop.MeanLoss`.
    """
    stack = _Stack(parts, inputs, targets, schedule, loss)
    steps = Steps(stack.leaves, schedule, [len(part.rows) for part in parts])
    for epoch in range(schedule.epochs):
        table = _batches(parts, schedule.batch)
        counts = (table >= 0).sum(dim=2)
        chosen = table.to(inputs.device)
        for step, each in enumerate(counts.T.tolist()):
            losses = stack.losses(chosen[:, step, : max(each)], each, epoch)
            # As an optimizer does, steps leave alone what no answer needs.
            gradients = torch.autograd.grad(losses.sum(), stack.leaves, allow_unused=True)
            steps.step(gradients, np.array(each) > 0)
    stack.unstack()


def _batches(parts: Sequence[Part], size: int) -> Tensor:
    """Rows int64 [M, batches, size] of an epoch's batches, -1 where there are none."""
    each = [list(loop.batches(len(part.rows), size, part.order)) for part in parts]
    most = max(map(len, each))
    width = max(len(rows) for own in each for rows in own)
    table = torch.full((len(parts), most, width), -1)
    for number, (part, own) in enumerate(zip(parts, each, strict=True)):
        for step, rows in enumerate(own):
            table[number, step, : len(rows)] = part.rows[rows]
    return table


class _Stack:
    """The models' weights and buffers, each with an axis of models in front; see `fit`."""

    def __init__(
        self,
        parts: Sequence[Part],
        inputs: Tensor,
        targets: Tensor,
        schedule: Schedule,
        loss: loop.MeanLoss,
    ) -> None:
        self.parts, self.inputs, self.targets = parts, inputs, targets
        self.schedule, self.loss = schedule, loss
        first = parts[0].model
        stacked, self.buffers = stack_module_state([part.model for part in parts])
        self.parameters = {
            name: one.detach().contiguous().requires_grad_(one.requires_grad)
            for name, one in stacked.items()
        }
        self.leaves = [one for one in self.parameters.values() if one.requires_grad]
        plain, padded = (stand_ins(first, norms=norms) for norms in (False, True))
        self.draws = draws(copy.deepcopy(plain), inputs[:2])
        self.shared = shared(first)
        self.first = torch.stack([part.rows[:1] for part in parts]).to(inputs.device)
        # The weights are those that are stacked; what says how they are used needs none.
        self.plain, self.padded = plain.to("meta"), padded.to("meta")
        self.real = {template: real_buffers(template) for template in (self.plain, self.padded)}

    def losses(self, rows: Tensor, counts: list[int], epoch: int) -> Tensor:
        """The models' losses [M] of one batch each; moves their running statistics.

        Args:
            rows: int64 [M, b] of the inputs, -1 where a row is padding.
            counts: how many rows of each model are real, which are the first ones.
            epoch: from 0.
        """
        whole = all(count == rows.shape[1] for count in counts)
        template = self.plain if whole else self.padded
        if self.draws:
            restart(template)
        real = (rows >= 0).float()
        buffers = {**self.buffers, **self._drawn(rows.shape[1], counts, rows.device)}
        buffers.update(dict.fromkeys(self.real[template], real))
        # Padding is a record of the model's own: what overflows in one model is none of others'.
        own = torch.where(rows[:, :1] < 0, self.first, rows[:, :1])
        at = torch.where(rows < 0, own, rows)

        def of_one(
            parameters: dict[str, Tensor],
            buffers: dict[str, Tensor],
            x: Tensor,
            y: Tensor,
            counted: Tensor,
        ) -> Tensor:
            given = {**parameters, **buffers}
            # On "meta" torch forgets which tensors are the same one.
            given.update({name: given[first] for name, first in self.shared.items()})
            with loop.precision(self.inputs.device, self.schedule):
                logits = functional_call(template, given, (x,))

            def mean(values: Tensor) -> Tensor:
                return (values * counted).sum() / counted.sum().clamp(min=1)

            return self.loss(logits.float(), y, epoch, torch.mean if whole else mean)

        x, y = self.inputs[at], self.targets[at]
        found: Tensor = vmap(of_one)(self.parameters, buffers, x, y, real)
        return found

    def _drawn(self, width: int, counts: list[int], device: torch.device) -> dict[str, Tensor]:
        """What dropout keeps, for each call of its layers [M, b, ...]."""
        found = {}
        for name, (shape, share) in self.draws.items():
            kept = torch.zeros((len(counts), width, *shape), device=device)
            for own, part, count in zip(kept, self.parts, counts, strict=True):
                if count:
                    own[:count].bernoulli_(1 - share, generator=part.draws).div_(1 - share)
            found[name] = kept
        return found

    def unstack(self) -> None:
        """Gives the models their weights and statistics back."""
        with torch.no_grad():
            for number, part in enumerate(self.parts):
                own = {**dict(part.model.named_parameters()), **dict(part.model.named_buffers())}
                for name, values in {**self.parameters, **self.buffers}.items():
                    own[name].copy_(values[number])
                part.model.eval()
