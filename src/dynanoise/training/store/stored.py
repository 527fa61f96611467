"""A job's answers: from a store, or from a model that is trained now."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from dynanoise.core.errors import MissingModelError
from dynanoise.data.dataset import Data
from dynanoise.training import facts
from dynanoise.training.execution.together import train_together
from dynanoise.training.jobs import Answers, Job, Trained, ask_further, train_and_answer
from dynanoise.training.store.store import Store, describe, key

log = logging.getLogger(__name__)


def stored(job: Job, data: Data, store: Store | None, owner: str = "") -> Answers:
    """The job's answers from the store, or made now and stored.

    A stored model is never trained again for the sake of further questions: its weights answer
    them. What another run is training at the moment is waited for.

    Args:
        job: what to train.
        data: the data set.
        store: where finished models are kept and found; None to train always.
        owner: of what is claimed, see `Store.claim`.

    Raises:
        DivergedError: if training came to nothing.
        StoreError: if the store is no folder and cannot be asked.
    """
    while True:
        answers = attempted([job], data, store, owner)[0]
        if answers is not None:
            return answers
        assert store is not None
        time.sleep(store.pause)


def attempted(
    jobs: Sequence[Job], data: Data, store: Store | None, owner: str = ""
) -> list[Answers | None]:
    """The answers of one job, or of stacked ones, which are trained at once.

    What is in the store is not trained again; a stack is smaller by it.

    Args:
        jobs: what to train.
        data: the data set.
        store: where finished models are kept and found; None to train always.
        owner: of what is claimed, see `Store.claim`.

    Returns:
        None, without waiting, for a model that another run is training at the moment.
    """
    if store is None:
        return list(_made(jobs, data, None))
    answers = [found(job, data, store) for job in jobs]
    with ExitStack() as claims:
        ours = [
            number
            for number, (job, answer) in enumerate(zip(jobs, answers, strict=True))
            if answer is None
            and claims.enter_context(store.claim(key(replace(job, further=None), data), owner))
        ]
        made = _made([jobs[number] for number in ours], data, store)
        for number, answer in zip(ours, made, strict=True):
            answers[number] = answer
    return answers


def _made(jobs: Sequence[Job], data: Data, store: Store | None) -> list[Answers]:
    own = [replace(job, further=None) for job in jobs]
    # Looked for once more: whoever had the claim before may have finished.
    answers = [None if store is None else store.get(key(job, data)) for job in own]
    missing = [job for job, answer in zip(own, answers, strict=True) if answer is None]
    trained = iter(train_and_store(missing, data, store))
    found: list[Answers] = []
    for job, answer in zip(jobs, answers, strict=True):
        if answer is None:
            new = next(trained)
            found.append(_asked_further(job, data, store, new.answers, new.model))
        else:
            found.append(_asked_further(job, data, store, answer, None))
    return found


def _asked_further(
    job: Job,
    data: Data,
    store: Store | None,
    answers: Answers,
    model: torch.nn.Module | None,
) -> Answers:
    """The answers with those about near-duplicates, where the job asks for them."""
    if job.further is None:
        return answers
    more = None if store is None else store.get(key(job, data))
    if more is None:
        own = replace(job, further=None)
        if model is None:
            assert store is not None
            try:
                model = rebuilt(own, data, store)
            except MissingModelError:  # its weights were damaged
                (trained,) = train_and_store([own], data, store)
                model, answers = trained.model, trained.answers
        more = ask_further(model, job, data)
        if store is not None:
            store.put(key(job, data), more, _about(job, data))
    return _together(answers, more)


def found(job: Job, data: Data, store: Store) -> Answers | None:
    """The job's answers if all of them are in the store."""
    answers = store.get(key(replace(job, further=None), data))
    if answers is None or job.further is None:
        return answers
    more = store.get(key(job, data))
    return None if more is None else _together(answers, more)


def train_and_store(jobs: Sequence[Job], data: Data, store: Store | None) -> list[Trained]:
    """The jobs' models, trained now, and stored where there is a store.

    Args:
        jobs: one, or stacked ones, see `together.arrange`.
        data: the data set.
        store: where to keep them, or None.
    """
    if not jobs:
        return []

    def keep(job: Job, trained: Trained) -> None:
        log.info("%s: trained in %.1f s%s", job.name, trained.answers.seconds, _among(jobs))
        if store is not None:
            store.put(key(job, data), trained, _about(job, data))

    if jobs[0].stacked:
        return train_together(jobs, data, keep)
    made = []
    for job in jobs:
        made.append(train_and_answer(job, data))
        keep(job, made[-1])
    return made


def _among(jobs: Sequence[Job]) -> str:
    return f", its share of {len(jobs)} stacked models" if jobs[0].stacked else ""


def _about(job: Job, data: Data) -> dict[str, object]:
    return {"job": job.name, "data set": data.name, **describe(job, data)}


def rebuilt(job: Job, data: Data, store: Store) -> torch.nn.Module:
    """The stored model of a job, in evaluation mode, on the processor."""
    fresh = built(job.model, data, job.seed)
    return facts.load(fresh, store.weights(key(job, data))).eval()


def built(architecture: Any, data: Data, seed: int) -> torch.nn.Module:
    """An architecture with its initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: torch.nn.Module = architecture.build(data.inputs.shape[1:], data.classes)
    return model


def _together(answers: Answers, more: Answers) -> Answers:
    return replace(answers, near=more.near, seconds=answers.seconds + more.seconds)
