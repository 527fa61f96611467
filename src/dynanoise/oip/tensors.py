"""Tensors of the Open Inference Protocol: names, data types, values in JSON and as bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

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

_PACKED = {
    **dict.fromkeys(("INT8", "INT16", "INT32", "INT64", "UINT64"), 10),
    "UINT8": 2,
    "UINT16": 3,
    "UINT32": 5,
}
"""Most bytes of a value in a message of gRPC, where they are more than in a binary tensor."""

MOST = 64
"""Most tensors in one request."""

_LONGEST = 256
"""Most characters of a name or an id."""

_DEEPEST = 16
"""Most axes of a tensor."""

_LARGEST = 2**48
"""Most values of a shape, leaving out lengths of 0: NumPy's own limit is near."""

_VALUES: dict[str, set[type]] = {
    "b": {bool},
    "i": {int},
    "u": {int},
    "f": {int, float},
    "O": {str, bytes},
}
"""Types of JSON values by kind of tensor."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named array and its data type in the protocol's terms; BYTES are objects of `bytes`."""

    name: str
    datatype: str
    values: Array


@dataclass(frozen=True)
class Spec:
    """Specification of an input or output of a model.

    Args:
        name: name of the tensor.
        datatype: a name of `DTYPES`, or another that only some servers know.
        shape: lengths of the axes; -1 stands for any length.
        missing: whether NaN may stand for a missing value; True where its server alone knows.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    missing: bool = True

    def accepts(self, datatype: str, shape: Sequence[int]) -> bool:
        """Whether an array of that type and shape fits.

        >>> Spec("x", "FP32", (-1, 3)).accepts("FP32", (5, 3))
        True
        """
        same = datatype == self.datatype and len(shape) == len(self.shape)
        return same and all(
            expected in (-1, length) for expected, length in zip(self.shape, shape, strict=True)
        )

    def metadata(self) -> dict[str, Any]:
        """The specification as in the model's metadata."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


def check_counts(inputs: int, outputs: int) -> None:
    """Refuse a request without an input, or with more than 64 inputs or outputs."""
    if not 0 < inputs <= MOST:
        raise bad(f"The request needs a list of inputs, at most {MOST}.")
    if outputs > MOST:
        raise bad(f"outputs must be a list of at most {MOST}.")


def check_name(name: Any, what: str = "input") -> str:
    """Check the name of an input or output.

    Raises:
        Refused: unless it is text of 1 to 256 characters.
    """
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST:
        raise bad(f"An {what} has no name of at most {_LONGEST} characters.")
    return name


def check_id(request_id: Any) -> str | None:
    """Check the id of a request, None if it has none.

    Raises:
        Refused: unless it is text of at most 256 characters.
    """
    if request_id is not None and (not isinstance(request_id, str) or len(request_id) > _LONGEST):
        raise bad(f"The id must be text of at most {_LONGEST} characters.")
    return request_id


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Check the shape of a tensor: a list of integers of at least 0.

    Raises:
        Refused: for anything else, more than 16 axes, or more values than any tensor has.
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


def from_values(
    name: str, datatype: Any, shape: tuple[int, ...], data: Any, *, missing: bool = True
) -> Tensor:
    """Make a tensor from lists, flat or nested, in row-major order.

    Args:
        name: name of the tensor.
        datatype: a name of `DTYPES`.
        shape: lengths of the axes.
        data: the values.
        missing: whether null and NaN stand for missing floating-point numbers.

    Raises:
        Refused: if the values are of another type or number, do not fit into the type, or are
            infinite or, without ``missing``, NaN.

    >>> from_values("x", "FP32", (2, 1), [None, 2.5]).values.tolist()
    [[nan], [2.5]]
    """
    dtype = _dtype(name, datatype)
    flat = _flat(name, data, math.prod(shape))
    kinds = set(map(type, flat))
    if missing and dtype.kind == "f":
        kinds.discard(type(None))  # NumPy makes NaN of it
    if not kinds <= _VALUES[dtype.kind]:
        raise bad(f"The data of input {name!r} are not all of its datatype.")
    if len(flat) != math.prod(shape):
        raise bad(
            f"Input {name!r} holds {len(flat)} values, and its shape {list(shape)} needs "
            f"{math.prod(shape)}."
        )
    values = _array(name, dtype, flat).reshape(shape)
    return Tensor(name, datatype, _finite(name, values, missing))


def _flat(name: str, data: Any, most: int) -> list[Any]:
    """Flatten lists in lists, those of one level all of one length.

    NumPy would check that, too, but makes arrays thousands of times as large of some data: so the
    values are counted first, and are of one kind.
    """
    if not isinstance(data, list):
        raise bad(f"The data of input {name!r} are not a list.")
    level = data
    for _ in range(_DEEPEST + 1):
        if len(level) > most:
            raise bad(f"Input {name!r} holds more values than its shape has room for.")
        if not level or type(level[0]) is not list:
            return level
        length = len(level[0])
        if not all(type(row) is list and len(row) == length for row in level):
            raise bad(f"The data of input {name!r} are not a regular array.")
        level = list(chain.from_iterable(level))
    raise bad(f"The data of input {name!r} are nested deeper than {_DEEPEST} lists.")


def _array(name: str, dtype: np.dtype[Any], flat: list[Any]) -> Array:
    if dtype.kind == "O":
        values = np.empty(len(flat), object)
        values[:] = [text.encode() if isinstance(text, str) else text for text in flat]
        return values
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond the type is infinite, and refused as such
            return np.array(flat, np.float64).astype(dtype)
    try:
        return np.array(flat, dtype)
    except OverflowError:
        raise bad(f"Input {name!r} holds integers beyond its datatype.") from None


def from_bytes(
    name: str, datatype: Any, shape: tuple[int, ...], raw: bytes, *, missing: bool = True
) -> Tensor:
    """Make a tensor from bytes, little-endian, in row-major order.

    Args:
        name: name of the tensor.
        datatype: a name of `DTYPES`.
        shape: lengths of the axes.
        raw: the values.
        missing: whether NaN stands for missing floating-point numbers.

    Raises:
        Refused: if there are too many or too few values, or they are infinite or, without
            ``missing``, NaN.

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
    return Tensor(name, datatype, _finite(name, values.reshape(shape), missing))


def _texts(name: str, raw: bytes) -> Array:
    from tritonclient.utils import deserialize_bytes_tensor

    try:
        texts: Array = deserialize_bytes_tensor(raw)
    except Exception:  # of struct, for lengths that do not fit
        raise bad(f"Input {name!r} is of BYTES and is cut short.") from None
    return texts


def _finite(name: str, values: Array, missing: bool) -> Array:
    if values.dtype.kind == "f":
        infinite = np.isinf(values) if missing else ~np.isfinite(values)
        if infinite.any():
            raise bad(f"Input {name!r} holds values that are not finite.")
    return values


def to_bytes(values: Array) -> bytes:
    """Write values as bytes.

    >>> to_bytes(np.array([1.0], np.float32)).hex()
    '0000803f'
    """
    if values.dtype.kind == "O":
        from tritonclient.utils import serialize_byte_tensor

        packed = serialize_byte_tensor(values)
        return bytes(packed.item()) if packed.size else b""
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()


def to_values(values: Array) -> Any:
    """Convert values for JSON: a flat array that orjson writes, or a list of text.

    Raises:
        Refused: if BYTES are not text in UTF-8.
    """
    if values.dtype.kind == "O":
        try:
            return [text.decode() for text in values.ravel()]
        except UnicodeDecodeError:
            raise bad("BYTES that are not UTF-8 can only be passed on in binary.") from None
    if values.dtype == np.float16:
        return values.ravel().astype(np.float32)
    return np.ascontiguousarray(values.ravel())


class Size(NamedTuple):
    """Size of a request, counted in its bytes before they are parsed.

    Attributes:
        values: number of values in JSON, with some names among them.
        lists: number of lists and objects in JSON.
        raw: number of bytes of binary tensors.
        packed: number of bytes of a message of gRPC, in which a whole number may take more bytes
            than in a binary tensor.
    """

    values: int = 0
    lists: int = 0
    raw: int = 0
    packed: int = 0


def measure(body: bytes, json_bytes: int | None = None) -> Size:
    """Count the values, lists and binary bytes of a body.

    Args:
        body: JSON, and perhaps binary tensors behind it.
        json_bytes: length of the JSON; None for all.

    >>> measure(b'{"instances": [[1, 2], [3, 4]]}')
    Size(values=4, lists=4, raw=0, packed=0)
    """
    end = len(body) if json_bytes is None else min(json_bytes, len(body))
    lists = body.count(b"[", 0, end) + body.count(b"{", 0, end)
    return Size(body.count(b",", 0, end) + 1, lists, len(body) - end)


@dataclass(frozen=True)
class Description:
    """Metadata of a model.

    Args:
        inputs: specifications of its inputs; empty if its server does not list them.
        output: the output to defend; None if its server does not list outputs.
        platform: in the protocol's terms, such as "onnxruntime_onnx".
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
        batched = any(spec.shape[:1] == (-1,) for spec in self.inputs)
        return batched and self.output is not None and self.output.shape[:1] == (-1,)

    @property
    def record(self) -> Size | None:
        """Size of one record, or of a request where their number is fixed; None if it is not fixed.

        >>> Description((Spec("x", "FP32", (-1, 3, 2)),), None, "").record
        Size(values=6, lists=5, raw=24, packed=24)
        """
        if any(spec.datatype == "BYTES" for spec in self.inputs):
            return None
        return self.layout

    @cached_property
    def layout(self) -> Size | None:
        """Size of one record as in `record`, in which texts are values without bytes."""
        values = lists = raw = packed = 0
        for spec in self.inputs:
            lengths = spec.shape[1:] if spec.shape[:1] == (-1,) else spec.shape
            if spec.datatype not in DTYPES or -1 in lengths:
                return None
            count = math.prod(lengths)
            values += count
            # A list for each axis but the last, and an object.
            lists += 1 + sum(math.prod(lengths[:axis]) for axis in range(len(lengths)))
            if spec.datatype != "BYTES":
                size = np.dtype(DTYPES[spec.datatype]).itemsize
                raw += count * size
                packed += count * _PACKED.get(spec.datatype, size)
        return Size(values, lists, raw, packed) if values else None
