"""The inputs of an ONNX model: types, random records, missing values, and batches of fixed size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.extras import require
from dynanoise.integrations.onnx_graph import STANDARD_DOMAINS, captured

Array = npt.NDArray[Any]

DTYPES: dict[str, npt.DTypeLike] = {
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(string)": np.object_,
}
"""NumPy's dtypes of ONNX Runtime's types."""

_PROBES = 16
"""Random records, where their number is free."""

_ROUTING = ("TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble")
"""Operators that send a missing value down a branch."""

_KEEPING = (
    *("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat"),
    *("Slice", "Split", "Gather", "Scaler", "Add", "Sub", "Mul", "Div"),
    *("ArrayFeatureExtractor", "FeatureVectorizer"),
)
"""Operators that move or scale values, so that a missing one stays missing and alone."""


@dataclass(frozen=True)
class Input:
    """An input of a model.

    Attributes:
        name: in the graph.
        dtype: NumPy's; objects for texts.
        dims: size or name of each axis; None where nothing is known.
        missing: whether NaN may stand for a missing value.
    """

    name: str
    dtype: np.dtype[Any]
    dims: tuple[int | str | None, ...]
    missing: bool = False

    @property
    def text(self) -> str:
        """Type and shape for a message, such as "x: float32 [batch, 4]"."""
        dims = ", ".join("?" if dim is None else str(dim) for dim in self.dims)
        return f"{self.name}: {'string' if self.dtype.kind == 'O' else self.dtype} [{dims}]"


def random_feed(inputs: Sequence[Input], generator: np.random.Generator) -> dict[str, Array]:
    """Draw records: standard normals, whole numbers 0 and 1, texts "a".

    Args:
        inputs: inputs of a model.
        generator: source of the values.

    Returns:
        An array for each input; axes of free length have 16 records, and 1 behind the first.
    """
    feed: dict[str, Array] = {}
    for each in inputs:
        shape = [dim if isinstance(dim, int) else _PROBES for dim in each.dims[:1]]
        shape += [dim if isinstance(dim, int) else 1 for dim in each.dims[1:]]
        if each.dtype.kind == "O":
            feed[each.name] = np.full(shape, "a", object)
            continue
        normals = generator.normal(0, 1, shape)
        feed[each.name] = (normals if each.dtype.kind == "f" else normals > 0).astype(each.dtype)
    return feed


def fixed_batch(inputs: Sequence[Input]) -> int | None:
    """Number of records in one call, where it is fixed and the same for all inputs; or None."""
    sizes = {each.dims[0] if each.dims else None for each in inputs}
    size = sizes.pop() if len(sizes) == 1 else None
    return size if isinstance(size, int) and size > 0 else None


def run_in_parts(
    run: Callable[[dict[str, Array]], Array], feed: Mapping[str, Array], size: int, *, pad: bool
) -> Array:
    """Run a model on records in parts of one size.

    Args:
        run: computes the outputs for arrays by name.
        feed: arrays of all records by name, records first.
        size: records in one part.
        pad: whether the last part is filled up with its last record, whose outputs are dropped.

    Returns:
        The outputs for all records, in their order.

    Raises:
        InputError: if the arrays have different numbers of records.

    >>> def double(part):
    ...     assert len(part["x"]) == 4
    ...     return 2 * part["x"]
    >>> run_in_parts(double, {"x": np.arange(6)}, 4, pad=True).tolist()
    [0, 2, 4, 6, 8, 10]
    """
    counts = {name: len(values) for name, values in feed.items()}
    if len(set(counts.values())) > 1:
        raise InputError(
            f"Inputs hold different numbers of records: {counts}.", "Pass as many of each."
        )
    count = next(iter(counts.values()))
    parts = []
    for start in range(0, max(count, 1), size):
        part = {name: values[start : start + size] for name, values in feed.items()}
        if pad:
            part = {name: _padded(values, size) for name, values in part.items()}
        parts.append(run(part)[: count - start])
    return np.concatenate(parts)


def _padded(values: Array, size: int) -> Array:
    if len(values) == size:
        return values
    last = values[-1:] if len(values) else np.zeros((1, *values.shape[1:]), values.dtype)
    return np.concatenate([values, np.repeat(last, size - len(values), axis=0)])


def takes_missing(graph: Any, name: str) -> bool:
    """Tell whether trees route every NaN of an input, or it is filled in, before any computation.

    Args:
        graph: a graph of needed nodes alone.
        name: name of an input.

    Returns:
        True if only trees, imputers and ``Where(IsNaN(x), ...)`` take the values, perhaps moved or
        scaled before; False if another operator does.
    """
    missing = {name}  # tensors that may hold NaN
    masks = set[str]()  # tensors that say where
    for node in graph.node:
        if missing & captured(node):
            return False
        if not missing & set(node.input):
            if masks & set(node.input) and node.op_type in ("Not", "Identity", "Cast"):
                masks |= set(node.output)
            continue
        if node.domain in STANDARD_DOMAINS and node.op_type == "IsNaN":
            masks |= set(node.output)
        elif node.op_type in _KEEPING and not _makes_integers(node):
            missing |= set(node.output)
        elif not (
            node.op_type in _ROUTING
            or (node.op_type == "Imputer" and _fills_nan(node))
            or (node.op_type == "Where" and node.input[0] in masks)
        ):
            return False
    return True


def _makes_integers(node: Any) -> bool:
    """Whether a Cast makes whole numbers, of which NaN is none."""
    kinds = require("onnx", "Reading an ONNX model").TensorProto
    floats = (kinds.FLOAT, kinds.DOUBLE, kinds.FLOAT16, kinds.BFLOAT16)
    return node.op_type == "Cast" and any(
        attribute.name == "to" and attribute.i not in floats for attribute in node.attribute
    )


def _fills_nan(node: Any) -> bool:
    return any(
        attribute.name == "replaced_value_float" and np.isnan(attribute.f)
        for attribute in node.attribute
    )


def with_missing(feed: Mapping[str, Array], name: str) -> dict[str, Array]:
    """Set every column of an input to NaN in a record of its own, and all in the first."""
    values = feed[name].copy()
    rows = values.reshape(len(values), -1) if values.ndim else values.reshape(1, 1)
    columns = np.arange(rows.shape[1])
    rows[columns % len(rows), columns] = np.nan
    rows[0] = np.nan
    return {**feed, name: values}
