"""Facts: numbers of a training run that are kept and stored with the model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

_PREFIX = "fact_"

Facts = dict[str, npt.NDArray[Any]]
"""Arrays by name, such as the epsilon of `recipes.dpsgd.DpSgd`."""


def attach(model: nn.Module, facts: Mapping[str, npt.ArrayLike]) -> nn.Module:
    """Register each fact as a buffer of a model.

    Buffers are part of ``state_dict()``, so facts are stored with the weights. They have no part in
    outputs. ``model.half()`` would round those that are not integers.

    Args:
        model: a trained model, changed in place.
        facts: numbers or arrays by name; numbers become arrays of no axis, floats float64.

    Returns:
        The model.

    >>> facts = facts_of(attach(nn.Linear(2, 2), {"epsilon": 1.5}))
    >>> {name: value.item() for name, value in facts.items()}
    {'epsilon': 1.5}
    """
    for name, value in facts.items():
        model.register_buffer(_PREFIX + name, torch.from_numpy(np.array(value)))
    return model


def facts_of(model: nn.Module) -> Facts:
    """The facts that are attached to a model; {} for none."""
    return {
        name.removeprefix(_PREFIX): buffer.cpu().numpy()
        for name, buffer in model.named_buffers(recurse=False)
        if name.startswith(_PREFIX)
    }


def load_state(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Load a stored ``state_dict()`` with its facts into a freshly built model.

    A fresh model has no facts, so ``load_state_dict`` alone refuses a state that has some.

    Args:
        model: a model of the stored architecture, changed in place.
        state: the model's ``state_dict()``.

    Returns:
        The model.

    >>> stored = attach(nn.Linear(2, 2), {"steps": 3}).state_dict()
    >>> facts_of(load_state(nn.Linear(2, 2), stored))["steps"].item()
    3
    """
    for name, value in state.items():
        if name.startswith(_PREFIX):
            model.register_buffer(name, torch.empty_like(value))
    model.load_state_dict(dict(state))
    return model
