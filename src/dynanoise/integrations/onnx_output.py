"""Which tensor of an ONNX model the defense applies to, and why it cannot be another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.extras import require
from dynanoise.integrations.onnx_graph import Tensor, dims_of

_THROUGH = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
"""Operators that leave values as they are."""


def chosen(model: Any, path: Path, output: str | None, class_axis: int, kind: str) -> Tensor:
    """The tensor to defend, checked.

    Args:
        model: at opset 18 or later.
        path: for messages.
        output: one of the model's outputs, or a tensor inside; None for the only output.
        class_axis: which of its axes counts the classes.
        kind: "logits" or "probabilities", what the user says it holds.

    Raises:
        DataFileError: if it is no tensor of floating-point numbers, or its number of classes is
            unknown or 1, or it holds something else than was said.
        InputError: if there is none of that name, several to choose from, or no such axis.
    """
    onnx = require("onnx", "Reading an ONNX model")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=False, data_prop=True)
    except Exception:  # what is wrong with it is said by the checker
        inferred = model
    outputs = list(inferred.graph.output)
    if output is None:
        if len(outputs) != 1:
            raise InputError(
                f"{path} has {len(outputs)} outputs: {_listed(outputs)}.",
                "Name the one with the logits or probabilities by --output (output=).",
            )
        found = outputs[0]
    else:
        known = [*outputs, *inferred.graph.value_info, *inferred.graph.input]
        named = [one for one in known if one.name == output]
        if not named:
            raise InputError(
                f"{path} has no output {output!r}.", f"Its outputs: {_listed(outputs)}."
            )
        found = named[0]
    _check_type(found, path)
    dims = dims_of(found)
    if not found.type.tensor_type.HasField("shape") or not -len(dims) <= class_axis < len(dims):
        raise InputError(
            f"class_axis is {class_axis}, and {_listed([found])}.", "Name an axis that it has."
        )
    axis = class_axis % len(dims)
    _check_classes(dims[axis], found, path)
    _check_maker(model.graph, found.name, path, kind)
    return Tensor(found.name, found.type.tensor_type.elem_type, dims, axis)


def _listed(infos: list[Any]) -> str:
    return ", ".join(f"{one.name} {_shown(one)}" for one in infos)


def _shown(info: Any) -> str:
    """Type and shape, such as "float32 [batch, 10]"."""
    if not info.type.HasField("tensor_type"):
        return f"({info.type.WhichOneof('value') or 'unknown'})".replace("_type", "")
    helper = require("onnx.helper", "Reading an ONNX model")
    dims = ", ".join("?" if dim is None else str(dim) for dim in dims_of(info))
    try:
        kind = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type).name
    except KeyError:
        kind = "unknown"
    return f"{kind} [{dims}]"


def _check_type(info: Any, path: Path) -> None:
    if not info.type.HasField("tensor_type"):
        raise DataFileError(
            f"The output {info.name} of {path} is no tensor: {_shown(info)}.",
            "Export probabilities as an array: with skl2onnx options={'zipmap': False}.",
        )
    onnx = require("onnx", "Reading an ONNX model")
    kinds = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16")
    if info.type.tensor_type.elem_type not in [getattr(onnx.TensorProto, one) for one in kinds]:
        raise DataFileError(
            f"The output {info.name} of {path} holds {_shown(info)}, no floating-point numbers.",
            "Name the one with the logits or probabilities by --output (output=).",
        )


def _check_classes(classes: int | str | None, info: Any, path: Path) -> None:
    if classes == 1:
        raise DataFileError(
            f"The output {info.name} of {path} has one column: {_shown(info)}.",
            "A single class has no entropy scale (ln 1 = 0). Export two logits, [0, z] for a "
            "sigmoid of z, or two probabilities, [1 - p, p].",
        )
    if not isinstance(classes, int) or classes < 1:
        raise DataFileError(
            f"The number of classes of {info.name} in {path} is not known: {_shown(info)}.",
            "Export the model with a fixed size of that axis, or name it by --class-axis "
            "(class_axis=).",
        )


def _check_maker(graph: Any, name: str, path: Path, kind: str) -> None:
    """Refuses what a node just before says is no distribution, or not of the kind that was said."""
    makers = {made: node for node in graph.node for made in node.output}
    node = makers.get(name)
    while node is not None and node.op_type in _THROUGH:
        node = makers.get(node.input[0])
    if node is None:
        return
    if node.op_type == "Sigmoid":
        raise DataFileError(
            f"{name} of {path} comes from a sigmoid: a probability for each label, which do not "
            "sum to 1.",
            "Export two logits, [0, z] for a sigmoid of z. Several labels at once are not covered.",
        )
    if node.op_type == "Softmax" and kind == "logits":
        raise DataFileError(
            f"{name} of {path} comes from a softmax: it holds probabilities.",
            f"Pass --input probabilities (input=), or --output {node.input[0]} for the logits.",
        )
    if node.op_type == "LogSoftmax" and kind == "probabilities":
        raise DataFileError(
            f"{name} of {path} comes from a log-softmax: it holds logits.",
            "Pass --input logits (input=).",
        )
