"""Steps of stacked models, each at its own pace; torch's optimizers have one for all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

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
    # No layer: its weights would be drawn from the caller's generator, the first time.
    steps = loop.optimiser(nn.ParameterList([torch.zeros(1)]), schedule)
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
        parameters: contiguous; changed in place by `step`.
        schedule: of the training.
        counts: records an epoch, of each model.
    """

    def __init__(
        self, parameters: Sequence[Tensor], schedule: Schedule, counts: Sequence[int]
    ) -> None:
        self.adam = schedule.optimizer == "adam"
        self.decay = schedule.weight_decay
        self.paces = [paces(schedule, count) for count in counts]
        self.done = np.zeros(len(counts), dtype=np.int64)
        self.fused = parameters[0].device.type in ("cpu", "cuda")
        self.parameters = _by_model([one.detach() for one in parameters])
        self.first = _by_model([torch.zeros_like(one) for one in parameters])
        # Adam's second moments, and its own counts of steps, one a tensor.
        self.second = _by_model([torch.zeros_like(one) for one in parameters if self.adam])
        ones = [one.new_zeros(len(counts), dtype=torch.float32) for one in parameters]
        self.steps = _by_model(ones)

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], moving: npt.NDArray[np.bool_]) -> None:
        """One step of the models that are ``moving``, bool [M]; the others stay as they are.

        Args:
            gradients: of the parameters, of the same shapes; None for what stays as it is.
            moving: which models have a batch.
        """
        given = [place for place, one in enumerate(gradients) if one is not None]
        # Fused steps go through memory, whatever the strides say.
        own = _by_model([one.contiguous() for one in gradients if one is not None])
        alike: dict[tuple[float, float], list[int]] = {}
        for model in np.flatnonzero(moving).tolist():
            rate, momentum = self.paces[model][self.done[model]]
            alike.setdefault((float(rate), float(momentum)), []).append(model)
        self.done += moving
        for (rate, momentum), models in alike.items():

            def of(each: list[list[Tensor]], chosen: list[int] = models) -> list[Tensor]:
                return [each[model][place] for model in chosen for place in given]

            if self.adam:
                adam(
                    of(self.parameters),
                    [tensor for model in models for tensor in own[model]],
                    of(self.first),
                    of(self.second),
                    [],
                    of(self.steps),
                    fused=self.fused,
                    amsgrad=False,
                    beta1=momentum,
                    beta2=_BETA2,
                    lr=rate,
                    weight_decay=self.decay,
                    eps=_EPSILON,
                    maximize=False,
                )
            else:
                sgd(
                    of(self.parameters),
                    [tensor for model in models for tensor in own[model]],
                    [*of(self.first)],
                    fused=self.fused,
                    weight_decay=self.decay,
                    momentum=momentum,
                    lr=rate,
                    dampening=0.0,
                    nesterov=True,
                    maximize=False,
                )


def _by_model(stacked: Sequence[Tensor]) -> list[list[Tensor]]:
    """For each model the views of its part of each tensor [M, ...]."""
    return [list(own) for own in zip(*(one.unbind() for one in stacked), strict=True)]


_BETA2, _EPSILON = 0.999, 1e-8
"""Torch's defaults, which `loop.optimiser` leaves."""
