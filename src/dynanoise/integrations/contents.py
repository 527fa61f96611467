"""A digest of all that a fitted object holds, for models that have no file of weights."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

from dynanoise.core.errors import InputError

_NOT_THE_MODEL = {"_sklearn_version", "n_jobs", "verbose"}
"""Parts of a state that no answer depends on, and replicas may have otherwise."""


def digest_of(fitted: Any) -> str:
    """SHA-256 of a fitted object's state, 64 hexadecimal digits.

    Objects are asked for their state as they are for a pickle, but what is hashed is values, not
    pickle's bytes: numbers and arrays by dtype, shape and little-endian content, whatever their
    layout in memory; dictionaries and sets without order; classes and functions by their names. So
    an object and its unpickled copies have one digest with one version of its library, and any
    other number in it makes another digest. Number of jobs and verbosity do not count.

    Args:
        fitted: an estimator, or what it is made of.

    Raises:
        InputError: if something in it has no state that can be read, such as a lock.

    >>> digest_of({"coef": np.array([1.0, 2.0]), "b": 3})[:16]
    'b99742cbbf26998e'
    >>> digest_of({"b": 3, "coef": np.asfortranarray([1.0, 2.0])})[:16]
    'b99742cbbf26998e'
    """
    return _digest(fitted, set()).hex()


def _hashed(kind: str, *parts: bytes) -> bytes:
    digest = hashlib.sha256(kind.encode() + b"\0")
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _digest(value: Any, above: set[int]) -> bytes:
    """Of one value; ``above`` has the ids of the objects that it is part of."""
    plain = _plain(value)
    if plain is not None:
        return plain
    if id(value) in above:
        return _hashed("part of itself")
    above.add(id(value))
    try:
        return _compound(value, above)
    finally:
        above.discard(id(value))


def _plain(value: Any) -> bytes | None:
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes):
        raw = value if isinstance(value, bytes) else repr(value).encode()
        return _hashed(kind.__name__, raw)
    if kind is float:
        return _hashed("float", struct.pack(">d", value))
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return _hashed("name", f"{value.__module__}:{value.__qualname__}".encode())
    if isinstance(value, np.dtype):
        return _hashed("dtype", repr(value).encode())
    return None


def _compound(value: Any, above: set[int]) -> bytes:
    if isinstance(value, np.ndarray | np.generic):
        return _array(np.asarray(value), above)
    kind = type(value)
    if kind in (list, tuple):
        return _hashed(kind.__name__, *_all(value, above))
    if kind in (set, frozenset):
        return _hashed(kind.__name__, *sorted(_all(value, above)))
    if kind is dict:
        return _hashed("dict", *sorted(_hashed("", *_all(pair, above)) for pair in value.items()))
    return _object(value, above)


def _object(value: Any, above: set[int]) -> bytes:
    kind = type(value)
    if kind.__module__.startswith("sklearn.neighbors.") and hasattr(value, "get_tree_stats"):
        # A search tree is made of its data; in its state it counts what it was asked.
        return _hashed("search tree", _array(np.asarray(value.data), above))
    try:
        reduced = value.__reduce_ex__(4)
    except Exception as error:
        raise InputError(
            f"A {kind.__name__} inside the model cannot be read ({error}).",
            "Say which model it is: weights=, 64 hexadecimal digits, another for every version.",
        ) from None
    if isinstance(reduced, str):
        return _hashed("name", f"{kind.__module__}:{reduced}".encode())
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    if isinstance(state, dict):
        state = {name: one for name, one in state.items() if name not in _NOT_THE_MODEL}
    return _hashed(
        "object",
        *_all((make, arguments, state), above),
        _digest(None if items is None else list(items), above),
        _digest(None if pairs is None else dict(pairs), above),
    )


def _array(array: np.ndarray[Any, Any], above: set[int]) -> bytes:
    shape = repr(array.shape).encode()
    if array.dtype.names is not None:  # by fields: what lies between them may be anything
        fields = [(name, array[name]) for name in array.dtype.names]
        return _hashed("fields", shape, *_all(fields, above))
    if array.dtype.hasobject:
        return _hashed("objects", shape, *_all(array.ravel().tolist(), above))
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return _hashed("array", array.dtype.newbyteorder("<").str.encode(), shape, little.tobytes())


def _all(values: Iterable[Any], above: set[int]) -> list[bytes]:
    return [_digest(one, above) for one in values]
