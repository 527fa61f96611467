"""Outputs of a torch model: built by a function of the user, with weights from safetensors."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.extras import require

BATCH = 256
"""Records in one call of the model."""


def query_torch(weights: Path, factory: str, inputs: npt.NDArray[np.float32]) -> Any:
    """Query a torch model with every input, on the processor.

    Args:
        weights: a safetensors file with the model's state.
        factory: "package.module:function" of a function without arguments that builds the model.
            It is imported from the working folder or an installed package, and runs: name only
            code you trust.
        inputs: float32 [N, ...], as the model takes them.

    Returns:
        float64 [N, K].

    Raises:
        InputError: if there is no such function, or it does not return a torch module.
        DataFileError: if the weights do not fit the model, or it does not take these inputs.
        MissingExtraError: if safetensors is not installed.
    """
    model = build_model(factory)
    load = require("safetensors.torch", "Reading the weights").load_file
    try:
        model.load_state_dict(load(weights))
    except Exception as error:  # safetensors, torch and the file system each have their own
        raise DataFileError(
            f"{weights} does not hold the weights of what {factory} makes "
            f"({str(error).strip().partition(chr(10))[0][:200]}).",
            "Save them with safetensors.torch.save_model(model, file).",
        ) from error
    model.eval()
    parts = []
    try:
        with torch.inference_mode():
            for start in range(0, len(inputs), BATCH):
                rows = np.ascontiguousarray(inputs[start : start + BATCH])
                parts.append(model(torch.from_numpy(rows)).double().numpy())
        outputs = np.concatenate(parts)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise DataFileError(
            f"What {factory} makes does not answer inputs of shape {inputs.shape[1:]} "
            f"({str(error).strip().partition(chr(10))[0][:200]}).",
            "It takes float32 [batch, ...] and gives logits [batch, classes].",
        ) from error
    return outputs


def build_model(factory: str) -> nn.Module:
    """Call the function that builds the model.

    Args:
        factory: "package.module:function".

    Returns:
        The model.

    Raises:
        InputError: if there is no such function, or it does not return a torch module.

    >>> build_model("torch.nn:Identity")
    Identity()
    """
    name, _, function = factory.partition(":")
    if not function.isidentifier() or not all(part.isidentifier() for part in name.split(".")):
        raise InputError(f"The factory is {factory!r}.", "Write package.module:function.")
    here = os.getcwd()
    sys.path.insert(0, here)  # as `python -m` has it
    try:
        model = getattr(importlib.import_module(name), function)()
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(
            f"The factory {factory!r} cannot be called ({error}).",
            "Name a function without arguments, importable from the working folder.",
        ) from error
    finally:
        sys.path.remove(here)
    if not isinstance(model, nn.Module):
        raise InputError(
            f"The factory {factory!r} made a {type(model).__name__}.", "Return a torch.nn.Module."
        )
    return model
