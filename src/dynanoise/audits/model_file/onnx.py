"""Outputs of an ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DataFileError
from dynanoise.core.extras import require

BATCH = 256
"""Records in one call of the model."""


def query_onnx(path: Path, inputs: npt.NDArray[np.float32], threads: int = 1) -> Any:
    """Query an ONNX model with every input, on the processor.

    Args:
        path: file of a model with one input [batch, ...] of float32.
        inputs: float32 [N, ...], as the model takes them.
        threads: threads of the processor.

    Returns:
        The first output that is a floating-point array with two axes, [N, K], K >= 2.

    Raises:
        DataFileError: if the file is not an ONNX model, or the model does not take these inputs or
            has no such output.
        MissingExtraError: if onnxruntime is not installed.
    """
    runtime = require("onnxruntime", "Querying an ONNX model")
    if not path.is_file():
        raise DataFileError(f"There is no file {path}.", "Check the path.")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # its warnings are errors that are raised as well
    try:
        session = runtime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no base class of their own
        raise DataFileError(
            f"{path} cannot be read as an ONNX model ({_first_line(error)}).",
            "Export it again; external data files must lie beside it.",
        ) from error
    takes = session.get_inputs()
    if len(takes) != 1 or takes[0].type != "tensor(float)":
        kinds = ", ".join(f"{tensor.name}: {tensor.type}" for tensor in takes)
        raise DataFileError(
            f"{path} takes {kinds}.", "Export a model with one input of float32, [batch, ...]."
        )
    tensors = [output for output in session.get_outputs() if output.type.startswith("tensor(")]
    names = [output.name for output in tensors]
    parts: list[list[npt.NDArray[Any]]] = []
    try:
        for start in range(0, len(inputs), _batch(takes[0].shape)):
            rows = inputs[start : start + _batch(takes[0].shape)]
            parts.append(session.run(names, {takes[0].name: np.ascontiguousarray(rows)}))
    except Exception as error:
        raise DataFileError(
            f"{path} does not answer inputs of shape {inputs.shape[1:]} ({_first_line(error)}).",
            f"It takes {takes[0].shape}.",
        ) from error
    for outputs in zip(*parts, strict=True):
        if outputs[0].ndim == 2 and outputs[0].dtype.kind == "f" and outputs[0].shape[1] > 1:
            return np.concatenate(outputs)
    kinds = ", ".join(
        f"{output.name}: {output.type} {output.shape}" for output in session.get_outputs()
    )
    raise DataFileError(
        f"{path} has no output [batch, classes] of floating-point numbers, but {kinds}.",
        "Export logits or probabilities; from scikit-learn with zipmap off.",
    )


def _batch(shape: list[Any]) -> int:
    """Records in one call: the batch size the model was exported for, if that is fixed.

    >>> _batch([None, 3]), _batch(["batch", 3]), _batch([1, 3])
    (256, 256, 1)
    """
    return shape[0] if shape and isinstance(shape[0], int) else BATCH


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
