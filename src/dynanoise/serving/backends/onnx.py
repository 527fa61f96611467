"""An ONNX model in the gateway's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.core.extras import require
from dynanoise.integrations import onnx_model
from dynanoise.integrations.onnx_inputs import Input
from dynanoise.integrations.out_of_fold.onnx_folder import open_model
from dynanoise.oip.faults import Refused, bad, unavailable
from dynanoise.oip.tensors import DTYPES, Array, Description, Spec, Tensor

_DATATYPES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
"""The protocol's names of NumPy's dtypes."""


class OnnxModel:
    """A session of ONNX Runtime that computes the defended output alone, in a few threads.

    Args:
        path: the ONNX file, or a folder of out-of-fold models.
        name: name under which it is served.
        version: the version that clients may name; None for the plain name only.
        output: name of the output to defend; None to choose, see
            `onnx_output.find_output`.
        threads: threads of the processor for one query.
        limit: seconds that a query may take; then it is stopped.
        class_axis: axis of the classes in the output.
        kind: kind of the output, "logits" or "probabilities".

    Attributes:
        digest: SHA-256 of the file, or of the list of files in a folder, 64 hexadecimal digits.
        output: the output to defend.
        description: metadata of the model.
        external: whether weights are in other files, which the digest does not cover.
        batch_dependent: whether it is quantized by the range of all records of a request, so that
            the output for a record depends on the others.

    Raises:
        DataFileError: if it is not an ONNX model, ONNX Runtime cannot run it, it draws random
            numbers or mixes the records of a request, or its output is of another kind.
        InputError: if there is no such output or axis, or several to choose from.
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
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        self._model = open_model(
            path, output=output, class_axis=class_axis, kind=kind, options=options
        )
        self._limit = limit
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="model")
        self.digest, self.external = self._model.digest, self._model.external
        self.batch_dependent = self._model.batch_dependent
        (info,) = self._model.session.get_outputs()
        batched = self._model.batch is not None
        self.output = _spec(onnx_model.describe_input(info), batched)
        inputs = tuple(_spec(each, batched) for each in self._model.inputs)
        self.description = Description(inputs, self.output, "onnxruntime_onnx")

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
            values = await asyncio.wait_for(task, self._limit)
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

    def _run(self, feed: dict[str, Array], options: Any) -> Array:
        return self._model.run(feed, options)

    async def close(self) -> None:
        """Wait for queries under way."""
        self._pool.shutdown(cancel_futures=True)


def _spec(tensor: Input, batched: bool) -> Spec:
    """Specification in the protocol's terms; a fixed batch takes any number of records."""
    shape = [dim if isinstance(dim, int) else -1 for dim in tensor.dims]
    if batched and shape:
        shape[0] = -1
    return Spec(tensor.name, _DATATYPES[tensor.dtype], tuple(shape), tensor.missing)


def _feed(tensor: Tensor) -> Array:
    if tensor.datatype != "BYTES":
        return np.ascontiguousarray(tensor.values)
    try:
        texts = [text.decode() for text in tensor.values.ravel()]
    except UnicodeDecodeError:
        raise bad(f"Input {tensor.name!r} is not text in UTF-8.") from None
    values = np.empty(len(texts), object)
    values[:] = texts
    return values.reshape(tensor.values.shape)
