"""Tensors of the Open Inference Protocol: names, data types, and their two ways of travelling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.oip.faults import bad

Array = npt.NDArray[Any]

DTYPES: dict[str, npt.DTypeLike] = {
    "BOOL": np.bool_,
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BYTES": np.object_,
}

_MOST = 64
"""Tensors in one request."""

_LONGEST = 256
"""Characters of a name or an id."""

_DEEPEST = 16
"""Axes a tensor may have."""

_LARGEST = 2**48
"""Values that a shape may have room for, leaving out lengths of 0: NumPy's own limit is near."""

_VALUES: dict[str, set[type]] = {
    "b": {bool},
    "i": {int},
    "u": {int},
    "f": {int, float},
    "O": {str, bytes},
}
"""Which values may stand for a kind of tensor."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named array and its data type in the protocol's words; BYTES are objects of `bytes`."""

    name: str
    datatype: str
    values: Array


@dataclass(frozen=True)
class Spec:
    """What a model takes or gives.

    Args:
        name: of the tensor.
        datatype: a name of `DTYPES`, or another that only some servers know.
        shape: -1 stands for any length.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def accepts(self, datatype: str, shape: Sequence[int]) -> bool:
        """Whether an array of that type and shape is one of these.

        >>> Spec("x", "FP32", (-1, 3)).accepts("FP32", (5, 3))
        True
        """
        same = datatype == self.datatype and len(shape) == len(self.shape)
        return same and all(
            asked in (-1, given) for asked, given in zip(self.shape, shape, strict=True)
        )

    def said(self) -> dict[str, Any]:
        """As metadata."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


def check_counts(inputs: int, outputs: int) -> None:
    """Refuses a request without an input, or with more than 64 inputs or outputs."""
    if not 0 < inputs <= _MOST:
        raise bad(f"The request needs a list of inputs, at most {_MOST}.")
    if outputs > _MOST:
        raise bad(f"outputs must be a list of at most {_MOST}.")


def checked_name(name: Any, what: str = "input") -> str:
    """A name from a request, or "output" of an answer.

    Raises:
        Refused: if it is no text of 1 to 256 characters.
    """
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST:
        raise bad(f"An {what} has no name of at most {_LONGEST} characters.")
    return name


def checked_id(said: Any) -> str | None:
    """The id of a request, None if it has none.

    Raises:
        Refused: if it is no text of at most 256 characters.
    """
    if said is not None and (not isinstance(said, str) or len(said) > _LONGEST):
        raise bad(f"The id must be text of at most {_LONGEST} characters.")
    return said


def checked_shape(name: str, shape: Any) -> tuple[int, ...]:
    """A shape from a request, all of its lengths at least 0.

    Raises:
        Refused: if it is none, has more than 16 axes, or is larger than any tensor.
    """
    if not isinstance(shape, list | tuple) or len(shape) > _DEEPEST:
        raise bad(f"The shape of input {name!r} must be a list of at most {_DEEPEST} lengths.")
    for length in shape:
        if isinstance(length, bool) or not isinstance(length, int) or not 0 <= length < 2**40:
            raise bad(f"The shape of input {name!r} must hold integers of at least 0.")
    if math.prod(length for length in shape if length) > _LARGEST:
        raise bad(f"The shape of input {name!r} is too large.")
    return tuple(shape)


def _dtype(name: str, datatype: Any) -> np.dtype[Any]:
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise bad(f"Input {name!r} needs a datatype out of {', '.join(DTYPES)}.")
    return np.dtype(DTYPES[datatype])


def from_values(name: str, datatype: Any, shape: tuple[int, ...], data: Any) -> Tensor:
    """A tensor whose values came as JSON or as lists, flat or nested, in row-major order.

    Raises:
        Refused: if they are of another type or count, do not fit into the type, or are not finite.

    >>> from_values("x", "FP32", (2, 1), [1, 2.5]).values.tolist()
    [[1.0], [2.5]]
    """
    dtype = _dtype(name, datatype)
    flat = _flat(name, data, math.prod(shape))
    if not set(map(type, flat)) <= _VALUES[dtype.kind]:
        raise bad(f"The data of input {name!r} are not all of its datatype.")
    if len(flat) != math.prod(shape):
        raise bad(
            f"Input {name!r} holds {len(flat)} values, and its shape {list(shape)} needs "
            f"{math.prod(shape)}."
        )
    return Tensor(name, datatype, _finite(name, _array(name, dtype, flat).reshape(shape)))


def _flat(name: str, data: Any, most: int) -> list[Any]:
    """The values of lists in lists, those of one level all of one length.

    NumPy would find out, too, but of some data makes arrays that are thousands of times as large:
    what it gets has been counted, and is of one kind.
    """
    if not isinstance(data, list):
        raise bad(f"The data of input {name!r} are no list.")
    level = data
    for _ in range(_DEEPEST + 1):
        if len(level) > most:
            raise bad(f"Input {name!r} holds more values than its shape has room for.")
        if not level or type(level[0]) is not list:
            return level
        length = len(level[0])
        if not all(type(one) is list and len(one) == length for one in level):
            raise bad(f"The data of input {name!r} are no regular array.")
        level = list(chain.from_iterable(level))
    raise bad(f"The data of input {name!r} are nested deeper than {_DEEPEST} lists.")


def _array(name: str, dtype: np.dtype[Any], flat: list[Any]) -> Array:
    if dtype.kind == "O":
        values = np.empty(len(flat), object)
        values[:] = [one.encode() if isinstance(one, str) else one for one in flat]
        return values
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond the type is infinite, and refused as such
            return np.array(flat, np.float64).astype(dtype)
    try:
        return np.array(flat, dtype)
    except OverflowError:
        raise bad(f"Input {name!r} holds integers beyond its datatype.") from None


def from_bytes(name: str, datatype: Any, shape: tuple[int, ...], raw: bytes) -> Tensor:
    """A tensor whose values came as bytes, little-endian, in row-major order.

    Raises:
        Refused: if there are too many or too few, or they are not finite.

    >>> from_bytes("x", "INT16", (1, 2), bytes([1, 0, 0, 1])).values.tolist()
    [[1, 256]]
    """
    dtype = _dtype(name, datatype)
    if dtype.kind == "O":
        values = _texts(name, raw)
        if values.size != math.prod(shape):
            raise bad(f"Input {name!r} holds {values.size} texts, not {math.prod(shape)}.")
    else:
        if len(raw) != math.prod(shape) * dtype.itemsize:
            raise bad(
                f"Input {name!r} holds {len(raw)} bytes, and its shape {list(shape)} of "
                f"{datatype} needs {math.prod(shape) * dtype.itemsize}."
            )
        if dtype.kind == "b" and raw.strip(b"\0\1"):
            raise bad(f"Input {name!r} is of BOOL and holds other bytes than 0 and 1.")
        values = np.frombuffer(raw, dtype)
    return Tensor(name, datatype, _finite(name, values.reshape(shape)))


def _texts(name: str, raw: bytes) -> Array:
    from tritonclient.utils import deserialize_bytes_tensor

    try:
        found: Array = deserialize_bytes_tensor(raw)
    except Exception:  # of struct, for lengths that do not fit
        raise bad(f"Input {name!r} is of BYTES and is cut short.") from None
    return found


def _finite(name: str, values: Array) -> Array:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise bad(f"Input {name!r} holds values that are not finite.")
    return values


def to_bytes(values: Array) -> bytes:
    """The values as they travel in binary.

    >>> to_bytes(np.array([1.0], np.float32)).hex()
    '0000803f'
    """
    if values.dtype.kind == "O":
        from tritonclient.utils import serialize_byte_tensor

        packed = serialize_byte_tensor(values)
        return bytes(packed.item()) if packed.size else b""
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()


def to_values(values: Array) -> Any:
    """The values as they travel in JSON, flat: an array that orjson writes, or a list of text.

    Raises:
        Refused: if bytes are no text.
    """
    if values.dtype.kind == "O":
        try:
            return [one.decode() for one in values.ravel()]
        except UnicodeDecodeError:
            raise bad("BYTES that are no UTF-8 can only be passed on in binary.") from None
    if values.dtype == np.float16:
        return values.ravel().astype(np.float32)
    return np.ascontiguousarray(values.ravel())


@dataclass(frozen=True)
class Description:
    """A model's metadata.

    Args:
        inputs: what it takes; empty if its server does not say.
        output: the tensor that is defended; None if its server does not say.
        platform: in the protocol's words, such as "onnxruntime_onnx".
    """

    inputs: tuple[Spec, ...]
    output: Spec | None
    platform: str

    @property
    def batched(self) -> bool:
        """Whether the first axis of an input, and that of the output, count records.

        >>> Description((Spec("x", "FP32", (-1, 3)),), Spec("y", "FP32", (-1, 2)), "").batched
        True
        """
        several = any(one.shape[:1] == (-1,) for one in self.inputs)
        return several and self.output is not None and self.output.shape[:1] == (-1,)
