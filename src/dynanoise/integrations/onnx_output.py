"""The output of an ONNX classifier: which one it is, and whether it holds logits or probabilities.

Everything that takes a model calls these: an audit, the gateway, an export and a session.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.arrays.predictions import EXACT, SUMS_TO_ONE, are_independent, is_distribution
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.extras import require
from dynanoise.integrations.onnx_graph import STANDARD_DOMAINS, class_labels, dims_of

LOGITS, PROBABILITIES, SIGMOIDS = "logits", "probabilities", "sigmoids"
"""Kinds of output; the last, a probability of each of several labels, cannot be defended."""

_WORDS = {
    **dict.fromkeys(("logit", "logits"), LOGITS),
    **dict.fromkeys(("prob", "probs", "proba", "probability", "probabilities"), PROBABILITIES),
    **dict.fromkeys(("score", "scores", "softmax"), ""),
}
"""Words in the names of outputs of classifiers, and the kinds they promise."""

_PASSING = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
"""Operators that keep values as they are."""

_CLASSIFIERS = ("TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier")
"""Operators of ai.onnx.ml whose second output has a column for each class."""

_CHOOSE = (
    "Name the one with the logits or probabilities: --output NAME (output= in Python, output: "
    "NAME in defense.yaml)."
)


@dataclass(frozen=True)
class Tensor:
    """A tensor with the logits or probabilities of K classes.

    Attributes:
        name: in the graph.
        kind: element type, a number of onnx.TensorProto.
        dims: size or name of each axis; None where nothing is known, () if not even their number.
        axis: axis of the classes, from 0; -1 where the number of axes is unknown.
    """

    name: str
    kind: int
    dims: tuple[int | str | None, ...]
    axis: int

    @property
    def classes(self) -> int | None:
        """Number of classes K; None where it is unknown."""
        size = self.dims[self.axis] if self.dims else None
        return size if isinstance(size, int) else None


def find_output(
    model: Any, path: Path, output: str | None, class_axis: int, kind: str | None
) -> Tensor:
    """Find the output with the logits or probabilities, and check it.

    Args:
        model: a ModelProto without ZipMaps.
        path: its file, for messages.
        output: name of an output, or of a tensor inside; None to choose by type and shape and,
            among several, by names and by the operators that make them.
        class_axis: axis of its classes.
        kind: "logits" or "probabilities", as declared by the user; None to take either.

    Returns:
        The tensor, one of the graph's outputs.

    Raises:
        DataFileError: if it is not a tensor of floating-point numbers, it has one class, or the
            node that makes it shows another kind than declared.
        InputError: if there is none of that name, several to choose from, or no such axis.
    """
    graph = _infer(model).graph
    info = _choose(graph, output, path, class_axis, kind)
    _check_type(info, path)
    if info.name not in {declared.name for declared in model.graph.output}:
        model.graph.output.append(info)
    tensor = _tensor(info, class_axis)
    if tensor.dims:
        _check_axis(tensor, info, graph, path, class_axis)
    node = producer(graph, info.name)
    actual = _kind_of(node, graph)
    if actual == SIGMOIDS or (kind is not None and actual not in (None, kind)):
        logits = node.input[0] if node.op_type == "Softmax" else None
        evidence = f"it comes from {node.op_type}"
        raise _contradiction(info.name, path, kind, actual, evidence, logits)
    if tensor.classes is None and node is not None and tensor.dims and class_labels(node):
        dims = list(tensor.dims)
        dims[tensor.axis] = len(class_labels(node))
        tensor = Tensor(tensor.name, tensor.kind, tuple(dims), tensor.axis)
    return tensor


def kind_of(model: Any, name: str) -> str | None:
    """Kind of an output by the operator that makes it; None where it does not tell."""
    return _kind_of(producer(model.graph, name), model.graph)


def is_input(model: Any, name: str) -> bool:
    """Whether an output holds the values of an input."""
    return _origin(name, model.graph) in {info.name for info in model.graph.input}


def check_values(values: npt.NDArray[Any], tensor: Tensor, path: Path, kind: str | None) -> None:
    """Refuse an output whose values are of another kind than declared, or independent sigmoids.

    Args:
        values: finite outputs for some records.
        tensor: the output.
        path: file of the model, for messages.
        kind: "logits" or "probabilities", as declared by the user; None to take either.

    Raises:
        DataFileError: naming the kind and the remedy.
    """
    if not -values.ndim <= tensor.axis < values.ndim:
        return
    if values.shape[tensor.axis] == 1:
        raise _one_column(tensor.name, path, f"{values.dtype} {list(values.shape)}")
    tolerance = SUMS_TO_ONE if kind == PROBABILITIES else EXACT
    actual = LOGITS
    if is_distribution(values, tensor.axis, tolerance):
        actual = PROBABILITIES
    elif are_independent(np.moveaxis(values, tensor.axis, -1)):
        actual = SIGMOIDS
    if actual == SIGMOIDS or (kind is not None and actual != kind):
        evidence = {
            SIGMOIDS: "its values lie between 0 and 1 and do not sum to 1",
            PROBABILITIES: "its values lie between 0 and 1 and sum to 1",
            LOGITS: "its values are not from 0 to 1 with a sum of 1",
        }
        raise _contradiction(tensor.name, path, kind, actual, evidence[actual])


def _contradiction(
    name: str, path: Path, kind: str | None, actual: str, evidence: str, logits: str | None = None
) -> DataFileError:
    if actual == SIGMOIDS:
        return DataFileError(
            f"{name} of {path} holds independent sigmoids, one for each class: {evidence}.",
            "Export logits or probabilities of classes that exclude each other; for one "
            "yes-or-no label [0, z] or [1 - p, p]. Several labels at once are not covered.",
        )
    remedy = f"Declare it: --input {actual} (input= in Python, input: {actual} in defense.yaml)"
    remedy += f", or name the logits: --output {logits}." if logits else "."
    return DataFileError(
        f"{name} of {path} is declared as {kind} and holds {actual}: {evidence}.", remedy
    )


def _infer(model: Any) -> Any:
    """The model with the shapes of the tensors inside, as far as onnx knows them."""
    onnx = require("onnx", "Reading an ONNX model")
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=False, data_prop=True)
    except Exception:  # the checker reports what is wrong with it
        return model


def _tensor(info: Any, class_axis: int) -> Tensor:
    dims = dims_of(info)
    axis = class_axis % len(dims) if dims and -len(dims) <= class_axis < len(dims) else class_axis
    return Tensor(info.name, info.type.tensor_type.elem_type, dims, axis)


# --- choice of the output ------------------------------------------------------------------------


def _choose(graph: Any, output: str | None, path: Path, class_axis: int, kind: str | None) -> Any:
    outputs = list(graph.output)
    if output is not None:
        for info in (*outputs, *graph.value_info, *graph.input):
            if info.name == output:
                return info
        raise InputError(f"{path} has no output {output!r}.", f"Its outputs: {_list(outputs)}.")
    if len(outputs) == 1:
        return outputs[0]
    usable = _distinct([info for info in outputs if _is_usable(info, class_axis)], graph)
    if not usable:  # perhaps a single column, which has a remedy of its own
        usable = [info for info in outputs if _holds_floats(info)] or outputs
    candidates = usable if len(usable) == 1 else _recognized(usable, graph, kind)
    if len(candidates) != 1:
        raise InputError(
            f"{path} has {len(usable)} outputs to choose from: {_list(usable)}.", _CHOOSE
        )
    return candidates[0]


def _distinct(infos: Sequence[Any], graph: Any) -> list[Any]:
    """The outputs without those that hold the values of an earlier one."""
    makers = _makers(graph)
    first: dict[str, Any] = {}
    for info in infos:
        name = info.name
        while (maker := makers.get(name)) is not None and maker.op_type in ("Identity", "Cast"):
            name = maker.input[0]
        first.setdefault(name, info)
    return list(first.values())


def _is_usable(info: Any, class_axis: int) -> bool:
    """Whether an output may have a number for each of several classes."""
    if not _holds_floats(info):
        return False
    dims = dims_of(info)
    if not dims:
        return not info.type.tensor_type.HasField("shape")
    if not -len(dims) <= class_axis < len(dims) or dims[class_axis] == 1:
        return False
    return isinstance(dims[class_axis], int) or class_axis % len(dims) != 0


def _recognized(infos: Sequence[Any], graph: Any, kind: str | None) -> list[Any]:
    """Outputs whose name or operator is a classifier's: those of the declared kind, if any are."""
    hints = {info.name: _hint(info.name, graph) for info in infos}
    candidates = [info for info in infos if hints[info.name] is not None]
    other = {LOGITS: PROBABILITIES, PROBABILITIES: LOGITS}.get(kind or "")
    candidates = [info for info in candidates if hints[info.name] != other] or candidates
    # Of logits and their softmax the logits.
    origins = {_origin(info.name, graph) for info in candidates}
    return [info for info in candidates if _softmax_of(info.name, graph) not in origins]


def _hint(name: str, graph: Any) -> str | None:
    """Kind of an output by its operator, else by its name; "" if unknown, None if no classifier."""
    node = producer(graph, name)
    kind = _kind_of(node, graph)
    if kind is not None:
        return kind
    words = re.findall("[a-z]+", name.lower())
    kinds = [_WORDS[word] for word in words if word in _WORDS]
    if kinds:
        return kinds[0]
    return "" if node is not None and node.op_type in _CLASSIFIERS else None


def _softmax_of(name: str, graph: Any) -> str | None:
    """Name of the tensor that a tensor is the softmax of, before operators that keep values."""
    node = producer(graph, name)
    softmax = node is not None and node.op_type in ("Softmax", "LogSoftmax")
    return _origin(node.input[0], graph) if softmax else None


def _origin(name: str, graph: Any) -> str:
    """Name of a tensor before operators that keep values."""
    makers = _makers(graph)
    while (maker := makers.get(name)) is not None and maker.op_type in _PASSING:
        name = maker.input[0]
    return name


def _makers(graph: Any) -> dict[str, Any]:
    """Nodes by the names of their outputs."""
    return {output: node for node in graph.node for output in node.output}


def _list(infos: Sequence[Any]) -> str:
    return ", ".join(f"{info.name} {_type_and_shape(info)}" for info in infos)


def _type_and_shape(info: Any) -> str:
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


# --- checks --------------------------------------------------------------------------------------


def _holds_floats(info: Any) -> bool:
    kinds = require("onnx", "Reading an ONNX model").TensorProto
    floats = (kinds.FLOAT, kinds.DOUBLE, kinds.FLOAT16, kinds.BFLOAT16)
    return info.type.HasField("tensor_type") and info.type.tensor_type.elem_type in floats


def _check_type(info: Any, path: Path) -> None:
    if not info.type.HasField("tensor_type"):
        raise DataFileError(
            f"The output {info.name} of {path} is not a tensor: {_type_and_shape(info)}.",
            "Export logits or probabilities as an array.",
        )
    if not _holds_floats(info):
        raise DataFileError(
            f"The output {info.name} of {path} holds {_type_and_shape(info)}, no floating-point "
            "numbers.",
            _CHOOSE,
        )


def _check_axis(tensor: Tensor, info: Any, graph: Any, path: Path, class_axis: int) -> None:
    dims = tensor.dims
    if not -len(dims) <= class_axis < len(dims):
        raise InputError(
            f"class_axis is {class_axis}, and {_list([info])}.", "Name an axis that it has."
        )
    if dims[tensor.axis] == 1:
        raise _one_column(info.name, path, _type_and_shape(info))
    counted = {dims_of(declared)[0] for declared in graph.input if dims_of(declared)}
    if (
        tensor.axis == 0
        and not isinstance(dims[0], int)
        and not all(isinstance(size, int) for size in counted)
    ):
        raise InputError(
            f"class_axis is {class_axis}, and {_list([info])}, whose first axis counts records.",
            "Name the axis that counts its classes; -1 is the last.",
        )


def _one_column(name: str, path: Path, shape: str) -> DataFileError:
    return DataFileError(
        f"The output {name} of {path} has one column: {shape}.",
        "A single class has no entropy scale (ln 1 = 0). Export two logits, [0, z] for a sigmoid "
        "of z, or two probabilities, [1 - p, p].",
    )


# --- kinds ---------------------------------------------------------------------------------------


def producer(graph: Any, name: str) -> Any:
    """The node that makes the values of a tensor, before operators that keep them; or None."""
    return _makers(graph).get(_origin(name, graph))


def _kind_of(node: Any, graph: Any) -> str | None:
    """Kind of the output of a node; None where the operator does not tell."""
    if node is None:
        return None
    if node.domain in STANDARD_DOMAINS:
        return {
            "Sigmoid": SIGMOIDS,
            "HardSigmoid": SIGMOIDS,
            "Softmax": PROBABILITIES,
            "LogSoftmax": LOGITS,
        }.get(node.op_type)
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "Normalizer" and "norm" in attributes and attributes["norm"].s == b"L1":
        positive = _kind_of(producer(graph, node.input[0]), graph)
        return PROBABILITIES if positive in (PROBABILITIES, SIGMOIDS) else None
    return _kind_of_classifier(node, attributes) if node.op_type in _CLASSIFIERS else None


def _kind_of_classifier(node: Any, attributes: dict[str, Any]) -> str | None:
    transform = attributes["post_transform"].s if "post_transform" in attributes else b"NONE"
    if transform in (b"SOFTMAX", b"SOFTMAX_ZERO"):
        return PROBABILITIES
    if transform == b"LOGISTIC" and len(class_labels(node)) > 2:  # of two they may be [1 - p, p]
        return SIGMOIDS
    fitted = "prob_a" in attributes and len(attributes["prob_a"].floats) > 0
    return PROBABILITIES if node.op_type == "SVMClassifier" and fitted else None
