"""Digests of models, for keyed noise: of a fitted estimator, and of a torch module's weights."""

from __future__ import annotations

import copy
import copyreg
import hashlib
import struct
import sys
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from dynanoise.core.errors import InputError

if TYPE_CHECKING:
    import torch

_IGNORED = {"_sklearn_version", "_stop_words_id", "n_jobs", "verbose"}
"""Parts of a state that no prediction depends on, and that may differ between replicas."""

_REMEDY = "Say which model it is: weights=, 64 hexadecimal digits, another for every version."


def fitted_digest(fitted: Any) -> str:
    """Compute the SHA-256 of a fitted object's state.

    The state is that of a deep copy, so that an object and its unpickled replicas have the same
    digest with one version of its library; of the object itself where it cannot be copied. The
    digest is over values, not over pickle's bytes: numbers, arrays and tensors by dtype, shape and
    little-endian content, whatever their layout in memory; dictionaries and sets without order;
    classes and functions by their names. Another number anywhere in it changes the digest. Number
    of jobs and verbosity do not count.

    Args:
        fitted: an estimator, or a part of one.

    Returns:
        64 hexadecimal digits.

    Raises:
        InputError: if a part has no state that can be read, such as a lock.

    >>> fitted_digest({"coef": np.array([1.0, 2.0]), "b": 3})[:16]
    'b99742cbbf26998e'
    >>> fitted_digest({"b": 3, "coef": np.asfortranarray([1.0, 2.0])})[:16]
    'b99742cbbf26998e'
    """
    return _digest(_copy(fitted), set()).hex()


def replicas_digest(fitted: Any, predict: Callable[[Any], Any]) -> str:
    """Compute `fitted_digest`, and check that replicas keep it while they predict.

    Two deep copies stand for replicas, one of which predicts. Addresses, caches and random
    bytes in the state make their digests differ.

    Args:
        fitted: an estimator.
        predict: called with an estimator, for its predictions of some records.

    Returns:
        64 hexadecimal digits.

    Raises:
        InputError: if the digests differ, or a part has no state that can be read.
    """
    replica, other = _copy(fitted), _copy(fitted)
    digest = _digest(replica, set())
    predict(replica)
    if _digest(replica, set()) != digest or _digest(other, set()) != digest:
        raise InputError(
            f"The state of the {type(fitted).__name__} changes when it predicts or is copied: "
            "replicas would have different noise, which averages away.",
            _REMEDY,
        )
    return digest.hex()


def _copy(fitted: Any) -> Any:
    """A deep copy, made of the state as a pickle has it; the object itself if there is none."""
    try:
        return copy.deepcopy(fitted)
    except Exception:  # whatever a library raises
        return fitted


def _hash(kind: str, *parts: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(kind.encode() + b"\0")
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _digest(value: Any, parents: set[int]) -> bytes:
    """Digest of one value; ``parents`` has the ids of the objects that it is part of."""
    plain = _plain(value)
    if plain is not None:
        return plain
    if id(value) in parents:
        return _hash("part of itself")
    parents.add(id(value))
    try:
        return _compound(value, parents)
    finally:
        parents.discard(id(value))


def _plain(value: Any) -> bytes | None:
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes):
        raw = value if isinstance(value, bytes) else repr(value).encode()
        return _hash(kind.__name__, raw)
    if kind is float:
        return _hash("float", struct.pack(">d", value))
    if isinstance(value, type | FunctionType | BuiltinFunctionType | np.ufunc):
        module = getattr(value, "__module__", "numpy")  # functions of NumPy have none
        return _hash("name", f"{module}:{getattr(value, '__qualname__', value.__name__)}".encode())
    if isinstance(value, np.dtype):
        return _hash("dtype", repr(value).encode())
    return None


def _compound(value: Any, parents: set[int]) -> bytes:
    if isinstance(value, np.ndarray | np.generic):
        return _array(np.asarray(value), parents)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor) and _has_values(value):
        return _hash("tensor", *_tensor_parts(value))
    kind = type(value)
    if kind in (list, tuple):
        return _hash(kind.__name__, *_all(value, parents))
    if kind in (set, frozenset):
        return _hash(kind.__name__, *sorted(_all(value, parents)))
    if kind is dict:
        return _hash("dict", *sorted(_hash("", *_all(pair, parents)) for pair in value.items()))
    return _object(value, parents)


def _object(value: Any, parents: set[int]) -> bytes:
    kind = type(value)
    if kind.__module__.startswith("sklearn.neighbors.") and hasattr(value, "get_tree_stats"):
        # A search tree is made of its data; its state counts queries.
        return _hash("search tree", _array(np.asarray(value.data), parents))
    skorch = sys.modules.get("skorch")
    if skorch is not None and isinstance(value, skorch.NeuralNet):
        # Its state for a pickle is an archive of torch, with random bytes.
        return _hash("net", *_all((kind, vars(value)), parents))
    reduce = copyreg.dispatch_table.get(kind, lambda value: value.__reduce_ex__(4))
    try:
        reduced = reduce(value)
    except Exception as error:
        raise InputError(
            f"A {kind.__name__} inside the model cannot be read ({error}).", _REMEDY
        ) from None
    if isinstance(reduced, str):
        return _hash("name", f"{kind.__module__}:{reduced}".encode())
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    if isinstance(state, dict):
        state = {name: part for name, part in state.items() if name not in _IGNORED}
    return _hash(
        "object",
        *_all((make, arguments, state), parents),
        _digest(None if items is None else list(items), parents),
        _digest(None if pairs is None else dict(pairs), parents),
    )


def _array(array: np.ndarray[Any, Any], parents: set[int]) -> bytes:
    shape = repr(array.shape).encode()
    if array.dtype.names is not None:  # by fields: the bytes between them may be anything
        fields = [(name, array[name]) for name in array.dtype.names]
        return _hash("fields", shape, *_all(fields, parents))
    if array.dtype.hasobject:
        return _hash("objects", shape, *_all(array.ravel().tolist(), parents))
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return _hash("array", array.dtype.newbyteorder("<").str.encode(), shape, little.tobytes())


def _all(values: Iterable[Any], parents: set[int]) -> list[bytes]:
    return [_digest(value, parents) for value in values]


def weights_digest(module: torch.nn.Module) -> str:
    """Compute the SHA-256 of a torch module's state, for `Keyed`.

    Over "dynanoise/weights/v1" and, for each entry of ``state_dict`` in the order of the names, its
    name, dtype ("torch.float32"), shape ("2,3") and little-endian bytes, each of these behind its
    length in bytes (8 bytes, big-endian). So it does not depend on device, memory layout or
    machine; a model in another precision is another model.

    Args:
        module: a module with values, not on the "meta" device.

    Returns:
        64 hexadecimal digits.

    Raises:
        InputError: if an entry has no bytes to read: not a tensor, sparse, quantized or on "meta".

    >>> import torch
    >>> layer = torch.nn.Linear(1, 1)
    >>> _ = torch.nn.init.ones_(layer.weight), torch.nn.init.zeros_(layer.bias)
    >>> weights_digest(layer)[:16], weights_digest(layer.half())[:16]
    ('a6c485e172e8013e', '617e1634c0615582')
    """
    import torch

    digest = hashlib.sha256(b"dynanoise/weights/v1")
    state = module.state_dict()
    for name in sorted(state):
        value = state[name]
        if not isinstance(value, torch.Tensor) or not _has_values(value):
            raise InputError(
                f"{name!r} of the module's state is not a plain tensor with values.",
                "Pass a SHA-256 of your own, such as of the file of weights, to Keyed.",
            )
        for part in (name.encode(), *_tensor_parts(value)):
            digest.update(struct.pack(">Q", len(part)))
            digest.update(part)
    return digest.hexdigest()


def _has_values(tensor: torch.Tensor) -> bool:
    import torch

    return tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_meta)


def _tensor_parts(tensor: torch.Tensor) -> tuple[bytes, bytes, memoryview]:
    """Dtype, shape and values of a plain tensor."""
    shape = ",".join(map(str, tensor.shape))
    return str(tensor.dtype).encode(), shape.encode(), _bytes(tensor)


def _bytes(tensor: torch.Tensor) -> memoryview:
    """The values in C order, little-endian, copied only if they are stored otherwise."""
    import torch

    flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    raw = flat.view(torch.uint8).numpy()
    if sys.byteorder == "big":  # pragma: no cover
        size = flat.element_size() // (2 if flat.is_complex() else 1)
        raw = raw.reshape(-1, size)[:, ::-1].copy().reshape(-1)
    return memoryview(raw)  # type: ignore[arg-type]
