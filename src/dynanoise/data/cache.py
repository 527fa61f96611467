"""A cache of decoded arrays in the user's cache folder, so that they are decoded once.

An error of the cache costs time, never a run.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dynanoise.core.files import write_atomically
from dynanoise.data.dataset import Data

FORMAT = 1
"""Raised whenever decoding or the layout of the files changes, so that older files are not used."""

_log = logging.getLogger(__name__)


def folder() -> Path:
    """The cache folder, which may not exist.

    It is ``DYNANOISE_CACHE``, else ``$XDG_CACHE_HOME/dynanoise``, else ``~/.cache/dynanoise``.

    Raises:
        RuntimeError: if none is set and the user has no home.
    """
    if path := os.environ.get("DYNANOISE_CACHE"):
        return Path(path)
    if path := os.environ.get("XDG_CACHE_HOME"):
        return Path(path) / "dynanoise"
    return Path.home() / ".cache" / "dynanoise"


def cached(name: str, key: Mapping[str, Any], make: Callable[[], Data]) -> Data:
    """Read a data set from the cache, or decode it and write it there.

    A damaged or unwritable cache is logged as a warning, and the arrays are decoded.

    Args:
        name: the data set's name, with which the file's name begins.
        key: everything that determines the arrays, as JSON: hashes of the source files and the
            parameters of decoding.
        make: decodes the data set.
    """
    body = json.dumps({"format": FORMAT, **key}, sort_keys=True)
    hashed = hashlib.sha256(body.encode()).hexdigest()[:32]
    plain = re.sub(r"[^\w.-]+", "-", name)
    try:
        path = folder() / "data" / f"{plain}-{hashed}.npz"
        if path.exists():
            return _load(path)
    except Exception as error:  # a damaged file can fail anywhere in zipfile, NumPy and json
        _log.warning(
            "The cached data of %s cannot be used (%s: %s) and are decoded again.",
            name,
            type(error).__name__,
            error,
        )
    data = make()
    try:
        path = folder() / "data" / f"{plain}-{hashed}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _dump(data))
    except (OSError, RuntimeError) as error:
        _log.warning(
            "The decoded data of %s could not be cached (%s); the next run decodes them again.",
            name,
            error,
        )
    return data


def _about(data: Data) -> dict[str, Any]:
    return {
        "name": data.name,
        "classes": data.classes,
        "test_from": data.test_from,
        "vocabulary_size": data.vocabulary_size,
        "class_names": list(data.class_names),
    }


def _digest(data: Data) -> str:
    return hashlib.sha256((json.dumps(_about(data)) + data.digest).encode()).hexdigest()


def _dump(data: Data) -> memoryview:
    text = json.dumps({"about": _about(data), "digest": _digest(data)})
    file = io.BytesIO()
    np.savez(
        file,
        inputs=data.inputs,
        labels=data.labels,
        about=np.frombuffer(text.encode(), dtype=np.uint8),
    )
    return file.getbuffer()


def _load(path: Path) -> Data:
    # Opened here, because NumPy leaves a damaged file open.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        text = json.loads(file["about"].tobytes())
        about = text["about"]
        about["class_names"] = tuple(about["class_names"])
        data = Data(inputs=file["inputs"], labels=file["labels"], **about)
    if _digest(data) != text["digest"]:
        raise ValueError("its digest does not fit")
    return data
