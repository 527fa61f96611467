"""ONNX models as others wrote them: read, searched for randomness, brought to one opset, cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynanoise.core.errors import DataFileError
from dynanoise.core.extras import require

OPSET = 18
"""The first whose reductions take their axes as an input, as all later ones do."""

_IR = 8
"""The first version of the file format that may hold that opset."""

_RANDOM = (
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("Bernoulli", "Multinomial", "Sampling"),
    *("BiasDropout", "BitmaskDropout", "BitmaskBiasDropout"),
)
"""Operators that draw, of ONNX and of ONNX Runtime."""


def read(path: Path) -> tuple[Any, bytes]:
    """A model without the data that lie beside it, and the bytes of its file.

    Raises:
        DataFileError: if it is no ONNX model.
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
        good = len(model.graph.output) > 0 and len(model.opset_import) > 0
    except Exception:  # protobuf's implementations raise different ones
        good = False
    if not good:
        raise DataFileError(f"{path} is no ONNX model.", "Export it again.")
    return model, content


def nodes_of(graph: Any) -> Iterator[Any]:
    """Every node of a graph, and of the graphs inside its nodes."""
    for node in graph.node:
        yield node
        for inner in graphs_in(node):
            yield from nodes_of(inner)


def graphs_in(node: Any) -> Iterator[Any]:
    """The branches and bodies that a node holds."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def refuse_randomness(model: Any, path: Path) -> None:
    """Raises if the graph, a branch, a body or a function draws random numbers.

    ONNX Runtime's generator on the processor has 31 bits of state: who sees some thousands of
    answers knows it, and with it all of the noise.

    Raises:
        DataFileError: naming the operator.
    """
    fixed = dict(_constants(model.graph))
    for listed in model.graph.input:
        fixed.pop(listed.name, None)  # whoever asks can set it
    places = [(nodes_of(model.graph), fixed, model)]
    places += [(nodes_of(one), dict(_constants(one)), one) for one in model.functions]
    for nodes, known, owner in places:
        opset = opset_of(owner)
        for node in nodes:
            if node.op_type in _RANDOM or _drops(node, known, opset):
                raise DataFileError(
                    f"{path} draws randomness of its own: {node.op_type} {node.name!r}.",
                    "Export the model in evaluation mode, without random operators. What a graph "
                    "draws can be predicted.",
                )


def _constants(graph: Any) -> Iterator[tuple[str, Any]]:
    """Names and tensors that never change."""
    yield from ((one.name, one) for one in getattr(graph, "initializer", ()))
    for node in nodes_of(graph):
        if node.op_type == "Constant":
            yield from ((node.output[0], one.t) for one in node.attribute if one.name == "value")
        for inner in graphs_in(node):
            yield from ((one.name, one) for one in inner.initializer)


def _drops(node: Any, known: dict[str, Any], opset: int) -> bool:
    """Whether a node is dropout that may be in training mode."""
    if node.op_type != "Dropout":
        return False
    if opset < 7:
        return not any(one.name == "is_test" and one.i for one in node.attribute)
    if len(node.input) < 3 or not node.input[2]:
        return False
    mode = known.get(node.input[2])
    helper = require("onnx.numpy_helper", "Reading an ONNX model")
    return mode is None or bool(helper.to_array(mode).any())


def opset_of(model: Any) -> int:
    """The version of the standard operators; 0 where a function uses none."""
    found = [int(one.version) for one in model.opset_import if one.domain in ("", "ai.onnx")]
    return found[0] if found else 0


def upgraded(model: Any, path: Path) -> Any:
    """The same model at opset 18 or later.

    Raises:
        DataFileError: if onnx cannot convert it.
    """
    if opset_of(model) < OPSET:
        converter = require("onnx.version_converter", "Converting an ONNX model")
        try:
            if model.functions:
                raise ValueError("it has functions of its own")
            kept = list(model.metadata_props)
            model = converter.convert_version(model, OPSET)
            del model.metadata_props[:]
            model.metadata_props.extend(kept)
        except Exception as error:  # the converter's errors have no common base
            raise DataFileError(
                f"{path} has opset {opset_of(model)} and cannot be converted to {OPSET} "
                f"({first_line(error)}).",
                f"Export it again with opset {OPSET} or later.",
            ) from error
    model.ir_version = max(model.ir_version, _IR)
    return model


def first_line(error: Exception) -> str:
    """What an error says first, for a sentence."""
    return (str(error).strip().partition("\n")[0][:200] or type(error).__name__).rstrip(".")


def names_of(graph: Any) -> set[str]:
    """Every name in a graph and in the graphs inside it."""
    found = {
        one.name
        for kind in ("input", "output", "initializer", "value_info")
        for one in getattr(graph, kind)
    }
    found |= {one.values.name for one in graph.sparse_initializer}
    for node in graph.node:
        found |= {node.name, *node.input, *node.output}
        for inner in graphs_in(node):
            found |= names_of(inner)
    return found


def cut(graph: Any, wanted: str) -> None:
    """Removes nodes and constants that the tensor ``wanted`` does not need; inputs stay.

    An input whose value was such a constant goes with it, or askers would have to supply it.
    """
    needed, kept = {wanted}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
            for inner in graphs_in(node):
                needed |= names_of(inner)  # a branch sees the tensors around it
            needed.discard("")  # inputs and outputs that are left out
    del graph.node[:]
    graph.node.extend(reversed(kept))
    fixed = {one.name for one in graph.initializer}
    fixed |= {one.values.name for one in graph.sparse_initializer}
    asked = [one for one in graph.input if one.name in needed or one.name not in fixed]
    graph.ClearField("input")
    graph.input.extend(asked)
    for kind in ("initializer", "value_info"):
        held = [one for one in getattr(graph, kind) if one.name in needed]
        graph.ClearField(kind)
        getattr(graph, kind).extend(held)
    held = [one for one in graph.sparse_initializer if one.values.name in needed]
    graph.ClearField("sparse_initializer")
    graph.sparse_initializer.extend(held)
    graph.ClearField("quantization_annotation")


@dataclass(frozen=True)
class Tensor:
    """A tensor whose values are one distribution over classes, or the logits of one.

    Attributes:
        name: in the graph.
        kind: its element type, of onnx.TensorProto.
        dims: of each axis, a size, a name, or None where nothing is known.
        axis: of the classes, from 0.
    """

    name: str
    kind: int
    dims: tuple[int | str | None, ...]
    axis: int

    @property
    def classes(self) -> int:
        """K."""
        found = self.dims[self.axis]
        assert isinstance(found, int)
        return found


def dims_of(info: Any) -> tuple[int | str | None, ...]:
    """The sizes and names of a tensor's axes."""
    return tuple(
        int(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or None
        for dim in info.type.tensor_type.shape.dim
    )


def external(model: Any) -> bool:
    """Whether data of the model lie in files beside it."""
    tensors = [*model.graph.initializer]
    tensors += [one.t for node in nodes_of(model.graph) for one in node.attribute]
    for node in nodes_of(model.graph):
        for inner in graphs_in(node):
            tensors += inner.initializer
    return any(one.data_location == 1 for one in tensors)  # TensorProto.EXTERNAL
