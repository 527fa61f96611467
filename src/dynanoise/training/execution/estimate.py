"""What models will cost, from a few steps of one of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from dynanoise.core.numerics import Int64
from dynanoise.data.dataset import Data
from dynanoise.training import divergence, loop
from dynanoise.training.execution.together import models_of
from dynanoise.training.jobs import RANDOM_INPUTS, Job, isolated, material_of

_FEW, _MORE = 2, 8
"""Batches of the two trainings whose difference is the time of a batch."""

_PATIENCE = 2.0
"""Seconds after which a measurement is not repeated."""

_LONG, _MOST_EPOCHS = 0.5, 256
"""Seconds that stacked training is measured for at least, unless that takes more epochs."""

_ASKED = 512
"""Records that are asked about to see how long an answer takes."""

_ENTRY = 4096
"""Bytes of a stored model besides weights and answers, about."""


class Cost(NamedTuple):
    """What some models take: seconds one after the other, and bytes in the store."""

    seconds: float
    size: int


def estimate(jobs: Sequence[Job], data: Data, stack: int = 1) -> Cost:
    """What jobs of one kind cost, by training the first for an epoch on a few batches of records.

    Time is taken to grow with records times epochs from there on, and answers with the number of
    questions. Nothing is stored. Training with other models in it, as SELENA's and AdvReg's, is
    measured as a whole; a training that diverges and is repeated is not foreseen.

    Args:
        jobs: of the same model, recipe and device; they may differ in members and questions.
        data: the data set.
        stack: how many of them are trained at once, where they are stacked.
    """
    if not jobs:
        return Cost(0.0, 0)
    job = jobs[0]
    schedule = getattr(job.recipe, "schedule", None)
    batch = schedule.batch if schedule is not None else 32
    few = max(1, min(_FEW * batch, len(job.members) // 2))
    more = min(_MORE * batch, len(job.members))
    model, _ = _trained(job, data, few)  # the first one warms up
    short = _quickest(lambda: _trained(job, data, few)[1])
    long = _quickest(lambda: _trained(job, data, more)[1]) if more > few else 2 * short
    each = max(0.0, long - short) / max(1, more - few or few)
    fixed = max(0.0, short - each * few)
    answer = _answer(job, data, model)
    epochs = schedule.epochs if schedule is not None else 1
    times = gain(jobs[:stack], data) if job.stacked else 1.0
    seconds, size = 0.0, 0
    for one in jobs:
        asked = len(data) if one.asked is None else len(one.asked)
        near = 0
        if one.further is not None:
            near = len(one.further.ids) * len(one.further.near)
        training = fixed + each * len(one.members) * epochs
        seconds += training / times + answer * (asked + near)
        answers = 4 * data.classes * (asked + near + RANDOM_INPUTS)
        size += _weights(model) + answers + (2 if near else 1) * _ENTRY
    return Cost(seconds, size)


def gain(jobs: Sequence[Job], data: Data) -> float:
    """How many times as fast some jobs are when stacked, by a few batches.

    Args:
        jobs: of one kind, see `together.arrange`.
        data: the data set.
    """
    first = jobs[0]
    few = min(_FEW * first.recipe.schedule.batch, *(len(job.members) for job in jobs))
    brief = [_few(job, few) for job in jobs]

    def at_once(epochs: int) -> float:
        started = time.perf_counter()
        models_of([replace(job, recipe=_brief(job.recipe, epochs)) for job in brief], data)
        _finish(torch.device(first.device))
        return time.perf_counter() - started

    # As many epochs as make what is done once, such as building the models, a small part.
    epochs, together = 1, at_once(1)
    while together < _LONG and epochs < _MOST_EPOCHS:
        epochs *= 2
        together = at_once(epochs)
    if together < _PATIENCE:
        together = _quickest(lambda: at_once(epochs))
        _trained(first, data, few)
    return len(jobs) * _quickest(lambda: _trained(first, data, few, epochs)[1]) / together


def _quickest(attempt: Callable[[], float]) -> float:
    """The least of up to five times, as long as they are short: other processes only add to it."""
    least = spent = attempt()
    rounds = 1
    while spent < _PATIENCE and rounds < 5:
        seconds = attempt()
        least, spent, rounds = min(least, seconds), spent + seconds, rounds + 1
    return least


def _few(job: Job, members: int) -> Job:
    """The job with some of its members."""
    some: Int64 = np.sort(np.random.default_rng(job.seed).permutation(job.members)[:members])
    return replace(job, members=some)


def _trained(job: Job, data: Data, members: int, epochs: int = 1) -> tuple[torch.nn.Module, float]:
    """A model of some epochs on some of the members, and the seconds that took."""
    with isolated(job.seed, job.threads), divergence.unchecked():
        material = material_of(_few(job, members), data)
        started = time.perf_counter()
        model = _brief(job.recipe, epochs).train(material)
        _finish(torch.device(job.device))
        return model, time.perf_counter() - started


def _brief(recipe: Any, epochs: int) -> Any:
    """The recipe for so many epochs, in which everything takes part that it trains with."""
    names = {field.name for field in fields(recipe)}
    changes: dict[str, Any] = {}
    if "schedule" in names:
        changes["schedule"] = replace(recipe.schedule, epochs=epochs)
    if "plain_epochs" in names:
        changes["plain_epochs"] = 0
    return replace(recipe, **changes)


def _answer(job: Job, data: Data, model: torch.nn.Module) -> float:
    """Seconds of one answer."""
    device = torch.device(job.device)
    rows = data.inputs[: min(_ASKED, len(data))]
    with isolated(job.seed, job.threads):
        inputs = torch.from_numpy(np.ascontiguousarray(rows)).to(device)
        loop.answer(model, inputs)
        started = time.perf_counter()
        loop.answer(model, inputs)
        _finish(device)
        return (time.perf_counter() - started) / len(rows)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _weights(model: torch.nn.Module) -> int:
    state = model.state_dict().values()
    return sum(math.prod(value.shape) * value.element_size() for value in state)
