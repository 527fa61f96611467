"""A job's answers: from a store, or from a model that is trained now."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any

import torch

from dynanoise.errors import MissingModelError
from dynanoise.training import facts
from dynanoise.training.data import Data
from dynanoise.training.jobs import Answers, Job, Trained, ask_further, train_and_answer
from dynanoise.training.store import Store, describe, key

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
        answers = attempted(job, data, store, owner)
        if answers is not None:
            return answers
        assert store is not None
        time.sleep(store.pause)


def attempted(job: Job, data: Data, store: Store | None, owner: str = "") -> Answers | None:
    """The same; None, without waiting, if another run is training the model at the moment."""
    if store is None:
        return _made(job, data, None)
    answers = found(job, data, store)
    if answers is not None:
        return answers
    with store.claim(key(replace(job, further=None), data), owner) as ours:
        return _made(job, data, store) if ours else None


def _made(job: Job, data: Data, store: Store | None) -> Answers:
    own = replace(job, further=None)
    # Looked for once more: whoever had the claim before may have finished.
    answers = None if store is None else store.get(key(own, data))
    model: torch.nn.Module | None = None
    if answers is None:
        trained = train_and_store(own, data, store)
        model, answers = trained.model, trained.answers
    if job.further is None:
        return answers
    more = None if store is None else store.get(key(job, data))
    if more is None:
        if model is None:
            assert store is not None
            try:
                model = rebuilt(own, data, store)
            except MissingModelError:  # its weights were damaged
                trained = train_and_store(own, data, store)
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


def train_and_store(job: Job, data: Data, store: Store | None) -> Trained:
    """The job's model, trained now, and stored where there is a store."""
    trained = train_and_answer(job, data)
    log.info("%s: trained in %.1f s", job.name, trained.answers.seconds)
    if store is not None:
        store.put(key(job, data), trained, _about(job, data))
    return trained


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
