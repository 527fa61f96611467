"""Stored models as functions of inputs."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from dynanoise.core.registry import RECIPES
from dynanoise.training.execution.outputs import train_and_store
from dynanoise.training.jobs import Job
from dynanoise.training.models.mlp import Mlp
from dynanoise.training.queries import stored_model
from dynanoise.training.store.store import Store
from tests.factories import tiny


def test_a_stored_model_answers_as_it_did_and_in_any_process(tmp_path: Path) -> None:
    recipe = RECIPES.get("plain")(tiny.QUICK)
    job = Job("target", Mlp((16,)), recipe, np.arange(90), np.arange(90, 120), seed=3)
    data, store = tiny.data(), Store(tmp_path)
    outputs = train_and_store(job, data, store).outputs
    model = stored_model(job, data, store)
    sent = pickle.loads(pickle.dumps(model))
    logits = model(data.inputs)
    assert np.array_equal(logits, outputs.logits[:, 0])
    assert np.array_equal(sent(data.inputs), logits)
    # A second pickle leaves the built module out.
    assert len(pickle.dumps(model)) == len(pickle.dumps(sent))


def test_gradients_are_those_of_differences(tmp_path: Path) -> None:
    recipe = RECIPES.get("plain")(tiny.QUICK)
    job = Job("target", Mlp((16,)), recipe, np.arange(90), np.arange(90, 120), seed=3)
    data, store = tiny.data(), Store(tmp_path)
    train_and_store(job, data, store)
    model = stored_model(job, data, store)
    inputs = data.inputs[:20]
    weights = np.zeros((20, 3), np.float32)
    weights[:, 0], weights[:, 2] = 1, -1
    gradient = model.gradient(inputs, weights)
    assert gradient.shape == inputs.shape and gradient.dtype == np.float32
    for entry in range(inputs.shape[1]):
        step = np.zeros(inputs.shape[1], np.float32)
        step[entry] = 1e-2
        change = ((model(inputs + step) - model(inputs - step)) * weights).sum(axis=1) / 2e-2
        # A kink of a ReLU between the two inputs changes a few.
        assert np.median(np.abs(change - gradient[:, entry])) < 2e-3
