"""Export of ONNX models with DynaNoise in the graph; the server supplies the random numbers."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dynanoise.core.defense import Defense
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.extras import require
from dynanoise.core.files import write_atomically, writing
from dynanoise.defenses import response
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.integrations import onnx_formulas, onnx_graph, onnx_model
from dynanoise.integrations.onnx_model import Graph
from dynanoise.integrations.onnx_output import Tensor

NOISE, OUTPUT = "noise", "probabilities"
"""Names of the new input and of the only output, unless the graph has such names."""


@dataclass(frozen=True)
class Exported:
    """Inputs and outputs of an exported graph.

    Attributes:
        noise: name of the input for standard normals; None where the setting needs none.
        noise_shape: [samples, ..., classes]; sizes, or names of axes of the model's inputs.
        output: name of the only output, the defended probabilities, float32.
        dropped: names of the model's other outputs.
        setting: the defense in the graph.
    """

    noise: str | None
    noise_shape: tuple[int | str, ...]
    output: str
    dropped: tuple[str, ...]
    setting: DynaNoise


def export(
    source: str | Path,
    target: str | Path,
    defense: Defense,
    *,
    output: str | None = None,
    class_axis: int = -1,
    input: str = "logits",  # noqa: A002
) -> Exported:
    """Export a model whose only output is defended probabilities.

    The graph holds the deterministic part of `DynaNoise` (entropy, R, sigma, tempered softmax, mean
    over samples, ``keep_label``) in float32. The standard normals are an input, float32
    [samples, ..., classes] with the classes last, which the server must draw anew for every query,
    as `DefendedSession` does; a client that supplied them would learn the logits. No operator of
    the graph draws random numbers, and a model that does is refused. All other outputs are dropped,
    with the nodes that only they need. The same model and defense give the same bytes.

    Given the same normals, the probabilities are the library's to 1e-6 for T >= 1 and ordinary
    settings (rounding of float32, which a smaller T magnifies). Logits that are not finite are
    refused by the library and by `DefendedSession`; the graph alone would return NaN.

    Only fresh noise: `Keyed` noise needs the secret, which is never in a graph. For it, serve the
    model as it is by `DefendedSession(model, noise, defense=...)`.

    Threat model: that of fresh noise, for an attacker who sees outputs only. The file contains the
    undefended model.

    Args:
        source: the model. Below opset 18 it is converted. Data in files beside it, as those above
            2 GB have, stay where they are, so the target must lie in the same folder.
        target: the file to write; replaced if it exists.
        defense: `DynaNoise` or `Temperature`.
        output: name of the model's output with the logits, or of a tensor inside; None to choose,
            see `onnx_output.find_output`.
        class_axis: axis of its classes.
        input: kind of that output, "logits" or "probabilities".

    Returns:
        Names and shapes of the exported graph.

    Raises:
        DataFileError: if the model cannot be read, draws randomness or mixes records, its output is
            of another kind than declared, or the result fails ONNX's checker.
        InputError: for an argument of the wrong type, a defense that a graph cannot compute, or an
            output that is missing or has to be chosen.
        MissingExtraError: if onnx or onnxruntime is not installed.
    """
    source, target = Path(source), Path(target)
    kind, axis = response.check_kind(input), response.check_axis(class_axis)
    setting = onnx_formulas.setting_of(response.check_defense(defense))
    graph = onnx_model.read_graph(source, output=output, class_axis=axis, kind=kind)
    if graph.output.classes is None:
        raise DataFileError(
            f"The number of classes of {graph.output.name} in {source} is not known.",
            "Export the model with a fixed size of that axis, or name another by --class-axis "
            "(class_axis=).",
        )
    if target.exists() and target.samefile(source):
        raise InputError(f"{target} is the model itself.", "Name another file.")
    if graph.external and target.parent.resolve() != source.parent.resolve():
        raise InputError(
            f"{source} has its weights in files beside it, which an ONNX file names relative to "
            "its own folder.",
            f"Write the new file into {source.parent}, too; the weights are shared.",
        )
    batch = _check_values(graph)
    model = onnx_graph.upgrade(graph.proto, source)
    exported = _add_defense(model, graph, setting, kind, batch)
    _write(model, source, target)
    return exported


def _check_values(source: Graph) -> int | None:
    """Check the kind by the values for random records; return the size of a fixed batch."""
    try:
        session = onnx_model.open_session(source.proto, source.path)
    except DataFileError:  # another runtime may have its operators, and the checker has a look
        return None
    return onnx_model.check_on_random(source, session).batch


def _add_defense(
    model: Any, source: Graph, setting: DynaNoise, kind: str, batch: int | None
) -> Exported:
    """Put the defense behind the only output of the model, in place."""
    onnx = require("onnx", "Writing an ONNX graph")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph, tensor, path = model.graph, source.output, source.path
    assert tensor.classes is not None
    build = onnx_formulas.Builder(onnx_graph.names_of(graph))
    del graph.output[:]
    order = [axis for axis in range(len(tensor.dims)) if axis != tensor.axis] + [tensor.axis]
    noisy = setting.base_variance > 0
    shape = (setting.samples, *_noise_dims(graph, tensor, order, path)) if noisy else ()
    noise = build.name(NOISE) if noisy else None
    result = build.name(OUTPUT)

    rows, clean = _rows(build, onnx, tensor, order)
    if kind == "probabilities":
        rows = onnx_formulas.logits_of(build, rows)
    probs = onnx_formulas.add_defense(
        build, (rows, clean), noise, setting, classes=tensor.classes, axis=len(order) - 1
    )
    back = [order.index(axis) for axis in range(len(order))]
    last = {"perm": back} if order != sorted(order) else None
    build.node("Transpose" if last else "Identity", probs, output=result, **(last or {}))

    graph.node.extend(build.nodes)
    graph.initializer.extend(build.constants)
    if noise is not None:
        graph.input.append(helper.make_tensor_value_info(noise, float32, shape))
    dims = [_dim(dim, shape) for dim in tensor.dims]
    graph.output.append(helper.make_tensor_value_info(result, float32, dims))
    exported = Exported(noise, shape, result, source.dropped, setting)
    _write_metadata(model, exported, batch)
    return exported


def _rows(
    build: onnx_formulas.Builder, onnx: Any, tensor: Tensor, order: list[int]
) -> tuple[str, str]:
    """The tensor in float32, classes last; and one with exactly its order of the classes."""
    rows, kinds = tensor.name, onnx.TensorProto
    if order != sorted(order):
        rows = build.node("Transpose", rows, perm=order)
    clean = rows
    if tensor.kind == kinds.DOUBLE:
        largest = onnx_formulas.LARGEST
        rows = build.node("Clip", rows, build.double(-largest), build.double(largest))
    if tensor.kind != kinds.FLOAT:
        rows = build.node("Cast", rows, to=kinds.FLOAT)
    return rows, clean if tensor.kind == kinds.DOUBLE else rows


def _noise_dims(graph: Any, tensor: Tensor, order: list[int], path: Path) -> list[int | str]:
    """Shape of one draw; an axis of variable size has its name in an input of the model."""
    constants = {initializer.name for initializer in graph.initializer}
    inputs = [info for info in graph.input if info.name not in constants]
    names = {dim for info in inputs for dim in onnx_graph.dims_of(info) if isinstance(dim, str)}
    dims: list[int | str] = []
    for axis in order:
        dim = tensor.dims[axis]
        if axis == 0 and not isinstance(dim, int) and dim not in names:
            dim = _batch_dim(inputs, names)
        if not isinstance(dim, int) and dim not in names:
            raise DataFileError(
                f"The size of axis {axis} of {tensor.name} in {path} follows from no input's.",
                "Export the model with a fixed size of that axis.",
            )
        dims.append(dim)
    return dims


def _batch_dim(inputs: list[Any], names: set[str]) -> int | str | None:
    """Size of the first input's first axis; the axis gets a name if it has none."""
    dims = onnx_graph.dims_of(inputs[0]) if inputs else ()
    if not dims:
        return None
    if dims[0] is None:
        name = "batch" if "batch" not in names else "dynanoise_batch"
        inputs[0].type.tensor_type.shape.dim[0].dim_param = name
        names.add(name)
        return name
    return dims[0]


def _dim(dim: int | str | None, shape: tuple[int | str, ...]) -> int | str | None:
    return dim if dim is not None else (shape[1] if shape else None)


def _write_metadata(model: Any, exported: Exported, batch: int | None) -> None:
    """Write the parameters into the file's metadata; all of them are public."""
    setting = {item.name: getattr(exported.setting, item.name) for item in fields(DynaNoise)}
    metadata = {
        "version": version("dynanoise"),
        "defense": {"name": "dynanoise", **setting},
        "noise": exported.noise,
        "output": exported.output,
        "batch": batch,
    }
    entry = model.metadata_props.add()
    entry.key, entry.value = onnx_graph.MARK, json.dumps(metadata, sort_keys=True)


def _write(model: Any, source: Path, target: Path) -> None:
    """Write a model that ONNX's checker accepts, whole or not at all."""
    onnx = require("onnx", "Writing an ONNX graph")
    content = model.SerializeToString(deterministic=True)
    with writing(target):
        # Beside the target, where the checker finds data that lie there.
        handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".onnx")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            onnx.checker.check_model(temporary, full_check=True)
        except OSError:
            raise
        except Exception as error:  # the checker's and the shape inference's have no common base
            raise DataFileError(
                f"With the defense {source} does not pass ONNX's checker "
                f"({onnx_graph.first_line(error)}).",
                f"Export it again with opset {onnx_graph.OPSET} or later.",
            ) from error
        finally:
            Path(temporary).unlink()
        write_atomically(target, content)
