"""Steps of stacked models, each at its own pace; torch's optimizers have one for all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dynanoise.training import loop
from dynanoise.training.schedule import Schedule

Float64 = npt.NDArray[np.float64]


@lru_cache(maxsize=64)
def paces(schedule: Schedule, count: int) -> Float64:
    """Learning rates and momenta (Adam's first beta) float64 [steps, 2] of a training run.

    Args:
        schedule: of the training.
        count: records an epoch.

    >>> paces(Schedule(epochs=2, batch=32), 64)[:, 0].tolist()
    [0.001, 0.001, 0.001, 0.001]
    """
    steps = loop.optimiser(nn.Linear(1, 1), schedule)
    pace = loop.steps_scheduler(steps, schedule, count)
    found = []
    for _ in range(schedule.epochs * loop.batch_count(count, schedule.batch)):
        group = steps.param_groups[0]
        found.append((group["lr"], group["betas"][0] if "betas" in group else group["momentum"]))
        steps.step()
        pace.step()
    return np.array(found)


class Steps:
    """The schedule's optimizer over stacked parameters [M, ...], as torch's own for each of M.

    Args:
        parameters: changed in place by `step`.
        schedule: of the training.
        counts: records an epoch, of each model.
    """

    def __init__(
        self, parameters: Sequence[Tensor], schedule: Schedule, counts: Sequence[int]
    ) -> None:
        self.parameters = list(parameters)
        self.adam = schedule.optimizer == "adam"
        self.decay = schedule.weight_decay
        self.paces = [paces(schedule, count) for count in counts]
        self.done = np.zeros(len(counts), dtype=np.int64)
        self.first = [torch.zeros_like(one) for one in self.parameters]
        self.second = [torch.zeros_like(one) for one in self.parameters] if self.adam else []

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], moving: npt.NDArray[np.bool_]) -> None:
        """One step of the models that are ``moving``, bool [M]; the others stay as they are.

        Args:
            gradients: of the parameters, of the same shapes.
            moving: which models have a batch.
        """
        last = [len(pace) - 1 for pace in self.paces]
        at = np.minimum(self.done, last)
        rate, momentum = np.array([own[n] for own, n in zip(self.paces, at, strict=True)]).T
        self.done += moving
        steps = np.maximum(self.done, 1)
        factors = {
            "rate": rate,
            "momentum": momentum,
            "rest": 1 - momentum,
            # Adam's corrections of its means, which begin at 0.
            "size": rate / (1 - momentum**steps) if self.adam else rate,
            "spread": np.sqrt(1 - _BETA2**steps),
        }
        device = self.parameters[0].device
        each = {name: torch.from_numpy(one).float().to(device) for name, one in factors.items()}
        kept = None if moving.all() else torch.from_numpy(~moving).to(device)
        for number, (parameter, slope) in enumerate(zip(self.parameters, gradients, strict=True)):
            gradient = slope.add(parameter, alpha=self.decay) if self.decay else slope
            shape = (-1, *[1] * (parameter.ndim - 1))
            own = {name: one.view(shape) for name, one in each.items()}
            states = [self.first[number], *self.second[number : number + 1], parameter]
            before = None if kept is None else [state.clone() for state in states]
            move = self._adam if self.adam else self._sgd
            move(number, parameter, gradient, own)
            if kept is not None and before is not None:
                for state, was in zip(states, before, strict=True):
                    state.copy_(torch.where(kept.view(shape), was, state))

    def _adam(
        self, number: int, parameter: Tensor, gradient: Tensor, own: dict[str, Tensor]
    ) -> None:
        """Kingma & Ba 2015, algorithm 1, in the order of torch's operations."""
        first, second = self.first[number], self.second[number]
        first.lerp_(gradient, own["rest"])
        second.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
        spread = second.sqrt().div_(own["spread"]).add_(_EPSILON)
        parameter.sub_((first * own["size"]).div_(spread))

    def _sgd(
        self, number: int, parameter: Tensor, gradient: Tensor, own: dict[str, Tensor]
    ) -> None:
        """With Nesterov's momentum."""
        first = self.first[number]
        first.mul_(own["momentum"]).add_(gradient)
        parameter.sub_((first * own["momentum"]).add_(gradient).mul_(own["size"]))


_BETA2, _EPSILON = 0.999, 1e-8
"""Torch's defaults, which `loop.optimiser` leaves."""
