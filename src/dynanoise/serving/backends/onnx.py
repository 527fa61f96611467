"""An ONNX model in the gateway's own process."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.core.arrays.predictions import EXACT, is_distribution
from dynanoise.core.errors import InputError
from dynanoise.core.extras import require
from dynanoise.integrations import onnx_graph
from dynanoise.oip.faults import Refused, bad, unavailable
from dynanoise.oip.tensors import DTYPES, Array, Description, Spec, Tensor

_PROBES = 16
"""Random records on which a model is run before it is served."""

_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class OnnxModel:
    """A session of ONNX Runtime that computes the defended output alone, in a few threads.

    Args:
        path: the ONNX file.
        name: name under which it is served.
        version: the version that clients may name; None for the plain name only.
        output: name of the output to defend; None where there is one only.
        threads: threads of the processor for one query.
        limit: seconds that a query may take; then it is stopped.
        class_axis: axis of the classes in the output.
        kind: kind of the output, "logits" or "probabilities".

    Attributes:
        digest: SHA-256 of the file, 64 hexadecimal digits.
        output: the output to defend.
        description: metadata of the model.
        external: whether weights are in other files, which the digest does not cover.
        batch_dependent: whether it is quantized by the range of all records of a request, so that
            the output for a record depends on the others.

    Raises:
        DataFileError: if it is not an ONNX model, draws random numbers, or makes an output of
            another kind.
        InputError: if ONNX Runtime cannot run it, it has no such output or axis, or the outputs for
            random records are of another kind.
        MissingExtraError: if onnx or onnxruntime is not installed.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        version: str | None = None,
        output: str | None = None,
        threads: int = 1,
        limit: float = 30.0,
        class_axis: int = -1,
        kind: str = "logits",
    ) -> None:
        self.name, self.version = name, version
        self._runtime = require("onnxruntime", "Serving an ONNX model")
        if not path.is_file():
            raise InputError(f"There is no file {path}.", "Pass an ONNX model to --model.")
        model, content = onnx_graph.read_model(path)
        onnx_graph.refuse_randomness(model, path)
        self._session = _open(self._runtime, path, threads)
        self._limit = limit
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="model")
        self.digest = hashlib.sha256(content).hexdigest()
        # Weights in files beside it are named by their "location" in the tensors' external data;
        # the digest of the graph's file then says nothing about them.
        self.external = b"\n\x08location\x12" in content
        self.batch_dependent = b"DynamicQuantize" in content  # the beginning of its operators
        self.output = _spec(_choose_output(self._session.get_outputs(), output, path), path)
        inputs = tuple(_spec(info, path) for info in self._session.get_inputs())
        self.description = Description(inputs, self.output, "onnxruntime_onnx")
        _check_axis(self.description, self.output, class_axis, path)
        onnx_graph.check_producer(model.graph, self.output.name, path, kind)
        self._check_kind(class_axis, kind, path)

    def _check_kind(self, class_axis: int, kind: str, path: Path) -> None:
        """Run the model on random records; a model that does not take them is not judged."""
        generator = np.random.default_rng(0)
        feed = {spec.name: _random(spec, generator) for spec in self.description.inputs}
        try:
            (outputs,) = self._session.run([self.output.name], feed)
        except Exception:  # random values may be out of its range
            return
        if not np.isfinite(outputs).all():
            return
        probabilities = is_distribution(outputs, class_axis, EXACT)
        if probabilities != (kind == "probabilities"):
            actual = "are" if probabilities else "are not"
            raise InputError(
                f"{self.output.name} of {path} is declared as {kind}, and its values {actual} "
                "distributions over classes: from 0 to 1, with a sum of 1.",
                "Write input: probabilities into defense.yaml."
                if probabilities
                else "Write input: logits into defense.yaml, unless it holds one probability for "
                "each of several labels, which the defense does not cover.",
            )

    async def describe(self) -> Description:
        """See `Model.describe`."""
        return self.description

    async def ready(self) -> bool:
        """True: it was loaded before the gateway began to listen."""
        return True

    async def infer(self, inputs: Sequence[Tensor], authorization: str | None = None) -> Tensor:
        """See `Model.infer`."""
        options = self._runtime.RunOptions()
        options.log_severity_level = 4  # its messages may quote values
        feed = {tensor.name: _feed(tensor) for tensor in inputs}
        loop = asyncio.get_running_loop()
        task = loop.run_in_executor(self._pool, self._run, feed, options)
        try:
            (values,) = await asyncio.wait_for(task, self._limit)
        except TimeoutError:
            options.terminate = True
            raise unavailable("slow", "The model did not answer in time.") from None
        except asyncio.CancelledError:  # the client went away
            options.terminate = True
            raise
        except Refused:
            raise
        except Exception:  # its errors have no base class of their own, and may quote values
            raise bad("The model does not take these inputs.") from None
        return Tensor(self.output.name, self.output.datatype, values)

    def _run(self, feed: dict[str, Array], options: Any) -> Any:
        return self._session.run([self.output.name], feed, options)

    async def close(self) -> None:
        """Wait for queries under way."""
        self._pool.shutdown(cancel_futures=True)


def _open(runtime: Any, path: Path, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        return runtime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no base class of their own
        first = str(error).strip().partition("\n")[0][:200]
        raise InputError(
            f"{path} cannot be read as an ONNX model ({first}).",
            "Export it again; external data files must lie beside it.",
        ) from None


def _choose_output(outputs: Sequence[Any], name: str | None, path: Path) -> Any:
    names = [info.name for info in outputs]
    if name is None and len(outputs) > 1:
        raise InputError(
            f"{path} has {len(outputs)} outputs, {', '.join(names)}.",
            "Say in defense.yaml which is defended, output: NAME; the others are dropped.",
        )
    for info in outputs:
        if name in (None, info.name):
            if info.type not in ("tensor(float)", "tensor(double)", "tensor(float16)"):
                raise InputError(
                    f"Output {info.name} of {path} is a {info.type}.",
                    "Export logits or probabilities as floats; from scikit-learn with zipmap off.",
                )
            return info
    raise InputError(
        f"{path} has no output {name!r}.", f"Name one in defense.yaml: {', '.join(names)}."
    )


def _check_axis(description: Description, output: Spec, class_axis: int, path: Path) -> None:
    shape = output.shape
    if not shape:  # not known
        return
    exists = -len(shape) <= class_axis < len(shape)
    counts_records = description.batched and class_axis in (0, -len(shape))
    if not exists or counts_records or shape[class_axis] == 1:
        raise InputError(
            f"class_axis is {class_axis}, and {output.name} of {path} has shape {list(shape)}.",
            "Name the axis that counts its classes, at least 2 of them; -1 is the last. An axis "
            "of length -1 in front counts records.",
        )


def _spec(info: Any, path: Path) -> Spec:
    if info.type not in _TYPES:
        raise InputError(
            f"{info.name} of {path} is a {info.type}.", f"Served are {', '.join(_TYPES.values())}."
        )
    shape = tuple(length if isinstance(length, int) else -1 for length in info.shape or ())
    return Spec(info.name, _TYPES[info.type], shape)


def _random(spec: Spec, generator: np.random.Generator) -> Array:
    """Random values of an input, for `_PROBES` records if their number is free."""
    shape = [_PROBES if length == -1 else length for length in spec.shape[:1]]
    shape += [1 if length == -1 else length for length in spec.shape[1:]]
    if spec.datatype == "BYTES":
        return np.full(shape, "a", object)
    normals = generator.normal(0, 1, shape)
    return (normals if spec.datatype.startswith("FP") else normals > 0).astype(
        DTYPES[spec.datatype]
    )


def _feed(tensor: Tensor) -> Array:
    if tensor.datatype != "BYTES":
        return np.ascontiguousarray(tensor.values)
    try:
        texts = [text.decode() for text in tensor.values.ravel()]
    except UnicodeDecodeError:
        raise bad(f"Input {tensor.name!r} is no text in UTF-8.") from None
    values = np.empty(len(texts), object)
    values[:] = texts
    return values.reshape(tensor.values.shape)
