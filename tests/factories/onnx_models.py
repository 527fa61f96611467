"""Small ONNX models, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynanoise.defenses.dynanoise import DynaNoise
from tests.factories.wrapper_noise import FixedNoise

onnx: Any = pytest.importorskip("onnx", reason="pip install 'dynanoise[onnx]'")

KINDS = onnx.TensorProto
WEIGHTS = np.linspace(-2, 2, 12, dtype=np.float32).reshape(4, 3)[:, [2, 0, 1]]


DEFENSE = DynaNoise(0.3, 2, 4)
ROWS = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4) ** 3
NORMALS = np.random.default_rng(0).normal(size=(1, 5, 3)).astype(np.float32)


def defended(source: Path, **options: Any) -> Path:
    """The model exported with DEFENSE, and checked."""
    from dynanoise.onnx import export

    target = source.with_name("defended.onnx")
    export(source, target, DEFENSE, **options)
    onnx.checker.check_model(str(target), full_check=True)
    return target


def expected(logits: Any, defense: Any = DEFENSE) -> Any:
    """Outputs of the library with the same normals."""
    return defense(np.asarray(logits), FixedNoise(NORMALS))


def floats(values: Any) -> Any:
    """A float32 array."""
    return np.asarray(values, np.float32)


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, list(inputs), list(outputs), **attributes)


def tensor(name: str, dims: Any, kind: int = KINDS.FLOAT) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, dims)


def constant(name: str, values: Any) -> Any:
    return onnx.numpy_helper.from_array(np.asarray(values, order="C"), name)


def save(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: Sequence[Any] = (),
    *,
    opset: int = 18,
    ir_version: int = 8,
    functions: Sequence[Any] = (),
    external: bool = False,
    opsets: dict[str, int] | None = None,
) -> Path:
    """Writes a model; ``external`` puts its constants beside it."""
    graph = onnx.helper.make_graph(
        list(nodes), "made by a test", list(inputs), list(outputs), list(constants)
    )
    versions = {"": opset, "own": 1} if opsets is None else opsets
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in versions.items()]
    model = onnx.helper.make_model(
        graph, opset_imports=imports, ir_version=ir_version, functions=list(functions)
    )
    extra = {"save_as_external_data": True, "size_threshold": 0, "location": f"{path.name}.data"}
    onnx.save(model, str(path), **(extra if external else {}))
    return path


def identity(
    path: Path, classes: int = 3, kind: int = KINDS.FLOAT, dims: Any = None, name: str = "logits"
) -> Path:
    """Logits in, the same logits out."""
    dims = ["batch", classes] if dims is None else dims
    ends = [node("Identity", ["x"], [name])]
    return save(path, ends, [tensor("x", dims, kind)], [tensor(name, dims, kind)])


def linear(
    path: Path,
    *more: Any,
    output: Any = None,
    constants: Sequence[Any] = (),
    opset: int = 18,
    **options: Any,
) -> Path:
    """x [batch, 4] @ WEIGHTS = logits [batch, 3], then further nodes."""
    output = tensor("logits", ["batch", 3]) if output is None else output
    nodes = [node("MatMul", ["x", "w"], ["logits"]), *more]
    outputs = output if isinstance(output, list) else [output]
    inputs = [tensor("x", ["batch", 4])]
    held = [constant("w", WEIGHTS), *constants]
    return save(path, nodes, inputs, outputs, held, opset=opset, **options)


def run(path: Path, **feed: Any) -> Any:
    """The only output, by ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime", reason="pip install 'dynanoise[onnx]'")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, feed)
    return result


def reference(path: Path, **feed: Any) -> Any:
    """The only output, by ONNX's own evaluator in NumPy."""
    from onnx.reference import ReferenceEvaluator

    (result,) = ReferenceEvaluator(str(path)).run(None, feed)
    return result


ML = {"ai.onnx.ml": 2}
"""Opsets of converters of tree models, which leave out the standard operators."""

CLASSIFIED = [tensor("label", ["batch"], KINDS.INT64), tensor("probabilities", ["batch", 3])]
"""Outputs of converted classifiers."""


def trees(
    transform: str = "NONE",
    values: Sequence[float] = (0.5, 0.3, 0.2, 0.1, 0.2, 0.7),
    inputs: Sequence[str] = ("x",),
    output: str = "probabilities",
) -> Any:
    """One tree, x0 <= 0: a weight of three classes in either leaf; NaN goes to the right."""
    classes = len(values) // 2
    return node(
        "TreeEnsembleClassifier",
        inputs,
        ["label", output],
        domain="ai.onnx.ml",
        classlabels_int64s=list(range(classes)),
        class_ids=[*range(classes)] * 2,
        class_nodeids=[1] * classes + [2] * classes,
        class_treeids=[0] * 2 * classes,
        class_weights=list(values),
        nodes_falsenodeids=[2, 0, 0],
        nodes_featureids=[0, 0, 0],
        nodes_hitrates=[1.0, 1.0, 1.0],
        nodes_missing_value_tracks_true=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_nodeids=[0, 1, 2],
        nodes_treeids=[0, 0, 0],
        nodes_truenodeids=[1, 0, 0],
        nodes_values=[0.0, 0.0, 0.0],
        post_transform=transform,
    )


def tree_model(path: Path) -> Path:
    """x [batch, 4], and the probabilities of `trees`."""
    return save(path, [trees()], [tensor("x", ["batch", 4])], CLASSIFIED, opsets=ML)


def coefficients(classes: int = 3) -> Any:
    """Weights [4, K] and biases [K] of `linear_classifier`."""
    return np.linspace(-1, 1, 4 * classes).reshape(classes, 4).T, np.linspace(-1, 0.5, classes)


def linear_classifier(path: Path, transform: str, classes: int = 3) -> Path:
    """A model that names only ai.onnx.ml."""
    weights, biases = coefficients(classes)
    layer = node(
        "LinearClassifier",
        ["x"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_ints=list(range(classes)),
        coefficients=weights.T.ravel().tolist(),
        intercepts=biases.tolist(),
        post_transform=transform,
    )
    outputs = [CLASSIFIED[0], tensor("probabilities", ["batch", classes])]
    return save(path, [layer], [tensor("x", ["batch", 4])], outputs, opsets=ML)


def zipmap(
    path: Path, *nodes: Any, source: str = "table", texts: bool = False, **options: Any
) -> Path:
    """A model whose last output "probabilities" is a ZipMap of the tensor ``source``."""
    labels: dict[str, Any] = {"classlabels_int64s": [0, 1, 2]}
    if texts:
        labels = {"classlabels_strings": ["0", "1", "2"]}
    mapped = node("ZipMap", [source], ["probabilities"], domain="ai.onnx.ml", **labels)
    value = onnx.helper.make_tensor_type_proto(KINDS.FLOAT, [])
    kind = onnx.helper.make_sequence_type_proto(
        onnx.helper.make_map_type_proto(KINDS.STRING if texts else KINDS.INT64, value)
    )
    maps = onnx.helper.make_value_info("probabilities", kind)
    outputs = [tensor("label", ["batch"], KINDS.INT64), maps]
    return save(path, [*nodes, mapped], [tensor("x", ["batch", 4])], outputs, **options)
