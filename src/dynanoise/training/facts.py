"""What a recipe found out besides the weights, kept and stored with the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

_PREFIX = "fact_"

Facts = dict[str, npt.NDArray[Any]]
"""Names and arrays, such as the epsilon of `recipes.dpsgd.DpSgd`."""


def attach(model: nn.Module, facts: Mapping[str, npt.ArrayLike]) -> nn.Module:
    """Registers each fact as a buffer of ``model``, in place, and returns the model.

    Buffers are part of ``state_dict()``, so whatever stores the weights stores the facts. They take
    no part in an answer. ``model.half()`` would round those that are not integers.

    Args:
        model: a trained model.
        facts: numbers or arrays by name; numbers become arrays of no axis, floats float64.

    >>> told = facts_of(attach(nn.Linear(2, 2), {"epsilon": 1.5}))
    >>> {name: value.item() for name, value in told.items()}
    {'epsilon': 1.5}
    """
    for name, value in facts.items():
        model.register_buffer(_PREFIX + name, torch.from_numpy(np.array(value)))
    return model


def facts_of(model: nn.Module) -> Facts:
    """The facts attached to ``model``; none for a plain one."""
    return {
        name.removeprefix(_PREFIX): buffer.cpu().numpy()
        for name, buffer in model.named_buffers(recurse=False)
        if name.startswith(_PREFIX)
    }


def load(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Loads a stored ``state_dict()`` with its facts into a freshly built ``model``.

    A fresh model has no facts, so ``load_state_dict`` alone refuses a state that has some.

    Args:
        model: of the architecture that was stored; changed in place and returned.
        state: what ``state_dict()`` gave.

    >>> stored = attach(nn.Linear(2, 2), {"steps": 3}).state_dict()
    >>> facts_of(load(nn.Linear(2, 2), stored))["steps"].item()
    3
    """
    for name, value in state.items():
        if name.startswith(_PREFIX):
            model.register_buffer(name, torch.empty_like(value))
    model.load_state_dict(dict(state))
    return model
