"""Outputs of a job's model: from the store, or of a model that is trained now."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any

import torch

from dynanoise.core.errors import MissingModelError
from dynanoise.data.dataset import Data
from dynanoise.training import facts
from dynanoise.training.execution.parts import Parts
from dynanoise.training.jobs import (
    Job,
    ModelOutputs,
    Trained,
    assembled,
    query_near,
    train_and_query,
)
from dynanoise.training.store.store import Store, describe, key

log = logging.getLogger(__name__)


def outputs_of(job: Job, data: Data, store: Store | None, owner: str = "") -> ModelOutputs:
    """Read the outputs of a job's model from the store, or train the model and store both.

    A stored model is not trained again to be queried about near-duplicates: its weights are loaded.
    A model that another run is training is waited for.

    Args:
        job: the model.
        data: the data set.
        store: where trained models are kept and found; None to train always.
        owner: the owner of claims, see `Store.claim`.

    Raises:
        DivergedError: if training failed.
        StoreError: if a store at an address cannot be reached.
    """
    while True:
        outputs = outputs_unless_claimed(job, data, store, owner)
        if outputs is not None:
            return outputs
        assert store is not None
        time.sleep(store.pause)


def outputs_unless_claimed(
    job: Job, data: Data, store: Store | None, owner: str = ""
) -> ModelOutputs | None:
    """The same as `outputs_of`, without waiting.

    Args:
        job: the model.
        data: the data set.
        store: see `outputs_of`.
        owner: see `outputs_of`.

    Returns:
        None for a model that another run is training at the moment.
    """
    if store is None:
        return _made(job, data, None, owner)
    outputs = stored_outputs(job, data, store)
    if outputs is not None:
        return outputs
    with store.claim(key(replace(job, near=None), data), owner) as ours:
        return _made(job, data, store, owner) if ours else None


def stored_outputs(job: Job, data: Data, store: Store) -> ModelOutputs | None:
    """The outputs of a job's model if the store has all of them, those on near-duplicates too.

    Args:
        job: the model.
        data: the data set.
        store: where trained models are kept.

    Returns:
        None if a part is missing.
    """
    outputs = store.get(key(replace(job, near=None), data))
    if outputs is None or job.near is None:
        return outputs
    near = store.get(key(job, data))
    return None if near is None else _joined(outputs, near)


def seems_stored(job: Job, data: Data, store: Store | None) -> bool:
    """Whether a store has entries for all outputs of a job's model, which are not read.

    Args:
        job: the model.
        data: the data set.
        store: where trained models are kept; None for none.
    """
    if store is None:
        return False
    return all(key(part, data) in store for part in (replace(job, near=None), job))


def _made(job: Job, data: Data, store: Store | None, owner: str) -> ModelOutputs:
    alone = replace(job, near=None)
    # Once more: the run that held the claim before may have finished.
    outputs = None if store is None else store.get(key(alone, data))
    model: torch.nn.Module | None = None
    if outputs is None:
        trained = train_and_store(alone, data, store, owner)
        model, outputs = trained.model, trained.outputs
    if job.near is None:
        return outputs
    near = None if store is None else store.get(key(job, data))
    if near is None:
        if model is None:
            assert store is not None
            try:
                model = rebuilt(alone, data, store)
            except MissingModelError:  # its weights were damaged
                trained = train_and_store(alone, data, store, owner)
                model, outputs = trained.model, trained.outputs
        near = query_near(model, job, data)
        if store is not None:
            store.put(key(job, data), near, _about(job, data))
    return _joined(outputs, near)


def train_and_store(job: Job, data: Data, store: Store | None, owner: str = "") -> Trained:
    """Train a job's model, and store it where there is a store.

    Sub-models are stored as they are trained, and removed once the model made of them is stored.

    Args:
        job: the model; near-duplicates are not queried.
        data: the data set.
        store: where to keep it, or None.
        owner: see `outputs_of`.

    Raises:
        DivergedError: if training failed.
    """
    parts = Parts(data, store, owner)
    trained = train_and_query(job, data, parts.of)
    log.info("%s: trained in %.1f s", job.name, trained.outputs.seconds)
    if store is not None and store.put(key(job, data), trained, _about(job, data)):
        parts.remove()
    return trained


def rebuilt(job: Job, data: Data, store: Store) -> torch.nn.Module:
    """The stored model of a job, in evaluation mode, on the processor.

    Args:
        job: the model, without near-duplicates.
        data: the data set.
        store: where it is kept.

    Raises:
        UnknownNameError: if it is not stored.
        MissingModelError: if its weights are damaged; they are removed.
    """
    fresh = assembled(job.recipe, lambda: built(job.model, data, job.seed))
    return facts.load_state(fresh, store.weights(key(job, data))).eval()


def built(architecture: Any, data: Data, seed: int) -> torch.nn.Module:
    """An architecture with its initial weights, on the processor.

    Args:
        architecture: such as `models.mlp.Mlp`.
        data: the data set, for the shape of inputs and the number of classes.
        seed: decides the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: torch.nn.Module = architecture.build(data.inputs.shape[1:], data.classes)
    return model


def _about(job: Job, data: Data) -> dict[str, object]:
    return {"job": job.name, "data set": data.name, **describe(job, data)}


def _joined(outputs: ModelOutputs, near: ModelOutputs) -> ModelOutputs:
    return replace(outputs, near=near.near, seconds=outputs.seconds + near.seconds)
