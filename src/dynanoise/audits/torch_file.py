"""Torch models in files: weights in safetensors, and a function that builds the model."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.extras import require
from dynanoise.core.queries import Inputs
from dynanoise.integrations.onnx_graph import first_line

if TYPE_CHECKING:
    from torch import nn

BATCH = 256
"""Records in one call of the model."""


def load_torch(weights: Path, factory: str) -> tuple[nn.Module, tuple[str, ...]]:
    """Load a torch model, on the processor.

    Args:
        weights: a safetensors file with the model's state.
        factory: "package.module:function" of a function without arguments that builds the model.
            It is imported from the working folder or an installed package, and runs: name only
            code you trust.

    Returns:
        The model in evaluation mode; and notes on names of weights that were changed.

    Raises:
        InputError: if the function is not found, or does not return a torch module.
        DataFileError: if the weights do not fit the model.
        MissingExtraError: if torch or safetensors is not installed.
    """
    require("torch", "Querying a torch model")
    load_file = require("safetensors.torch", "Querying a torch model").load_file
    model = build_model(factory)
    try:
        state = load_file(weights)
    except Exception as error:  # safetensors and the file system each have their own
        raise DataFileError(
            f"{weights} cannot be read as safetensors ({first_line(error)}).",
            "Save the weights with safetensors.torch.save_model(model, file).",
        ) from error
    note = _load_state(model, state, str(weights), factory)
    return model.eval(), (note,) if note else ()


def run_torch(model: nn.Module, factory: str, inputs: Inputs) -> npt.NDArray[np.float64]:
    """Query a torch model, on the processor.

    Args:
        model: in evaluation mode.
        factory: its maker, for messages.
        inputs: [n, ...], as the model takes them.

    Returns:
        float64 [n, K].

    Raises:
        DataFileError: if the model does not take these inputs.
    """
    import torch

    parts = []
    try:
        with torch.inference_mode():
            for start in range(0, len(inputs), BATCH):
                rows = np.ascontiguousarray(inputs[start : start + BATCH], dtype=np.float32)
                parts.append(model(torch.from_numpy(rows)).double().numpy())
        return np.concatenate(parts)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise DataFileError(
            f"What {factory} makes returns no output for inputs of shape {inputs.shape[1:]} "
            f"({first_line(error)}).",
            "It takes float32 [batch, ...] and gives logits [batch, classes].",
        ) from error


def _load_state(model: nn.Module, state: Mapping[str, Any], path: str, factory: str) -> str:
    """Load weights, also under the names that wrappers of training give them.

    DataParallel writes "module." in front of every name, torch.compile "_orig_mod.", Lightning the
    attribute's name. A prefix is dropped, or added where the factory wraps, if only then every
    name is the model's.

    Returns:
        A sentence on the changed names, or "".
    """
    try:
        model.load_state_dict(dict(state))
        return ""
    except (RuntimeError, ValueError, KeyError):
        parts = model.state_dict(keep_vars=True)
    renamed = _renamed(list(state), list(parts))
    lost = [name for name in renamed.values() if name not in parts]
    loaded = {id(parts[name]) for name in renamed.values() if name in parts}
    # Weights that layers share are saved once.
    missing = [name for name, value in parts.items() if id(value) not in loaded]
    sizes = [
        f"{name} has shape {list(state[name].shape)} and needs {list(parts[target].shape)}"
        for name, target in renamed.items()
        if target in parts and state[name].shape != parts[target].shape
    ]
    reasons = [
        f"without {_listing(missing)}" if missing else "",
        f"with {_listing(lost)}" if lost else "",
        *sizes[:1],
    ]
    if any(reasons):
        raise DataFileError(
            f"{path} does not hold the weights of what {factory} makes: it is "
            f"{', '.join(filter(None, reasons))}.",
            "Let the factory build the model that was saved, and save it with "
            "safetensors.torch.save_model(model, file).",
        )
    model.load_state_dict({target: state[name] for name, target in renamed.items()}, strict=False)
    changed = [f"{name} is now {target}" for name, target in renamed.items() if name != target]
    return f"Names of weights were changed to the model's: {changed[0]}." if changed else ""


def _renamed(names: list[str], expected: list[str]) -> dict[str, str]:
    """Names of a file's weights with the model's names for them; themselves if none fit.

    >>> _renamed(["module.0.bias"], ["0.bias"]), _renamed(["bias"], ["_orig_mod.bias"])
    ({'module.0.bias': '0.bias'}, {'bias': '_orig_mod.bias'})
    """
    inner = "_orig_mod."  # torch.compile of a part writes it inside of names
    plain = {name.replace(inner, ""): name for name in expected}
    short = [name.replace(inner, "") for name in names]
    for prefix in ("", *_prefixes(short)):
        for added in ("", *_prefixes(list(plain))):
            targets = [added + name.removeprefix(prefix) for name in short]
            if set(targets) <= set(plain):
                return {n: plain[target] for n, target in zip(names, targets, strict=True)}
    return {name: name for name in names}


def _prefixes(names: list[str]) -> list[str]:
    """Dotted prefixes that all names share, the shortest first.

    >>> _prefixes(["module.net.0.bias", "module.net.1.bias"])
    ['module.', 'module.net.']
    """
    parts = names[0].split(".")[:-1] if names else []
    prefixes = [".".join(parts[: end + 1]) + "." for end in range(len(parts))]
    return [prefix for prefix in prefixes if all(name.startswith(prefix) for name in names)]


def _listing(names: list[str]) -> str:
    return f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"


def build_model(factory: str) -> nn.Module:
    """Call the function that builds the model.

    Args:
        factory: "package.module:function".

    Returns:
        The model.

    Raises:
        InputError: if the function is not found, or does not return a torch module.

    >>> build_model("torch.nn:Identity")
    Identity()
    """
    from torch import nn

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
