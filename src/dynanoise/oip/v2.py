"""Requests and answers of the Open Inference Protocol (version 2) over HTTP.

JSON, with or without the binary tensor extension: the header Inference-Header-Content-Length says
where the JSON ends and the tensors' bytes begin, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dynanoise.oip.faults import bad
from dynanoise.oip.tensors import (
    Tensor,
    check_counts,
    checked_id,
    checked_name,
    checked_shape,
    from_bytes,
    from_values,
    to_bytes,
    to_values,
)

HEADER = "Inference-Header-Content-Length"
EXTENSIONS = ("binary_tensor_data",)
_REFUSED = ("classification", "shared_memory_region", "sequence_id")
"""Parameters that would make the answer another thing than the defended tensor."""


@dataclass(frozen=True)
class Request:
    """What a client asks.

    Args:
        inputs: of the model.
        id: given back with the answer.
        outputs: names of those it wants; empty for all there are.
        binary: whether the answer goes out as bytes.
    """

    inputs: tuple[Tensor, ...]
    id: str | None = None
    outputs: tuple[str, ...] = ()
    binary: bool = False


def parsed(body: bytes, header: str | None) -> Request:
    """The request in a body.

    Args:
        body: JSON, and bytes behind it if there is a header.
        header: `Inference-Header-Content-Length`, or None.

    Raises:
        Refused: with 400, if it breaks the protocol.

    >>> asked = parsed(b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[2]}]}', None)
    >>> asked.inputs[0].values.tolist()
    [2.0]
    """
    said, rest = _split(body, header)
    parameters = _parameters(said, "The request")
    given = said.get("inputs")
    given = given if isinstance(given, list) else []
    check_counts(len(given), 0)
    tensors, start = [], 0
    for one in given:
        tensor, start = _tensor(one, rest, start, "input")
        tensors.append(tensor)
    if start != len(rest):
        raise bad("The request holds bytes behind its last tensor.")
    if len({one.name for one in tensors}) < len(tensors):
        raise bad("An input is given twice.")
    name = checked_id(said.get("id"))
    names, binary = _outputs(said.get("outputs"), parameters.get("binary_data_output") is True)
    return Request(tuple(tensors), name, names, binary)


def _split(body: bytes, header: str | None) -> tuple[dict[str, Any], bytes]:
    length = len(body)
    if header is not None:
        if not header.isascii() or not header.isdigit() or len(header) > 12:
            raise bad(f"{HEADER} is no length.")
        length = int(header)
        if length > len(body):
            raise bad(f"{HEADER} is longer than the body.")
    try:
        said = orjson.loads(body[:length])
    except orjson.JSONDecodeError:  # its message quotes the body
        raise bad("The body is no valid JSON.") from None
    if not isinstance(said, dict):
        raise bad("The body must be a JSON object.")
    return said, body[length:]


def _parameters(of: dict[str, Any], what: str) -> dict[str, Any]:
    found = of.get("parameters")
    if found is None:  # pydantic's servers and clients write null for what is not there
        return {}
    if not isinstance(found, dict):
        raise bad(f"{what} has parameters that are no JSON object.")
    for name in _REFUSED:
        if name in found:
            raise bad(f"{what} asks for {name}, which is not served.")
    return found


def _tensor(one: Any, rest: bytes, start: int, what: str) -> tuple[Tensor, int]:
    if not isinstance(one, dict):
        raise bad(f"An {what} is no JSON object.")
    name = checked_name(one.get("name"), what)
    shape = checked_shape(name, one.get("shape"))
    size = _parameters(one, f"{what.capitalize()} {name!r}").get("binary_data_size")
    if size is None:
        if one.get("data") is None:
            raise bad(f"{what.capitalize()} {name!r} has no data.")
        return from_values(name, one.get("datatype"), shape, one["data"]), start
    if (
        one.get("data") is not None
        or isinstance(size, bool)
        or not isinstance(size, int)
        or size < 0
    ):
        raise bad(f"{what.capitalize()} {name!r} has an unusable binary_data_size.")
    if start + size > len(rest):
        raise bad(f"{what.capitalize()} {name!r} is longer than what is left of the body.")
    raw = rest[start : start + size]
    return from_bytes(name, one.get("datatype"), shape, raw), start + size


def _outputs(given: Any, binary: bool) -> tuple[tuple[str, ...], bool]:
    if given is None:
        return (), binary
    if not isinstance(given, list):
        raise bad("outputs must be a list.")
    check_counts(1, len(given))
    names = []
    for one in given:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise bad("An output has no name.")
        wanted = _parameters(one, "An output").get("binary_data", binary)
        if not isinstance(wanted, bool):
            raise bad("binary_data must be true or false.")
        binary = wanted
        names.append(one["name"])
    return tuple(names), binary


def written(
    tensors: Sequence[Tensor], head: dict[str, Any], key: str, binary: bool
) -> tuple[bytes, dict[str, str]]:
    """A body with tensors, and its headers.

    Args:
        tensors: the answer, or a request's inputs.
        head: what else the JSON holds.
        key: "outputs" or "inputs".
        binary: whether values travel as bytes.
    """
    listed: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for tensor in tensors:
        said: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.values.shape),
        }
        if binary:
            raw.append(to_bytes(tensor.values))
            said["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            said["data"] = to_values(tensor.values)
        listed.append(said)
    text = orjson.dumps({**head, key: listed}, option=orjson.OPT_SERIALIZE_NUMPY)
    if not binary:
        return text, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER: str(len(text))}
    return b"".join([text, *raw]), headers


@dataclass(frozen=True)
class Answer:
    """What an upstream server says: its outputs, and of which version."""

    outputs: tuple[Tensor, ...]
    version: str | None


def answered(body: bytes, header: str | None) -> Answer:
    """The outputs in a server's answer.

    Raises:
        Refused: if it is no answer of the protocol, or holds values that are not finite.
    """
    said, rest = _split(body, header)
    given = said.get("outputs")
    if not isinstance(given, list) or not given:
        raise bad("There are no outputs.")
    tensors, start = [], 0
    for one in given:
        tensor, start = _tensor(one, rest, start, "output")
        tensors.append(tensor)
    version = said.get("model_version")
    return Answer(tuple(tensors), version if isinstance(version, str) and version else None)
