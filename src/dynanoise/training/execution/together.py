"""Which models are trained at once on one device, and training them so."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import torch

from dynanoise.core.errors import DivergedError, InputError
from dynanoise.data.dataset import Data
from dynanoise.training.execution import stacked
from dynanoise.training.jobs import Job, Trained, asked, isolated, material_of, train_and_answer
from dynanoise.training.store.store import Store, key

log = logging.getLogger(__name__)

MOST = 16
"""Models in a stack, unless told otherwise."""

_WORTH = 1.1
"""Times as fast as one by one that stacked training must be to be chosen."""

Gain = Callable[[Sequence[Job], Data], float]
"""How many times as fast some jobs are when stacked."""


def check(size: int | None) -> None:
    """Raises unless it is a number of models in a stack.

    Raises:
        InputError: if it is below 1.
    """
    if size is not None and size < 1:
        raise InputError(f"stack is {size}.", "Use 1 for one model at a time, or more.")


def arrange(
    jobs: Iterable[Job],
    data: Data,
    *,
    size: int | None,
    slots: int = 1,
    store: Store | None = None,
    gain: Gain,
) -> list[tuple[Job, ...]]:
    """The jobs in their order, those together that are to be trained as one stack.

    Only jobs in a row can be: of the same recipe with an ``objective``, of the same architecture
    with ``stackable``, on the same device with as many threads.

    Args:
        jobs: what to train.
        data: the data set.
        size: the most in a stack; 1 for none. None: `MOST` on a GPU if the store has models of
            this kind that were stacked, or none at all and a measurement says it is faster; 1 on a
            processor, whose numbers are then those of every other number of workers.
        slots: how many stacks are trained at the same time, which are filled evenly.
        store: where finished models are.
        gain: measures, see `estimate.gain`.
    """
    check(size)
    groups: list[tuple[Job, ...]] = []
    for _, run in groupby(jobs, _kind):
        alike = list(run)
        most = size
        if most is None:
            most = MOST if _worth_it(alike, data, store, gain) else 1
        if most == 1 or not stackable(alike[0]):
            groups += [(job,) for job in alike]
            continue
        own = [replace(job, stacked=True) for job in alike]
        count = max(-(-len(own) // most), min(slots, len(own)))
        ends = [round(number * len(own) / count) for number in range(count + 1)]
        groups += [tuple(own[a:b]) for a, b in pairwise(ends)]
    return groups


def stackable(job: Job) -> bool:
    """True if the job's recipe and model allow to train it with others."""
    return hasattr(job.recipe, "objective") and getattr(job.model, "stackable", False)


def _kind(job: Job) -> tuple[Any, ...]:
    return (job.model, job.recipe, job.device, job.threads)


def _worth_it(jobs: Sequence[Job], data: Data, store: Store | None, gain: Gain) -> bool:
    if len(jobs) == 1 or jobs[0].device == "cpu" or not stackable(jobs[0]):
        return False
    if store is not None:
        # As it was begun: a measurement may come out differently every time.
        for way in (True, False):
            if any(key(replace(job, further=None, stacked=way), data) in store for job in jobs):
                return way
    try:
        times = gain(jobs[:MOST], data)
    except torch.OutOfMemoryError:
        log.info("%s: %d stacked models do not fit into memory", jobs[0].name, MOST)
        return False
    log.info("%s: stacked training is %.2g times as fast", jobs[0].name, times)
    return times > _WORTH


def train_together(
    jobs: Sequence[Job], data: Data, keep: Callable[[Job, Trained], None] = lambda job, made: None
) -> list[Trained]:
    """Train the jobs' models at once, and ask each about its records and random inputs.

    Args:
        jobs: stacked ones of one kind, see `arrange`.
        data: the data set.
        keep: is given each model as soon as it is finished: before those that diverged, which are
            trained alone at the end.

    Raises:
        DivergedError: if a model is at chance on its members, and trained alone, smaller steps
            included, is so again.
    """
    started = time.perf_counter()
    models = models_of(jobs, data)
    found: list[Trained | DivergedError] = []
    for job, model in zip(jobs, models, strict=True):
        try:
            with isolated(job.seed, job.threads):
                found.append(asked(model, job, data))
        except DivergedError as error:
            found.append(error)
    share = (time.perf_counter() - started) / len(jobs)

    def finished(job: Job, made: Trained) -> Trained:
        seconds = round(share + made.answers.seconds, 1)
        made = replace(made, answers=replace(made.answers, seconds=seconds, stacked=True))
        keep(job, made)
        return made

    fine = [
        finished(job, one) if isinstance(one, Trained) else one
        for job, one in zip(jobs, found, strict=True)
    ]

    def alone(job: Job, error: DivergedError) -> Trained:
        log.warning("%s: %s It is trained alone.", job.name, error.problem)
        return finished(job, train_and_answer(job, data))

    return [
        one if isinstance(one, Trained) else alone(job, one)
        for job, one in zip(jobs, fine, strict=True)
    ]


def models_of(jobs: Sequence[Job], data: Data) -> list[torch.nn.Module]:
    """The trained models of jobs as `train_together` takes them, on their device."""
    first = jobs[0]
    device = torch.device(first.device)
    union = np.unique(np.concatenate([job.members for job in jobs]))
    parts = []
    for job in jobs:
        material = material_of(job, data)
        with isolated(job.seed, job.threads):
            model = material.build()
            draws = torch.Generator(device).manual_seed(job.seed)
            if device.type == "cpu":  # dropout goes on where the weights' draws ended
                draws.set_state(torch.get_rng_state())
        rows = torch.from_numpy(np.searchsorted(union, job.members))
        parts.append(stacked.Part(model, rows, material.generator("order"), draws))
    objective = first.recipe.objective(data.classes)
    with isolated(first.seed, first.threads):
        stacked.fit(
            parts,
            torch.from_numpy(data.inputs[union]).to(device),
            objective.targets(torch.from_numpy(data.labels[union]).to(device)),
            first.recipe.schedule,
            objective.loss,
        )
    return [part.model for part in parts]
