"""Requests and responses of the Open Inference Protocol (version 2) over HTTP.

JSON, with or without the binary tensor extension: the header Inference-Header-Content-Length says
where the JSON ends and the tensors' bytes begin, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dynanoise.oip.faults import bad, invalid_json
from dynanoise.oip.tensors import (
    Tensor,
    check_counts,
    check_id,
    check_name,
    check_shape,
    from_bytes,
    from_values,
    to_bytes,
    to_values,
)

HEADER = "Inference-Header-Content-Length"
EXTENSIONS = ("binary_tensor_data",)
_REFUSED = ("classification", "shared_memory_region", "sequence_id")
"""Parameters that would turn the response into something else than the defended tensor."""


@dataclass(frozen=True)
class Request:
    """A request of a client.

    Args:
        inputs: tensors.
        id: returned with the response.
        outputs: names of the requested outputs; empty for all.
        binary: whether the response has its values as bytes.
    """

    inputs: tuple[Tensor, ...]
    id: str | None = None
    outputs: tuple[str, ...] = ()
    binary: bool = False


def parse_request(body: bytes, header: str | None) -> Request:
    """Parse a request.

    Args:
        body: JSON, and bytes behind it if there is a header.
        header: `Inference-Header-Content-Length`, or None.

    Raises:
        Refused: with 400, if it breaks the protocol.

    >>> body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[2]}]}'
    >>> parse_request(body, None).inputs[0].values.tolist()
    [2.0]
    """
    content, rest = _split(body, header)
    parameters = _parameters(content, "The request")
    inputs = content.get("inputs")
    inputs = inputs if isinstance(inputs, list) else []
    check_counts(len(inputs), 0)
    tensors, end = _tensors(inputs, rest, "input")
    if end != len(rest):
        raise bad("The request holds bytes behind its last tensor.")
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise bad("An input is given twice.")
    request_id = check_id(content.get("id"))
    names, binary = _outputs(content.get("outputs"), parameters.get("binary_data_output") is True)
    return Request(tensors, request_id, names, binary)


def _tensors(items: Sequence[Any], rest: bytes, what: str) -> tuple[tuple[Tensor, ...], int]:
    """The tensors, and where their bytes end."""
    tensors, start = [], 0
    for item in items:
        tensor, start = _tensor(item, rest, start, what)
        tensors.append(tensor)
    return tuple(tensors), start


def json_bytes(header: str | None) -> int | None:
    """Length of the JSON in a body with `Inference-Header-Content-Length`; None without it.

    Raises:
        Refused: if the header is not a length.
    """
    if header is None:
        return None
    if not header.isascii() or not header.isdigit() or len(header) > 12:
        raise bad(f"{HEADER} is not a length.")
    return int(header)


def _split(body: bytes, header: str | None) -> tuple[dict[str, Any], bytes]:
    length = json_bytes(header)
    if length is None:
        length = len(body)
    elif length > len(body):
        raise bad(f"{HEADER} is longer than the body.")
    try:
        content = orjson.loads(body[:length])
    except orjson.JSONDecodeError:  # its message quotes the body
        raise invalid_json(body[:length]) from None
    if not isinstance(content, dict):
        raise bad("The body must be a JSON object.")
    return content, body[length:]


def _parameters(item: dict[str, Any], what: str) -> dict[str, Any]:
    parameters = item.get("parameters")
    if parameters is None:  # pydantic's servers and clients write null for missing values
        return {}
    if not isinstance(parameters, dict):
        raise bad(f"{what} has parameters that are not a JSON object.")
    for name in _REFUSED:
        if name in parameters:
            raise bad(f"{what} asks for {name}, which is not served.")
    return parameters


def _tensor(item: Any, rest: bytes, start: int, what: str) -> tuple[Tensor, int]:
    missing = what == "input"  # outputs have no missing values
    if not isinstance(item, dict):
        raise bad(f"An {what} is not a JSON object.")
    name = check_name(item.get("name"), what)
    shape = check_shape(name, item.get("shape"))
    size = _parameters(item, f"{what.capitalize()} {name!r}").get("binary_data_size")
    if size is None:
        if item.get("data") is None:
            raise bad(f"{what.capitalize()} {name!r} has no data.")
        data = item["data"]
        return from_values(name, item.get("datatype"), shape, data, missing=missing), start
    if (
        item.get("data") is not None
        or isinstance(size, bool)
        or not isinstance(size, int)
        or size < 0
    ):
        raise bad(f"{what.capitalize()} {name!r} has an unusable binary_data_size.")
    if start + size > len(rest):
        raise bad(f"{what.capitalize()} {name!r} is longer than what is left of the body.")
    raw = rest[start : start + size]
    return from_bytes(name, item.get("datatype"), shape, raw, missing=missing), start + size


def _outputs(items: Any, binary: bool) -> tuple[tuple[str, ...], bool]:
    """Names of the requested outputs, and whether they are requested as bytes."""
    if items is None:
        return (), binary
    if not isinstance(items, list):
        raise bad("outputs must be a list.")
    check_counts(1, len(items))
    names = []
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise bad("An output has no name.")
        binary = _parameters(item, "An output").get("binary_data", binary)
        if not isinstance(binary, bool):
            raise bad("binary_data must be true or false.")
        names.append(item["name"])
    return tuple(names), binary


def write(
    tensors: Sequence[Tensor], head: dict[str, Any], key: str, binary: bool
) -> tuple[bytes, dict[str, str]]:
    """Write a request or a response.

    Args:
        tensors: inputs of a request, or outputs of a response.
        head: other entries of the JSON object.
        key: "inputs" or "outputs".
        binary: whether values travel as bytes.

    Returns:
        The body and its headers.
    """
    items: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for tensor in tensors:
        item: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.values.shape),
        }
        if binary:
            raw.append(to_bytes(tensor.values))
            item["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            item["data"] = to_values(tensor.values)
        items.append(item)
    text = orjson.dumps({**head, key: items}, option=orjson.OPT_SERIALIZE_NUMPY)
    if not binary:
        return text, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER: str(len(text))}
    return b"".join([text, *raw]), headers


@dataclass(frozen=True)
class Response:
    """A response of a server: its outputs, and the model's version if it names one."""

    outputs: tuple[Tensor, ...]
    version: str | None


def parse_response(body: bytes, header: str | None) -> Response:
    """Parse a server's response.

    Args:
        body: JSON, and bytes behind it if there is a header.
        header: `Inference-Header-Content-Length`, or None.

    Raises:
        Refused: if it breaks the protocol, or holds values that are not finite.
    """
    content, rest = _split(body, header)
    items = content.get("outputs")
    if not isinstance(items, list) or not items:
        raise bad("There are no outputs.")
    tensors, _ = _tensors(items, rest, "output")
    version = content.get("model_version")
    return Response(tensors, version if isinstance(version, str) and version else None)
