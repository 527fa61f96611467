"""Minibatch training with the data in memory, shared by all recipes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from dynanoise.training.material import Material
from dynanoise.training.models.scattering import FixedFeatures
from dynanoise.training.schedule import Schedule

Loss = Callable[[Tensor, Tensor, int], Tensor]
"""From logits [b, K], targets [b, ...] and the epoch (from 0) to the scalar to minimise."""


def cross_entropy(logits: Tensor, targets: Tensor, epoch: int = 0) -> Tensor:
    """Mean cross-entropy of labels int64 [b] or of probabilities [b, K], a scalar.

    Args:
        logits: [b, K].
        targets: int64 [b] or float [b, K].
        epoch: not used; see `Loss`.
    """
    # Reduced here, because torch's own mean rounds differently from this one.
    return nn.functional.cross_entropy(logits, targets, reduction="none").mean()


def fit_members(
    material: Material,
    schedule: Schedule,
    *,
    loss: Loss | None = None,
    targets: Callable[[Tensor], Tensor] | None = None,
) -> nn.Module:
    """Train a fresh model on the members of ``material``.

    Args:
        material: the data, the members and the model.
        schedule: how long and how fast.
        loss: the loss to minimise; None for `cross_entropy`.
        targets: makes the loss's targets [n, ...] of the members' labels int64 [n]; None for the
            labels themselves.

    Returns:
        The model in evaluation mode, on the material's device.
    """
    model = material.build()
    inputs, labels = material.inputs(material.members), material.labels(material.members)
    return fit(
        model,
        inputs,
        labels if targets is None else targets(labels),
        schedule,
        material.generator("order"),
        loss=loss or cross_entropy,
    )


def trained_part(model: nn.Module, inputs: Tensor) -> tuple[nn.Module, Tensor]:
    """The module to train and its inputs: of `FixedFeatures` the head, and features.

    Args:
        model: a freshly built model.
        inputs: raw inputs [n, ...] on the model's device.
    """
    if isinstance(model, FixedFeatures):
        return model.head, model.compute(inputs)
    return model, inputs


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield positions 0..count-1 in random order; a last batch of 1 is left out.

    Batch normalisation cannot train on a single record.

    Args:
        count: number of records.
        size: records of a batch, >= 1.
        generator: decides the order.

    Yields:
        Positions int64 [b], b <= ``size``.
    """
    for rows in torch.randperm(count, generator=generator).split(size):
        if len(rows) > 1 or min(count, size) == 1:
            yield rows


def optimiser(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """Make the schedule's optimizer over all of a model's parameters.

    Args:
        model: the model to train.
        schedule: its optimizer, learning rate and weight decay are used.
    """
    rate, decay = schedule.learning_rate, schedule.weight_decay
    if schedule.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay)
    return torch.optim.SGD(
        model.parameters(), lr=rate, weight_decay=decay, momentum=0.9, nesterov=True
    )


def steps_scheduler(
    steps: torch.optim.Optimizer, schedule: Schedule, count: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Make the scheduler that is stepped after each step of the optimizer.

    Args:
        steps: the optimizer.
        schedule: the schedule of the training.
        count: records of an epoch.
    """
    if not schedule.one_cycle:
        return torch.optim.lr_scheduler.ConstantLR(steps, factor=1.0, total_iters=0)
    total = schedule.epochs * max(1, -(-count // schedule.batch))
    # Of 4 steps torch takes 0 to rise, and divides by it.
    return torch.optim.lr_scheduler.OneCycleLR(
        steps, schedule.learning_rate, total_steps=max(5, total + 1), pct_start=0.25
    )


def precision(device: torch.device, schedule: Schedule) -> torch.autocast:
    """Autocast to bfloat16 where the schedule says so.

    Args:
        device: where the model is.
        schedule: its ``bfloat16`` is used.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=schedule.bfloat16)


def settled(recipe: Any, device: str) -> Any:
    """Turn a recipe's bfloat16 off on devices that are not clearly faster with it.

    Called where a run is planned, so that the recipe, under which models are stored, says in which
    precision they are trained, by whatever worker.

    Args:
        recipe: with a ``schedule`` or without.
        device: where models are trained, "cpu" or "cuda".

    >>> from dynanoise.training.recipes.plain import Plain
    >>> settled(Plain(Schedule(bfloat16=False)), "cpu").schedule.bfloat16
    False
    """
    schedule = getattr(recipe, "schedule", None)
    if schedule is None or not schedule.bfloat16 or _faster_in_bfloat16(device):
        return recipe
    return replace(recipe, schedule=replace(schedule, bfloat16=False))


_WORTH = 1.2
"""Least ratio of float32's time to bfloat16's; equal speeds differ by less when timed."""


@cache
def _faster_in_bfloat16(device: str) -> bool:
    """Whether a convolution's training step takes clearly less time in bfloat16 than in float32.

    Processors with matrix units (AMX) take a third of the time, those with AVX-512's instructions
    for it two thirds or as long, and those that emulate it up to six times as long. So it is
    measured on a processor, once in a process and in processor seconds, so that other work does
    not decide. GPUs of the last years are faster.
    """
    if device != "cpu":
        return not torch.cuda.is_available() or torch.cuda.is_bf16_supported()
    # Constant weights: random ones would advance the global generator of the training.
    layer = nn.Conv2d(64, 64, 3, padding=1, bias=False, device="meta").to_empty(device=device)
    nn.init.ones_(layer.weight)
    features = torch.ones(16, 64, 16, 16).contiguous(memory_format=torch.channels_last)
    seconds = {True: float("inf"), False: float("inf")}
    for _ in range(4):
        for enabled in (True, False):
            started = time.process_time()
            with torch.autocast(device, torch.bfloat16, enabled=enabled):
                outputs = layer(features)
            outputs.float().sum().backward()
            seconds[enabled] = min(seconds[enabled], time.process_time() - started)
    return _WORTH * seconds[True] < seconds[False]


def fit(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    *,
    loss: Loss = cross_entropy,
) -> nn.Module:
    """Train a model.

    Args:
        model: from inputs [b, ...] to logits [b, K]; changed in place.
        inputs: raw inputs [n, ...] on the model's device.
        targets: the loss's targets [n, ...], on the same device.
        schedule: how long and how fast.
        generator: decides the order of the records.
        loss: see `Loss`.

    Returns:
        The model in evaluation mode.
    """
    trained, inputs = trained_part(model, inputs)
    trained.train()
    device = inputs.device
    steps = optimiser(trained, schedule)
    pace = steps_scheduler(steps, schedule, len(inputs))
    for epoch in range(schedule.epochs):
        for rows in batches(len(inputs), schedule.batch, generator):
            chosen = rows.to(device)
            steps.zero_grad(set_to_none=True)
            with precision(device, schedule):
                logits = trained(inputs[chosen])
            loss(logits.float(), targets[chosen], epoch).backward()
            steps.step()
            pace.step()
    return model.eval()


_AT_ONCE = 1 << 19
"""Input numbers in a batch of queries: more images at once leave the processor's cache."""


def predict(model: nn.Module, inputs: Tensor, batch: int | None = None) -> Tensor:
    """Compute the logits of a model in evaluation mode.

    Args:
        model: from inputs [b, ...] to logits [b, K].
        inputs: raw inputs [n, ...] on the model's device.
        batch: records at once; None for 64 to 1024, by their size.

    Returns:
        Logits float32 [n, K], on the processor.
    """
    if batch is None:
        batch = min(1024, max(64, _AT_ONCE // max(1, inputs[:1].numel())))
    with torch.inference_mode():
        parts = [model(part).float().cpu() for part in inputs.split(batch)]
    return torch.cat(parts)
