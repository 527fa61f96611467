"""One model in a file, with tables of its members and of records it was not trained on."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.audits.inputs import SUMS_TO_ONE, Given, given_of
from dynanoise.core.errors import DataFileError, InputError, MissingExtraError
from dynanoise.core.numerics import Bools, Int64


def load(model: Path, factory: str | None, members: Path, nonmembers: Path) -> Given:
    """Asks the model about both tables.

    Args:
        model: ``.onnx``, or ``.safetensors`` with a factory.
        factory: "package.module:function" that makes the torch model; None for ONNX.
        members: a table (see `training.tables`) of records it was trained on, inputs as the model
            takes them.
        nonmembers: likewise of records it was not trained on.

    Raises:
        DataFileError: if a file cannot be read, or the tables do not go together.
        InputError: if what the model needs is missing, or its answers do not fit the labels.
        MissingExtraError: if what reads the tables or asks the model is not installed.
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
    answers = _answers(model, factory, inputs)
    said = {"probs" if probabilities(answers) else "logits": answers}
    return given_of(model.stem, labels=labels, member=member, **said)


def records(members: Path, nonmembers: Path) -> tuple[Any, Int64, Bools]:
    """Inputs float32 [N, ...], labels [N] and membership [N] of both tables, members first.

    Raises:
        DataFileError: if a file cannot be read, or the tables do not go together.
        InputError: if inputs are not float32.
        MissingExtraError: if what reads the tables is not installed.
    """
    from dynanoise.data import tables

    inside, outside = tables.load(members), tables.load(nonmembers)
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


def _answers(model: Path, factory: str | None, inputs: Any) -> Any:
    if factory is None:
        from dynanoise.audits.model_file.onnx import onnx_answers

        return onnx_answers(model, inputs)
    for package in ("torch", "safetensors"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"Asking a torch model needs {package}, which is not installed.",
                "Install it with: pip install 'dynanoise[train]'",
            )
    from dynanoise.audits.model_file.torch import torch_answers

    return torch_answers(model, factory, inputs)


def probabilities(answers: Any) -> bool:
    """True if every row is positive and sums to 1, which rows of logits do not.

    >>> probabilities(np.array([[0.25, 0.75]])), probabilities(np.array([[1.0, -1.0]]))
    (True, False)
    """
    rows = np.asarray(answers, dtype=np.float64)
    sums = rows.sum(axis=-1)
    return bool(rows.min(initial=0.0) >= 0 and np.abs(sums - 1).max(initial=0.0) <= SUMS_TO_ONE)
