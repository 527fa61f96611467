"""ONNX models: reading, randomness, conversion, cutting, and the output to defend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.extras import require

OPSET = 18
"""The first opset whose reductions take their axes as an input, as all later ones do."""

_IR = 8
"""The first version of the file format that may hold that opset."""

_RANDOM = (
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("Bernoulli", "Multinomial", "Sampling"),
    *("BiasDropout", "BitmaskDropout", "BitmaskBiasDropout"),
)
"""Operators of ONNX and of ONNX Runtime that draw random numbers."""

_STANDARD_DOMAINS = ("", "ai.onnx")

_PASSING = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
"""Operators that keep values as they are."""


def read_model(path: Path) -> tuple[Any, bytes]:
    """Read a model without the data in files beside it.

    Returns:
        The ModelProto, and the bytes of its file.

    Raises:
        DataFileError: if it is not an ONNX model.
        MissingExtraError: if onnx is not installed.
    """
    onnx = require("onnx", "Reading an ONNX model")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataFileError(
            f"{path} cannot be read ({error.strerror}).", "Check the path."
        ) from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
        valid = len(model.graph.output) > 0 and len(model.opset_import) > 0
    except Exception:  # protobuf's implementations raise different ones
        valid = False
    if not valid:
        raise DataFileError(f"{path} is no ONNX model.", "Export it again.")
    return model, content


def iterate_nodes(graph: Any) -> Iterator[Any]:
    """Iterate over every node of a graph, and of the graphs inside its nodes."""
    for node in graph.node:
        yield node
        for inner in _subgraphs(node):
            yield from iterate_nodes(inner)


def _subgraphs(node: Any) -> Iterator[Any]:
    """The branches and bodies that a node holds."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def refuse_randomness(model: Any, path: Path) -> None:
    """Refuse a model that draws random numbers in its graph, a branch, a body or a function.

    ONNX Runtime's generator on the processor has 31 bits of state: some thousands of outputs give
    it away, and with it all of the noise.

    Raises:
        DataFileError: naming the operator.
    """
    constants = dict(_constants(model.graph))
    for declared in model.graph.input:
        constants.pop(declared.name, None)  # a client can set it
    places = [(iterate_nodes(model.graph), constants, model)]
    places += [(iterate_nodes(body), dict(_constants(body)), body) for body in model.functions]
    for nodes, values, owner in places:
        opset = _opset(owner)
        for node in nodes:
            if node.op_type in _RANDOM or _drops(node, values, opset):
                raise DataFileError(
                    f"{path} draws randomness of its own: {node.op_type} {node.name!r}.",
                    "Export the model in evaluation mode, without random operators. What a graph "
                    "draws can be predicted.",
                )


def _constants(graph: Any) -> Iterator[tuple[str, Any]]:
    """Names and tensors that never change."""
    yield from ((tensor.name, tensor) for tensor in getattr(graph, "initializer", ()))
    for node in iterate_nodes(graph):
        if node.op_type == "Constant":
            yield from (
                (node.output[0], attribute.t)
                for attribute in node.attribute
                if attribute.name == "value"
            )
        for inner in _subgraphs(node):
            yield from ((tensor.name, tensor) for tensor in inner.initializer)


def _drops(node: Any, constants: dict[str, Any], opset: int) -> bool:
    """Whether a node is dropout that may be in training mode."""
    if node.op_type != "Dropout":
        return False
    if opset < 7:
        return not any(attribute.name == "is_test" and attribute.i for attribute in node.attribute)
    if len(node.input) < 3 or not node.input[2]:
        return False
    mode = constants.get(node.input[2])
    helper = require("onnx.numpy_helper", "Reading an ONNX model")
    return mode is None or bool(helper.to_array(mode).any())


def _opset(model: Any) -> int:
    """Version of the standard operators; 0 where a function uses none."""
    versions = [
        int(entry.version) for entry in model.opset_import if entry.domain in _STANDARD_DOMAINS
    ]
    return versions[0] if versions else 0


def upgrade(model: Any, path: Path) -> Any:
    """Convert a model to opset 18; one of a later opset stays as it is.

    Returns:
        The model, perhaps another object.

    Raises:
        DataFileError: if onnx cannot convert it.
    """
    if _opset(model) < OPSET:
        converter = require("onnx.version_converter", "Converting an ONNX model")
        try:
            if model.functions:
                raise ValueError("it has functions of its own")
            metadata = list(model.metadata_props)
            model = converter.convert_version(model, OPSET)
            del model.metadata_props[:]
            model.metadata_props.extend(metadata)
        except Exception as error:  # the converter's errors have no common base
            raise DataFileError(
                f"{path} has opset {_opset(model)} and cannot be converted to {OPSET} "
                f"({first_line(error)}).",
                f"Export it again with opset {OPSET} or later.",
            ) from error
    model.ir_version = max(model.ir_version, _IR)
    return model


def first_line(error: Exception) -> str:
    """The first line of an error's text, for a sentence."""
    return (str(error).strip().partition("\n")[0][:200] or type(error).__name__).rstrip(".")


def names_of(graph: Any) -> set[str]:
    """Every name in a graph and in the graphs inside it."""
    names = {
        item.name
        for kind in ("input", "output", "initializer", "value_info")
        for item in getattr(graph, kind)
    }
    names |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        names |= {node.name, *node.input, *node.output}
        for inner in _subgraphs(node):
            names |= names_of(inner)
    return names


def cut(graph: Any, output: str) -> None:
    """Remove nodes and constants that the tensor ``output`` does not need; inputs stay.

    An input whose default was such a constant goes with it, or clients would have to supply it.
    """
    needed, nodes = {output}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= set(node.input)
            for inner in _subgraphs(node):
                needed |= names_of(inner)  # a branch sees the tensors around it
            needed.discard("")  # inputs and outputs that are left out
    del graph.node[:]
    graph.node.extend(reversed(nodes))
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {tensor.values.name for tensor in graph.sparse_initializer}
    inputs = [item for item in graph.input if item.name in needed or item.name not in constants]
    graph.ClearField("input")
    graph.input.extend(inputs)
    for kind in ("initializer", "value_info"):
        kept = [item for item in getattr(graph, kind) if item.name in needed]
        graph.ClearField(kind)
        getattr(graph, kind).extend(kept)
    sparse = [tensor for tensor in graph.sparse_initializer if tensor.values.name in needed]
    graph.ClearField("sparse_initializer")
    graph.sparse_initializer.extend(sparse)
    graph.ClearField("quantization_annotation")


def has_external_data(model: Any) -> bool:
    """Whether data of the model are in files beside it."""
    tensors = [*model.graph.initializer]
    for node in iterate_nodes(model.graph):
        tensors += [attribute.t for attribute in node.attribute]
        for inner in _subgraphs(node):
            tensors += inner.initializer
    return any(tensor.data_location == 1 for tensor in tensors)  # TensorProto.EXTERNAL


@dataclass(frozen=True)
class Tensor:
    """A tensor with the logits or probabilities of K classes.

    Attributes:
        name: in the graph.
        kind: element type, a number of onnx.TensorProto.
        dims: size or name of each axis; None where nothing is known.
        axis: axis of the classes, from 0.
    """

    name: str
    kind: int
    dims: tuple[int | str | None, ...]
    axis: int

    @property
    def classes(self) -> int:
        """Number of classes K."""
        size = self.dims[self.axis]
        assert isinstance(size, int)
        return size


def dims_of(info: Any) -> tuple[int | str | None, ...]:
    """Sizes and names of a tensor's axes; None where nothing is known."""
    return tuple(
        int(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or None
        for dim in info.type.tensor_type.shape.dim
    )


def find_output(model: Any, path: Path, output: str | None, class_axis: int, kind: str) -> Tensor:
    """Find the tensor to defend, and check it.

    Args:
        model: a ModelProto.
        path: its file, for messages.
        output: name of an output, or of a tensor inside; None for the only output.
        class_axis: axis of its classes.
        kind: "logits" or "probabilities", as declared by the user.

    Raises:
        DataFileError: if it is not a tensor of floating-point numbers, its number of classes is
            unknown or 1, or the node that makes it contradicts the declared kind.
        InputError: if there is none of that name, several to choose from, or no such axis.
    """
    onnx = require("onnx", "Reading an ONNX model")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=False, data_prop=True)
    except Exception:  # the checker reports what is wrong with it
        inferred = model
    info = _choose(inferred.graph, output, path)
    _check_type(info, path)
    dims = dims_of(info)
    if not info.type.tensor_type.HasField("shape") or not -len(dims) <= class_axis < len(dims):
        raise InputError(
            f"class_axis is {class_axis}, and {_list([info])}.", "Name an axis that it has."
        )
    axis = class_axis % len(dims)
    _check_classes(dims[axis], info, path)
    check_producer(model.graph, info.name, path, kind)
    return Tensor(info.name, info.type.tensor_type.elem_type, dims, axis)


def _choose(graph: Any, output: str | None, path: Path) -> Any:
    outputs = list(graph.output)
    if output is None:
        if len(outputs) != 1:
            raise InputError(
                f"{path} has {len(outputs)} outputs: {_list(outputs)}.",
                "Name the one with the logits or probabilities by --output (output=).",
            )
        return outputs[0]
    for info in (*outputs, *graph.value_info, *graph.input):
        if info.name == output:
            return info
    raise InputError(f"{path} has no output {output!r}.", f"Its outputs: {_list(outputs)}.")


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


def _check_type(info: Any, path: Path) -> None:
    if not info.type.HasField("tensor_type"):
        raise DataFileError(
            f"The output {info.name} of {path} is no tensor: {_type_and_shape(info)}.",
            "Export probabilities as an array: with skl2onnx options={'zipmap': False}.",
        )
    onnx = require("onnx", "Reading an ONNX model")
    kinds = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16")
    if info.type.tensor_type.elem_type not in [getattr(onnx.TensorProto, kind) for kind in kinds]:
        raise DataFileError(
            f"The output {info.name} of {path} holds {_type_and_shape(info)}, no floating-point "
            "numbers.",
            "Name the one with the logits or probabilities by --output (output=).",
        )


def _check_classes(classes: int | str | None, info: Any, path: Path) -> None:
    if classes == 1:
        raise DataFileError(
            f"The output {info.name} of {path} has one column: {_type_and_shape(info)}.",
            "A single class has no entropy scale (ln 1 = 0). Export two logits, [0, z] for a "
            "sigmoid of z, or two probabilities, [1 - p, p].",
        )
    if not isinstance(classes, int) or classes < 1:
        raise DataFileError(
            f"The number of classes of {info.name} in {path} is not known: "
            f"{_type_and_shape(info)}.",
            "Export the model with a fixed size of that axis, or name it by --class-axis "
            "(class_axis=).",
        )


def check_producer(graph: Any, name: str, path: Path, kind: str) -> None:
    """Refuse an output that the node before it shows to be of another kind than declared.

    Args:
        graph: graph of the model.
        name: name of the output.
        path: file of the model, for messages.
        kind: "logits" or "probabilities", as declared by the user.

    Raises:
        DataFileError: naming the operator and the remedy.
    """
    producers = {output: node for node in graph.node for output in node.output}
    node = producers.get(name)
    while node is not None and node.op_type in _PASSING:
        node = producers.get(node.input[0])
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
            f"Declare input probabilities, or --output {node.input[0]} for the logits.",
        )
    if node.op_type == "LogSoftmax" and kind == "probabilities":
        raise DataFileError(
            f"{name} of {path} comes from a log-softmax: it holds logits.",
            "Declare input logits.",
        )
