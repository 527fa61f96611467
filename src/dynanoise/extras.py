"""Packages that only some data, models and deployments need."""

from __future__ import annotations

import importlib
import os
from typing import Any

from dynanoise.errors import MissingExtraError

_SERVE = ("aiohttp", "grpc", "orjson", "prometheus_client", "starlette", "tritonclient", "uvicorn")

_PACKAGES = {
    "PIL": "pillow",
    "grpc": "grpcio",
    "huggingface_hub": "datasets",
    "prometheus_client": "prometheus-client",
}


def require(module: str, purpose: str) -> Any:
    """The imported module, one of the extra ``data``, ``hf``, ``onnx``, ``serve`` or ``train``.

    Args:
        module: its name, "pyarrow.parquet".
        purpose: the beginning of a sentence, "Reading parquet files".

    Raises:
        MissingExtraError: if its package is not installed.

    >>> require("json", "Reading JSON").loads("1")
    1
    """
    if module.partition(".")[0] == "onnxruntime":
        # From 1.31 on it reports its use to its maker and writes an identifier into the home
        # folder, unless told otherwise before it is imported.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        top = module.partition(".")[0]
        package = _PACKAGES.get(top, top)
        extras = {"torch": "train", "safetensors": "train", "onnx": "onnx", "onnxruntime": "onnx"}
        extras |= {"transformers": "hf", "tokenizers": "hf"} | dict.fromkeys(_SERVE, "serve")
        extra = extras.get(top, "data")
        raise MissingExtraError(
            f"{purpose} needs {package}, which is not installed.",
            f"Install it with: pip install 'dynanoise[{extra}]'",
        ) from error
