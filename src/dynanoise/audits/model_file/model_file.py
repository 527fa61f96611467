"""A model in a file, queried with tables of its members and of non-members."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.audits.inputs import SUMS_TO_ONE, Given, given_of
from dynanoise.core.errors import DataFileError, InputError, MissingExtraError
from dynanoise.core.numerics import Bools, Int64


def load(model: Path, factory: str | None, members: Path, nonmembers: Path) -> Given:
    """Query a model in a file with both tables.

    Args:
        model: ``.onnx``, or ``.safetensors`` with a factory.
        factory: "package.module:function" that builds the torch model; None for ONNX.
        members: a table (see `data.tables`) of records that the model was trained on, inputs as it
            takes them.
        nonmembers: the same of records that it was not trained on.

    Returns:
        The outputs on both, members first.

    Raises:
        DataFileError: if a file cannot be read, or the tables do not go together.
        InputError: if the factory is missing or superfluous, or the outputs do not fit the labels.
        MissingExtraError: if a package that reads the tables or runs the model is not installed.
    """
    kind = model.suffix.lower()
    if kind not in {".onnx", ".safetensors"}:
        raise DataFileError(
            f"{model} ends in {model.suffix or 'nothing'}.", "Use .onnx or .safetensors."
        )
    if (kind == ".safetensors") != (factory is not None):
        raise InputError(
            f"The model {model.name} comes {'without' if factory is None else 'with'} a factory.",
            "Weights in safetensors need one, --factory package.module:function; ONNX needs none.",
        )
    inputs, labels, member = records(members, nonmembers)
    outputs = _query(model, factory, inputs)
    kind = "probs" if probabilities(outputs) else "logits"
    return given_of(model.stem, labels=labels, member=member, **{kind: outputs})


def records(members: Path, nonmembers: Path) -> tuple[Any, Int64, Bools]:
    """Read the tables of members and of non-members.

    Args:
        members: a table (see `data.tables`).
        nonmembers: another with the same columns and classes.

    Returns:
        Inputs float32 [N, ...], labels int64 [N] and membership bool [N] of both, members first.

    Raises:
        DataFileError: if a file cannot be read, or the tables do not go together.
        InputError: if inputs are not float32.
        MissingExtraError: if a package that reads the tables is not installed.
    """
    from dynanoise.data import tables

    inside, outside = tables.load_table(members), tables.load_table(nonmembers)
    if inside.inputs.shape[1:] != outside.inputs.shape[1:]:
        raise DataFileError(
            f"Records have the shape {inside.inputs.shape[1:]} in {members.name} and "
            f"{outside.inputs.shape[1:]} in {nonmembers.name}.",
            "Give both tables the same columns.",
        )
    if inside.class_names != outside.class_names:
        raise DataFileError(
            f"The classes are {_shown(inside)} in {members.name} and {_shown(outside)} in "
            f"{nonmembers.name}.",
            "Give the model's class numbers, from 0, as labels.",
        )
    inputs = np.concatenate([inside.inputs, outside.inputs])
    if inputs.dtype != np.float32:
        raise InputError(
            f"Inputs have dtype {inputs.dtype}.",
            "Give them as the model takes them, for images float32 after its preprocessing.",
        )
    labels = np.concatenate([inside.labels, outside.labels])
    return inputs, labels, np.arange(len(inputs)) < len(inside)


def _shown(data: Any) -> str:
    return ", ".join(data.class_names) or "numbers"


def _query(model: Path, factory: str | None, inputs: Any) -> Any:
    if factory is None:
        from dynanoise.audits.model_file.onnx import query_onnx

        return query_onnx(model, inputs)
    for package in ("torch", "safetensors"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"Querying a torch model needs {package}, which is not installed.",
                "Install it with: pip install 'dynanoise[train]'",
            )
    from dynanoise.audits.model_file.torch import query_torch

    return query_torch(model, factory, inputs)


def probabilities(outputs: npt.ArrayLike) -> bool:
    """Tell probabilities from logits.

    Args:
        outputs: [..., K].

    Returns:
        True if every row is positive and sums to 1 within 0.01.

    >>> probabilities(np.array([[0.25, 0.75]])), probabilities(np.array([[1.0, -1.0]]))
    (True, False)
    """
    rows = np.asarray(outputs, dtype=np.float64)
    sums = rows.sum(axis=-1)
    return bool(rows.min(initial=0.0) >= 0 and np.abs(sums - 1).max(initial=0.0) <= SUMS_TO_ONE)
