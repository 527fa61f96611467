"""Optional packages, imported where they are needed, and the extras that install them."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import shlex
from typing import Any

from dynanoise.core.errors import MissingExtraError

_SERVE = (
    "aiohttp",
    "grpc",
    "grpc_health",
    "orjson",
    "prometheus_client",
    "starlette",
    "tritonclient",
    "uvicorn",
)

_EXTRAS = {
    **dict.fromkeys(("torch", "safetensors"), "train"),
    **dict.fromkeys(("onnx", "onnxruntime"), "onnx"),
    **dict.fromkeys(("transformers", "tokenizers"), "hf"),
    **dict.fromkeys(("fsspec", "s3fs"), "remote"),
    **dict.fromkeys(_SERVE, "serve"),
    "redis": "redis",
    "opentelemetry": "otel",
    "ray": "ray",
    "mlflow": "mlflow",
    "matplotlib": "plot",
}
"""The extra that installs a module's package; "data" for all others."""

_PACKAGES = {
    "PIL": "pillow",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "huggingface_hub": "datasets",
    "opentelemetry": "opentelemetry-sdk",
    "prometheus_client": "prometheus-client",
}

_SILENT = {
    # From 1.31 on it sends usage data to its vendor and writes an identifier to the home folder.
    "onnxruntime": {"ORT_DISABLE_TELEMETRY": "1"},
    # It sends usage data to its vendor.
    "ray": {"RAY_USAGE_STATS_ENABLED": "0"},
    # The core of gRPC writes to standard error, past all logging.
    "tritonclient": {"GRPC_VERBOSITY": "NONE"},
}
"""Environment variables set before a package is imported, against usage reports and messages."""


def require(module: str, purpose: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: full name of the module, such as "pyarrow.parquet".
        purpose: subject of the error message, such as "Reading parquet files".

    Returns:
        The module.

    Raises:
        MissingExtraError: if its package is not installed.

    >>> require("json", "Reading JSON").loads("1")
    1
    """
    top = module.partition(".")[0]
    for variable, value in _SILENT.get(top, {}).items():
        os.environ.setdefault(variable, value)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package, extra = _PACKAGES.get(top, top), _EXTRAS.get(top, "data")
        raise missing_extra(extra, f"{purpose} needs {package}, which is not installed.") from error


def missing_extra(extra: str, message: str) -> MissingExtraError:
    """Build the error of a missing package, with the command that installs its extra's packages.

    The packages are named and not `dynanoise[EXTRA]`: the command works however the project itself
    was installed, and fetches nothing that another project may publish under its name.

    Args:
        extra: name of an extra of the project, such as "onnx".
        message: sentence that says what needs which package.

    Returns:
        The error, to be raised.

    >>> print(missing_extra("fast", "The kernel needs numba, which is not installed."))
    The kernel needs numba, which is not installed. Install it with: pip install 'numba>=0.61'
    """
    requirements = importlib.metadata.requires("dynanoise") or ()
    split = (requirement.partition(";") for requirement in requirements)
    packages = [
        name.strip() for name, _, marker in split if re.search(rf"[\"']{extra}[\"']", marker)
    ]
    return MissingExtraError(
        message, "Install it with: pip install " + " ".join(map(shlex.quote, packages))
    )
