"""Facts travel with the weights and change nothing."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

import torch

from dynanoise.core.registry import MODELS
from dynanoise.training.facts import attach, facts_of, load_state
from dynanoise.training.jobs import Job, train_and_query
from dynanoise.training.recipes.plain import Plain
from dynanoise.training.recipes.selena import Selena
from tests.factories import tiny


def test_facts_come_back_as_they_were_and_answers_stay() -> None:
    model, inputs = tiny.network(), torch.randn(4, 5)
    before = model(inputs)
    seen = np.array([[True, False]])
    attach(model, {"epsilon": 1 / 3, "steps": 7, "seen": seen})
    assert torch.equal(model(inputs), before)
    told = facts_of(model)
    assert told["epsilon"].item() == 1 / 3 and told["steps"].item() == 7
    np.testing.assert_array_equal(told["seen"], seen)


def test_they_are_stored_and_loaded_with_the_weights() -> None:
    model = attach(tiny.network(), {"epsilon": 1 / 3})
    copy = load_state(tiny.network(), model.state_dict())
    assert tiny.same_weights(model, copy) and facts_of(copy) == facts_of(model)
    with pytest.raises(RuntimeError, match="fact_epsilon"):
        tiny.network().load_state_dict(model.state_dict())


def test_a_model_of_another_architecture_is_still_refused() -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        load_state(tiny.network(), attach(tiny.linear(), {"epsilon": 1.0}).state_dict())


def test_a_jobs_answers_tell_them() -> None:
    def answers(recipe: object) -> dict[str, np.ndarray]:
        architecture = MODELS.get("mlp")((8,))
        job = Job("target", architecture, recipe, np.arange(90), np.arange(90, 120), seed=1)
        return train_and_query(job, tiny.data()).outputs.facts

    assert answers(Plain(tiny.QUICK)) == {}
    assert answers(Selena(tiny.QUICK, 5, 2))["seen"].shape == (5, 90)
