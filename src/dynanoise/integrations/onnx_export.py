"""ONNX graphs with DynaNoise in them: all but the random numbers, which the server supplies."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dynanoise.config import checks
from dynanoise.core.defense import Defense
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.extras import require
from dynanoise.core.files import write_atomically
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.integrations import onnx_formulas, onnx_graph, onnx_output
from dynanoise.integrations.onnx_graph import Tensor

NOISE, OUTPUT = "noise", "probabilities"
"""What the new input and the only output are called, unless the graph has such names."""

MARK = "dynanoise"
"""The key of a file's metadata under which its parameters are."""


@dataclass(frozen=True)
class Exported:
    """What an exported graph takes and gives.

    Attributes:
        noise: the name of the input for standard normals; None where the setting needs none.
        noise_shape: [samples, ..., classes]; sizes, or names that inputs of the model have, too.
        output: the name of the only output, the defended probabilities, float32.
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
    """Writes a model whose only output is defended probabilities.

    The graph holds the deterministic part of `DynaNoise` (entropy, R, sigma, tempered softmax, mean
    over samples, ``keep_label``) in float32. The standard normals are an input, float32
    [samples, ..., classes] with the classes last, which the server draws anew for every answer:
    `DefendedSession` does. Never the client: who chooses the noise has the logits. No operator of
    the graph draws anything, and a model that draws is refused. All other outputs are dropped, with
    the nodes that only they need. The same model and defense give the same bytes.

    Given the same normals, its answers are the library's to 1e-6 for T >= 1 and ordinary settings
    (rounding of float32, which a smaller T magnifies). Logits that are not finite are refused by
    the library and by `DefendedSession`; the graph alone would answer NaN.

    Only fresh noise: `Keyed` noise needs the secret, which is never in a graph. For it, serve the
    model as it is by `DefendedSession(model, noise, defense=...)`.

    Threat model: that of fresh noise, for who sees answers only. Who has the file has the model,
    undefended.

    Args:
        source: the model. Below opset 18 it is converted. Data in files beside it, as those above
            2 GB have, stay where they are, so the target must lie in the same folder.
        target: the file to write; replaced if it is there.
        defense: `DynaNoise` or `Temperature`.
        output: the model's output with the logits, or a tensor inside; None for the only output.
        class_axis: which of its axes counts the classes.
        input: "logits", or "probabilities", whose logarithm is taken.

    Raises:
        DataFileError: if the model cannot be read, draws randomness, has no such output, or the
            result fails ONNX's checker.
        InputError: for a wrong argument or a defense that cannot be written so.
        MissingExtraError: if onnx is not installed.
    """
    source, target = Path(source), Path(target)
    kind, axis = checks.checked_kind(input), checks.checked_axis(class_axis)
    setting = onnx_formulas.setting_of(checks.checked_defense(defense))
    model, _ = onnx_graph.read(source)
    onnx_graph.refuse_randomness(model, source)
    if any(one.key == MARK for one in model.metadata_props):
        raise DataFileError(f"{source} is defended already.", "Export the original model.")
    if target.exists() and target.samefile(source):
        raise InputError(f"{target} is the model itself.", "Name another file.")
    if onnx_graph.external(model) and target.parent.resolve() != source.parent.resolve():
        raise InputError(
            f"{source} has its weights in files beside it, which an ONNX file names relative to "
            "its own folder.",
            f"Write the new file into {source.parent}, too; the weights are shared.",
        )
    model = onnx_graph.upgraded(model, source)
    tensor = onnx_output.chosen(model, source, output, axis, kind)
    made = _defend(model, tensor, setting, kind, source)
    _write(model, source, target)
    return made


def _defend(model: Any, tensor: Tensor, setting: DynaNoise, kind: str, path: Path) -> Exported:
    """Puts the defense behind a tensor of the model, in place."""
    onnx = require("onnx", "Writing an ONNX graph")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = model.graph
    dropped = tuple(one.name for one in graph.output if one.name != tensor.name)
    onnx_graph.cut(graph, tensor.name)
    build = onnx_formulas.Builder(onnx_graph.names_of(graph))
    del graph.output[:]
    order = [axis for axis in range(len(tensor.dims)) if axis != tensor.axis] + [tensor.axis]
    needed = setting.base_variance > 0
    shape = (setting.samples, *_noise_dims(graph, tensor, order, path)) if needed else ()
    noise = build.name(NOISE) if needed else None
    result = build.name(OUTPUT)

    rows, clean = _rows(build, onnx, tensor, order)
    if kind == "probabilities":
        rows = onnx_formulas.logits_of(build, rows)
    probs = onnx_formulas.answer(
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
    made = Exported(noise, shape, result, dropped, setting)
    _describe(model, made)
    return made


def _rows(
    build: onnx_formulas.Builder, onnx: Any, tensor: Tensor, order: list[int]
) -> tuple[str, str]:
    """The tensor in float32, classes last; and one that has its order of the classes, exactly."""
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
    """The shape of one draw; a size that varies is called as it is in an input of the model."""
    held = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in held]
    known = {dim for one in inputs for dim in onnx_graph.dims_of(one) if isinstance(dim, str)}
    found: list[int | str] = []
    for axis in order:
        dim = tensor.dims[axis]
        if axis == 0 and not isinstance(dim, int) and dim not in known:
            dim = _batch(inputs, known)
        if not isinstance(dim, int) and dim not in known:
            raise DataFileError(
                f"The size of axis {axis} of {tensor.name} in {path} follows from no input's.",
                "Export the model with a fixed size of that axis.",
            )
        found.append(dim)
    return found


def _batch(inputs: list[Any], known: set[str]) -> int | str | None:
    """The size of the first input's first axis, named if it had no name."""
    dims = onnx_graph.dims_of(inputs[0]) if inputs else ()
    if not dims:
        return None
    if dims[0] is None:
        name = "batch" if "batch" not in known else "dynanoise_batch"
        inputs[0].type.tensor_type.shape.dim[0].dim_param = name
        known.add(name)
        return name
    return dims[0]


def _dim(dim: int | str | None, shape: tuple[int | str, ...]) -> int | str | None:
    return dim if dim is not None else (shape[1] if shape else None)


def _describe(model: Any, made: Exported) -> None:
    """The parameters into the file's metadata: all of them public, none of them a secret."""
    setting = {one.name: getattr(made.setting, one.name) for one in fields(made.setting)}
    said = {
        "version": version("dynanoise"),
        "defense": {"name": "dynanoise", **setting},
        "noise": made.noise,
        "output": made.output,
    }
    entry = model.metadata_props.add()
    entry.key, entry.value = MARK, json.dumps(said, sort_keys=True)


def _write(model: Any, source: Path, target: Path) -> None:
    """Writes what ONNX's checker accepts, whole or not at all."""
    onnx = require("onnx", "Writing an ONNX graph")
    content = model.SerializeToString(deterministic=True)
    try:
        # Beside the target, where the checker finds data that lie there.
        handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".onnx")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            onnx.checker.check_model(temporary, full_check=True)
        finally:
            Path(temporary).unlink()
        write_atomically(target, content)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written ({error.strerror}).", "Name another file."
        ) from error
    except Exception as error:  # the checker's and the shape inference's have no common base
        raise DataFileError(
            f"With the defense {source} does not pass ONNX's checker "
            f"({onnx_graph.first_line(error)}).",
            f"Export it again with opset {onnx_graph.OPSET} or later.",
        ) from error
