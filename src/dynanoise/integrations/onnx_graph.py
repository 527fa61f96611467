"""ONNX graphs: reading, refusing those that draw or mix records, converting, and cutting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dynanoise.core.errors import DataFileError
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

MARK = "dynanoise"
"""Key of the defense's parameters in the metadata of an exported file."""

STANDARD_DOMAINS = ("", "ai.onnx")
"""Names of the domain of ONNX's standard operators."""


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
        raise DataFileError(f"{path} is not an ONNX model.", "Export it again.")
    return model, content


def metadata_of(model: Any) -> dict[str, str]:
    """Metadata of a file."""
    return {entry.key: entry.value for entry in model.metadata_props}


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
    """Refuse a model that draws random numbers, or mixes the records of a request.

    Searched are its graph, branches and bodies, and its functions. ONNX Runtime's generator on the
    processor has 31 bits of state: some thousands of outputs give it away, and with it all of the
    noise. Batch normalization in training mode makes the output for a record depend on the others.

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
            if _normalizes_batches(node, opset):
                raise DataFileError(
                    f"{path} mixes the records of a request: {node.op_type} {node.name!r} is in "
                    "training mode.",
                    "Export the model in evaluation mode, so that an output depends on its own "
                    "record alone.",
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
        return not _flag(node, "is_test")
    if len(node.input) < 3 or not node.input[2]:
        return False
    mode = constants.get(node.input[2])
    helper = require("onnx.numpy_helper", "Reading an ONNX model")
    return mode is None or bool(helper.to_array(mode).any())


def _normalizes_batches(node: Any, opset: int) -> bool:
    """Whether a node is batch normalization in training mode."""
    if node.op_type != "BatchNormalization":
        return False
    if opset < 7:
        return not _flag(node, "is_test")
    return _flag(node, "training_mode") if opset >= 14 else len(node.output) > 1


def _flag(node: Any, name: str) -> bool:
    return any(attribute.name == name and attribute.i for attribute in node.attribute)


def _opset(model: Any) -> int:
    """Version of the standard operators; 0 where a model or function uses none."""
    versions = [
        int(entry.version) for entry in model.opset_import if entry.domain in STANDARD_DOMAINS
    ]
    return versions[0] if versions else 0


def import_standard(model: Any) -> None:
    """Let a model use the standard operators: converted classifiers may name only ai.onnx.ml."""
    if not _opset(model):
        entry = model.opset_import.add()
        entry.domain, entry.version = "", OPSET
        model.ir_version = max(model.ir_version, _IR)


def upgrade(model: Any, path: Path) -> Any:
    """Convert a model to opset 18; one of a later opset stays as it is.

    Returns:
        The model, perhaps another object.

    Raises:
        DataFileError: if onnx cannot convert it.
    """
    import_standard(model)
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


def replace_zipmaps(model: Any) -> None:
    """Put the tensor of all classes in the place of each ZipMap, under the same name.

    Converters of scikit-learn, CatBoost and LightGBM end a classifier with a ZipMap, which makes a
    dictionary of every row.
    """
    helper = require("onnx.helper", "Reading an ONNX model")
    maps = {
        node.output[0]: node
        for node in model.graph.node
        if node.op_type == "ZipMap" and node.domain == "ai.onnx.ml"
    }
    if not maps:
        return
    import_standard(model)
    nodes = list(model.graph.node)
    for index, node in enumerate(nodes):
        if node.op_type == "ZipMap" and node.domain == "ai.onnx.ml":
            nodes[index] = helper.make_node("Identity", list(node.input), list(node.output))
    float32 = require("onnx", "Reading an ONNX model").TensorProto.FLOAT
    outputs = list(model.graph.output)
    for index, info in enumerate(outputs):
        if info.name in maps:
            classes = len(class_labels(maps[info.name])) or None
            outputs[index] = helper.make_tensor_value_info(info.name, float32, [None, classes])
    for values, field in ((nodes, "node"), (outputs, "output")):
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(values)


def class_labels(node: Any) -> tuple[str, ...]:
    """Labels of the classes that a classifier or a ZipMap names, whole numbers as texts; or ()."""
    for attribute in node.attribute:
        if attribute.name == "classlabels_strings" and attribute.strings:
            return tuple(label.decode() for label in attribute.strings)
        if attribute.name in ("classlabels_int64s", "classlabels_ints") and attribute.ints:
            return tuple(map(str, attribute.ints))
    return ()


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


def captured(node: Any) -> set[str]:
    """Every name in the branches and bodies of a node, which see the tensors around it."""
    return set[str]().union(*(names_of(inner) for inner in _subgraphs(node)))


def cut(graph: Any, output: str) -> None:
    """Remove nodes and constants that the tensor ``output`` does not need; inputs stay.

    An input whose default was such a constant goes with it, or clients would have to supply it.
    """
    needed, nodes = {output}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= set(node.input) | captured(node)
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


def dims_of(info: Any) -> tuple[int | str | None, ...]:
    """Sizes and names of a tensor's axes; None where nothing is known."""
    return tuple(
        int(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or None
        for dim in info.type.tensor_type.shape.dim
    )
