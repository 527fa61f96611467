"""A classifier in an ONNX file, read and checked alike for audits, the gateway and the wrappers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.core.errors import DataFileError
from dynanoise.core.extras import require
from dynanoise.integrations import onnx_graph, onnx_output
from dynanoise.integrations.batches import differs
from dynanoise.integrations.onnx_inputs import (
    DTYPES,
    Array,
    Input,
    fixed_batch,
    random_feed,
    run_in_parts,
    takes_missing,
    with_missing,
)
from dynanoise.integrations.onnx_output import Tensor

_Run = Callable[[Mapping[str, Array]], Array | None]
"""Computes outputs, or None for values out of the model's range."""

_FOLDER = "session.model_external_initializers_file_folder_path"


@dataclass(frozen=True, eq=False)
class Graph:
    """A model reduced to the output with its logits or probabilities.

    Attributes:
        path: the file.
        proto: the ModelProto, whose only output that is; data in files beside it are not read.
        output: the output.
        kind: "logits" or "probabilities", as declared or as the operators tell; None if unknown.
        dropped: names of the other outputs.
        labels: labels of classes that nodes of the model name, whole numbers as texts.
        digest: SHA-256 of the file, 64 hexadecimal digits.
    """

    path: Path
    proto: Any
    output: Tensor
    kind: str | None
    dropped: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    digest: str

    @property
    def external(self) -> bool:
        """Whether data of the model are in files beside it, which the digest does not cover."""
        return onnx_graph.has_external_data(self.proto)

    @property
    def batch_dependent(self) -> bool:
        """Whether it is quantized by the range of all records of a request."""
        return any(
            node.op_type.startswith("DynamicQuantize")
            for body in (self.proto.graph, *self.proto.functions)
            for node in onnx_graph.iterate_nodes(body)
        )


def read_graph(
    path: Path, *, output: str | None = None, class_axis: int = -1, kind: str | None = None
) -> Graph:
    """Read a model and find the output with its logits or probabilities.

    Args:
        path: the file.
        output: name of an output or of a tensor inside; None to choose, see
            `onnx_output.find_output`.
        class_axis: axis of the classes.
        kind: "logits" or "probabilities" as declared by the user; None to take either.

    Raises:
        DataFileError: if it is not an ONNX model, has a defense, draws random numbers, mixes the
            records of a request, or its output is not one of logits or probabilities, as declared.
        InputError: if there is no such output or axis, or several to choose from.
        MissingExtraError: if onnx is not installed.
    """
    proto, content = onnx_graph.read_model(path)
    if onnx_graph.MARK in onnx_graph.metadata_of(proto):
        raise DataFileError(f"{path} is defended already.", "Use the original model.")
    onnx_graph.refuse_randomness(proto, path)
    labels = tuple(onnx_graph.class_labels(node) for node in proto.graph.node)
    onnx_graph.replace_zipmaps(proto)
    tensor = onnx_output.find_output(proto, path, output, class_axis, kind)
    kept = [info for info in proto.graph.output if info.name == tensor.name]
    dropped = tuple(info.name for info in proto.graph.output if info.name != tensor.name)
    onnx_graph.cut(proto.graph, tensor.name)
    proto.graph.ClearField("output")
    proto.graph.output.extend(kept[:1])
    return Graph(
        path,
        proto,
        tensor,
        kind or onnx_output.kind_of(proto, tensor.name),
        dropped,
        labels,
        hashlib.sha256(content).hexdigest(),
    )


def open_session(proto: Any, path: Path, options: Any = None, providers: Sequence[Any] = ()) -> Any:
    """Open a session of ONNX Runtime for a model in memory.

    Args:
        proto: the ModelProto.
        path: its file, beside which are its data if they are in files of their own.
        options: onnxruntime.SessionOptions, or None.
        providers: providers of ONNX Runtime; () for the processor.

    Raises:
        DataFileError: if ONNX Runtime cannot run it.
        MissingExtraError: if onnxruntime is not installed.
    """
    runtime = require("onnxruntime", "Running an ONNX model")
    if options is None:
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # its errors are raised, too, and may quote values
    if onnx_graph.has_external_data(proto):
        options.add_session_config_entry(_FOLDER, str(path.parent.resolve()))
    try:
        return runtime.InferenceSession(
            proto.SerializeToString(),
            sess_options=options,
            providers=list(providers) or ["CPUExecutionProvider"],
        )
    except Exception as error:  # its errors have no base class of their own
        raise DataFileError(
            f"{path} cannot be run by ONNX Runtime ({onnx_graph.first_line(error)}).",
            "Export it again; external data files must lie beside it.",
        ) from error


@dataclass(frozen=True, eq=False)
class Classifier:
    """A model that runs, checked on random records; its graph is not kept in memory.

    Attributes:
        path: the file.
        output: its only output.
        kind: "logits" or "probabilities", as declared or as the operators tell; None if unknown.
        labels: labels of classes that nodes of the model name, whole numbers as texts.
        session: session of ONNX Runtime.
        inputs: its inputs.
        batch: number of records in one call, if it is fixed; calls are then filled up.
        digest: SHA-256 of the file, 64 hexadecimal digits.
        external: whether weights are in other files, which the digest does not cover.
        batch_dependent: whether the output for a record depends on the others of a request: it is
            quantized by the range of all of them, or a fixed number of rows are one query.
    """

    path: Path
    output: Tensor
    kind: str | None
    labels: tuple[tuple[str, ...], ...]
    session: Any
    inputs: tuple[Input, ...]
    batch: int | None
    digest: str
    external: bool
    batch_dependent: bool

    def class_names(self, classes: int) -> tuple[str, ...]:
        """Names of the classes in the order of the output; () if the model names not as many."""
        return next((names for names in self.labels if len(names) == classes), ())

    def run(self, feed: Mapping[str, Array], options: Any = None) -> Array:
        """Compute the output.

        Args:
            feed: arrays by the names of all inputs, of as many records as wanted.
            options: onnxruntime.RunOptions.

        Returns:
            The output for all records; errors are ONNX Runtime's.
        """
        if self.batch is None:
            return run_session(self.session, self.output.name, feed, options)
        return run_in_parts(
            lambda part: run_session(self.session, self.output.name, part, options),
            feed,
            self.batch,
            pad=True,
        )


def open_classifier(graph: Graph, options: Any = None, providers: Sequence[Any] = ()) -> Classifier:
    """Open a model, and run it on random records, see `check_on_random`.

    Args:
        graph: the model.
        options: onnxruntime.SessionOptions, or None.
        providers: providers of ONNX Runtime; () for the processor.

    Raises:
        DataFileError: if ONNX Runtime cannot run it, its output is of bfloat16, or its values are
            of another kind than declared, or independent sigmoids.
        MissingExtraError: if onnxruntime is not installed.
    """
    if graph.output.kind == require("onnx", "Reading an ONNX model").TensorProto.BFLOAT16:
        raise DataFileError(
            f"The output {graph.output.name} of {graph.path} is of bfloat16, which NumPy lacks.",
            "Put a Cast to float32 behind it, or export the model in float32.",
        )
    session = open_session(graph.proto, graph.path, options, providers)
    return check_on_random(graph, session)


def check_on_random(graph: Graph, session: Any) -> Classifier:
    """Run a model on random records: its kind, batch and missing values.

    A model that does not take random values is not judged by them.

    Args:
        graph: the model.
        session: its session.

    Raises:
        DataFileError: if its values are of another kind than declared, or independent sigmoids; or
            if the output for a record changes with the records beside it, which nothing in the
            graph tells.
    """
    inputs = tuple(map(describe_input, session.get_inputs()))
    generator, name = np.random.default_rng(0), graph.output.name
    feed, other = (random_feed(inputs, generator) for _ in range(2))
    values = _try(session, name, feed)
    computed = not onnx_output.is_input(graph.proto, name)
    if computed and values is not None and np.isfinite(values).all():
        onnx_output.check_values(values, graph.output, graph.path, graph.kind)
    batch, batch_dependent = fixed_batch(inputs), graph.batch_dependent
    run = partial(_try, session, name)
    if batch is not None:
        if not _is_batch(batch, feed, other, values, run, graph.output):
            batch_dependent |= batch > 1 and graph.output.axis != 0 and _counts(values, batch)
            batch = None
    elif not batch_dependent and graph.output.axis != 0 and _mixes(feed, other, values, run):
        raise DataFileError(
            f"{graph.path} mixes the records of a request: outputs for random records change with "
            "the records beside them.",
            "Export the model in evaluation mode, so that an output depends on its own record "
            "alone.",
        )
    inputs = tuple(
        replace(each, missing=_takes_missing(each, feed, session, graph)) for each in inputs
    )
    return Classifier(
        graph.path,
        graph.output,
        graph.kind,
        graph.labels,
        session,
        inputs,
        batch,
        graph.digest,
        graph.external,
        batch_dependent,
    )


def describe_input(info: Any) -> Input:
    """Describe an input of a session."""
    dims = tuple(dim if isinstance(dim, int | str) else None for dim in info.shape or ())
    if info.type not in DTYPES:
        raise DataFileError(
            f"The input {info.name} is a {info.type}.",
            "Export the model with inputs of float16, float32, float64, whole numbers or texts.",
        )
    return Input(info.name, np.dtype(DTYPES[info.type]), dims)


def run_session(session: Any, name: str, feed: Mapping[str, Array], options: Any = None) -> Array:
    """Compute one output; errors are ONNX Runtime's."""
    arrays = {key: np.ascontiguousarray(values) for key, values in feed.items()}
    (values,) = session.run([name], arrays, options)
    return values  # type: ignore[no-any-return]


def _try(session: Any, name: str, feed: Mapping[str, Array]) -> Array | None:
    """Outputs for random values; None if they are out of the model's range."""
    try:
        return run_session(session, name, feed)
    except Exception:  # ONNX Runtime's errors have no base class of their own
        return None


def _is_batch(
    size: int,
    feed: Mapping[str, Array],
    other: Mapping[str, Array],
    values: Array | None,
    run: _Run,
    output: Tensor,
) -> bool:
    """Whether the first axis counts records: an output depends on its own record, at any place."""
    if output.axis == 0:
        return False
    if values is None:
        return output.dims[:1] == (size,)
    if not _counts(values, size):
        return False
    moved = {key: np.concatenate([rows[1:], feed[key][:1]]) for key, rows in other.items()}
    again = run(moved)
    return again is not None and np.allclose(
        again[-1], values[0], rtol=1e-3, atol=1e-3, equal_nan=True
    )


def _counts(values: Array | None, size: int) -> bool:
    """Whether the first axis of an output has one entry for each record."""
    return values is not None and values.shape[:1] == (size,)


def _mixes(
    feed: Mapping[str, Array], other: Mapping[str, Array], values: Array | None, run: _Run
) -> bool:
    """Whether outputs of the first half of a feed change with the second half.

    False where the first axis does not count records, or the model does not take the values.
    """
    sizes = {len(rows) if rows.ndim else 0 for rows in feed.values()}
    size = sizes.pop() if len(sizes) == 1 else 0
    if size < 2 or values is None or not _counts(values, size):
        return False
    half = size // 2
    beside = {key: np.concatenate([feed[key][:half], other[key][half:]]) for key in feed}
    again = run(beside)
    return again is not None and _counts(again, size) and differs(values[:half], again[:half])


def _takes_missing(each: Input, feed: Mapping[str, Array], session: Any, graph: Graph) -> bool:
    """Whether an input takes NaN: by what the graph does with it, and by finite outputs."""
    if each.dtype.kind != "f" or not takes_missing(graph.proto.graph, each.name):
        return False
    values = _try(session, graph.output.name, with_missing(feed, each.name))
    return values is not None and bool(np.isfinite(values).all())
