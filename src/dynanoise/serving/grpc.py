"""The gateway over gRPC: the inference calls of the protocol, and no others.

Messages are those of the protocol's published definition, from the package tritonclient. Its
further calls, such as loading a model, sharing memory or tracing, do not exist here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import version
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from tritonclient.grpc import service_pb2 as messages

from dynanoise.oip.faults import Refused, bad
from dynanoise.oip.tensors import (
    MOST,
    Size,
    Tensor,
    check_counts,
    check_id,
    check_name,
    check_shape,
    from_bytes,
    from_values,
    to_bytes,
)
from dynanoise.oip.v2 import Request
from dynanoise.serving.gateway import Gateway, Limits
from dynanoise.serving.logs import log
from dynanoise.serving.tracing import RPC_STATUS, End
from dynanoise.serving.turns import Turns

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}

_CLIENT_LEFT = 499
"""Status in metrics for a client that left before the response; HTTP has none."""

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

_REFUSED = ("classification", "shared_memory_region", "sequence_id")

_MODEL_NAME, _MODEL_VERSION, _INPUTS, _OUTPUTS, _RAW = 1, 2, 5, 6, 7
"""Numbers of fields of ModelInferRequest."""

_VARINT, _BYTES, _FIXED = 0, 2, {1: 8, 5: 4}
"""Kinds of fields in Protocol Buffers; the lengths of those that are fixed."""

_ARRIVING = 128 << 20
"""Bytes of messages that may arrive at the same time."""

_ROOM_SECONDS = 1.0
"""Time for which a call waits for the end of others that arrive."""

_HEALTH = 4
"""Messages to Check that may arrive at the same time, of clients without a key."""

_HEALTH_SECONDS = 1.0
"""Time for such a message to arrive."""

_SERVICE = "inference.GRPCInferenceService"

_HANDSHAKE = 5.0
"""Seconds in which a connection must begin to speak gRPC."""

_IDLE = 60.0
"""Seconds after which a connection without calls is closed."""

_AGE = 300.0
"""Seconds after which a connection is replaced, which clients do by themselves. Calls whose client
takes no response end with it, and in no other way."""

_GRACE = 5.0
"""Seconds beyond those of a query that calls have after this age."""

_STREAMS = 128
"""Most calls of one connection at the same time."""

_Call = Callable[[Any, str, dict[str, str]], Awaitable[Any]]


def server(gateway: Gateway, connections: int = 1 << 14, share: bool = False) -> Any:
    """Make a gRPC server without a port.

    Args:
        gateway: the gateway.
        connections: largest number of connections; further ones are closed.
        share: whether other processes listen at the same port.
    """
    calls, most = _Calls(gateway), max_messages(gateway.limits)
    room = Turns(most, connections, _ROOM_SECONDS, gateway.share(most))
    checking = asyncio.Semaphore(_HEALTH)
    handlers = {
        # To clients one message each way. A server of such calls would run only when the message
        # is complete, and so could neither authenticate before nor limit the time.
        name: grpc.stream_stream_rpc_method_handler(
            _handler(gateway, name, call, None if public else room),
            response_serializer=getattr(messages, f"{name}Response").SerializeToString,
        )
        for name, call, public in (
            ("ServerLive", calls.live, True),
            ("ServerReady", calls.ready, True),
            ("ServerMetadata", calls.server, False),
            ("ModelReady", calls.model_ready, False),
            ("ModelMetadata", calls.metadata, False),
            ("ModelInfer", calls.infer, False),
        )
    }
    rpc = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", gateway.limits.body),
            ("grpc.so_reuseport", int(share)),
            ("grpc.max_allowed_incoming_connections", connections),
            ("grpc.server_handshake_timeout_ms", round(1000 * _HANDSHAKE)),
            ("grpc.max_connection_idle_ms", round(1000 * _IDLE)),
            ("grpc.max_concurrent_streams", _STREAMS),
            # Without the probe a connection may send 64 KiB that no call waits for, with it MiBs.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.max_connection_age_ms", round(1000 * _AGE)),
            ("grpc.max_connection_age_grace_ms", round(1000 * (gateway.limits.seconds + _GRACE))),
        ),
        # No limit for all calls together: a client without a key could use it up.
    )
    service = grpc.method_handlers_generic_handler(_SERVICE, handlers)
    # Its Watch is left out: a stream that a client without a key could hold for ever.
    check = grpc.stream_stream_rpc_method_handler(
        _handler(gateway, "Check", calls.check, checking),
        response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
    )
    health = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})
    rpc.add_generic_rpc_handlers((service, health))
    return rpc


def max_messages(limits: Limits) -> int:
    """Messages of clients that may arrive at the same time: 128 MiB of the largest, at least 8.

    gRPC does not announce the size of a message, and holds the part of it that has arrived.

    >>> max_messages(Limits(body=16 << 20)), max_messages(Limits(body=64 << 10))
    (8, 256)
    """
    return min(4 * limits.at_once, max(8, _ARRIVING // limits.body))


def _handler(
    gateway: Gateway, name: str, call: _Call, room: Turns | asyncio.Semaphore | None
) -> Any:
    """Handle a call: of clients by turns, of probes with a place for their message, or without."""
    kind = getattr(messages, f"{name}Request", None)
    span = f"{_SERVICE}/ModelInfer" if name == "ModelInfer" else None

    async def respond(stream: Any, context: Any) -> None:
        headers = dict(context.invocation_metadata() or ())
        with gateway.tracing.request(span, headers.get("traceparent")) as end:
            await handle(context, headers, end)

    async def handle(context: Any, headers: dict[str, str], end: End) -> None:
        started, client = time.perf_counter(), None
        try:
            request: Any = None  # of other public calls it says nothing, and is not waited for
            if isinstance(room, Turns):
                client = gateway.authenticate(
                    headers.get("authorization"), headers.get("x-api-key")
                )
                async with room.take(client):
                    body = await _receive(context, gateway.limits.seconds)
                # A query is charged before it is parsed.
                request = body if name == "ModelInfer" else _parse(kind, body)
            elif room is not None:
                request = await _receive_check(context, room)
            response = await call(request, client or "", headers)
        except Refused as error:
            # A traceback holds this frame, and so the message until a garbage collection.
            refused = error.with_traceback(None)
        except asyncio.CancelledError:
            gateway.metrics.requests.labels(f"grpc_{name}", _CLIENT_LEFT).inc()
            log("cancelled", route=name, client=client)
            raise
        except Exception as error:  # its text may quote values
            log("failed", logging.ERROR, route=name, exception=type(error).__name__)
            refused = Refused(500, "internal", "The gateway failed.")
        else:
            gateway.metrics.requests.labels(f"grpc_{name}", 200).inc()
            if name == "ModelInfer":
                milliseconds = round(1000 * (time.perf_counter() - started), 2)
                log("answered", route=name, client=client, milliseconds=milliseconds)
            end(RPC_STATUS, 0, False)
            await context.write(response)
            return
        gateway.metrics.requests.labels(f"grpc_{name}", refused.status).inc()
        gateway.metrics.count_refusal(refused.reason)
        log("refused", route=name, client=client, status=refused.status, reason=refused.reason)
        trailing: tuple[tuple[str, str], ...] = ()
        if refused.retry_after is not None:
            wait = str(max(1, round(1000 * refused.retry_after)))
            trailing = (("grpc-retry-pushback-ms", wait),)
        code = _CODES[refused.status]
        end(RPC_STATUS, code.value[0], refused.status >= 500)
        await context.abort(code, str(refused), trailing)

    return respond


async def _receive(context: Any, seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            body = await context.read()
    except TimeoutError:
        raise bad("The request did not arrive in time.") from None
    if not isinstance(body, bytes):  # the end of an empty stream
        raise bad("The request was cut short.")
    return body


async def _receive_check(context: Any, room: asyncio.Semaphore) -> Any:
    """Receive the message of a probe; one that does not come counts as one for the whole server.

    Without a key a client may send as much as a query, and hold what arrives: so few at once, and
    others are responded to without their message, so that no probe ever waits for a place.
    """
    if room.locked():
        return health_pb2.HealthCheckRequest()
    async with room:
        try:
            async with asyncio.timeout(_HEALTH_SECONDS):
                body = await context.read()
        except TimeoutError:
            return health_pb2.HealthCheckRequest()
    kind = health_pb2.HealthCheckRequest
    return _parse(kind, body) if isinstance(body, bytes) else kind()


def _parse(kind: Any, body: bytes) -> Any:
    # Here and not by grpc, whose text about an unreadable message may quote it.
    try:
        return kind.FromString(body)
    except DecodeError:
        raise _unreadable() from None


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Find the outer fields of a message.

    Returns:
        The number of each field and its bytes, none for a field of numbers.

    Raises:
        Refused: with 400, if it is not a message of the protocol, which has no groups.

    >>> message = memoryview(bytes([10, 1, 109, 16, 7]))
    >>> [(number, bytes(content)) for number, content in _fields(message)]
    [(1, b'm'), (2, b'')]
    """
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        start, kind = place, tag & 7
        if kind == _VARINT:
            _, place = _varint(message, place)
            start = place
        elif kind == _BYTES:
            length, start = _varint(message, place)
            place = start + length
        elif kind in _FIXED:
            start = place = place + _FIXED[kind]
        else:
            raise _unreadable()
        if place > len(message):
            raise _unreadable()
        yield tag >> 3, message[start:place]


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of at most 10 bytes, and the place behind it."""
    number = 0
    for index, byte in enumerate(message[place : place + 10]):
        number |= (byte & 127) << 7 * index
        if byte < 128:
            return number, place + index + 1
    raise _unreadable()


def _unreadable() -> Refused:
    return bad("The message is not of its kind.")


class _Calls:
    """Handlers of the calls."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def live(self, request: Any, client: str, headers: dict[str, str]) -> Any:
        return messages.ServerLiveResponse(live=True)

    async def ready(self, request: Any, client: str, headers: dict[str, str]) -> Any:
        return messages.ServerReadyResponse(ready=await self._gateway.ready())

    async def check(self, request: Any, client: str, headers: dict[str, str]) -> Any:
        if request.service not in ("", _SERVICE):
            raise Refused(404, "unknown", "There is no such service.")
        status = "SERVING" if await self._gateway.ready() else "NOT_SERVING"
        return health_pb2.HealthCheckResponse(status=status)

    async def server(self, request: Any, client: str, headers: dict[str, str]) -> Any:
        return messages.ServerMetadataResponse(name="dynanoise", version=version("dynanoise"))

    async def model_ready(self, request: Any, client: str, headers: dict[str, str]) -> Any:
        self._gateway.check_model(request.name, request.version)
        return messages.ModelReadyResponse(ready=await self._gateway.ready())

    async def metadata(self, request: Any, client: str, headers: dict[str, str]) -> Any:
        self._gateway.check_model(request.name, request.version)
        description, model = await self._gateway.describe(), self._gateway.model
        outputs = [description.output] if description.output else []
        tensor = messages.ModelMetadataResponse.TensorMetadata
        return messages.ModelMetadataResponse(
            name=model.name,
            versions=[] if model.version is None else [model.version],
            platform=description.platform,
            inputs=[tensor(**spec.metadata()) for spec in description.inputs],
            outputs=[tensor(**spec.metadata()) for spec in outputs],
        )

    async def infer(self, request: bytes, client: str, headers: dict[str, str]) -> Any:
        receipt = self._gateway.receive(client)
        try:
            receipt.add(len(request))
            self._check(request)
            query, output = await self._gateway.infer(
                client,
                receipt,
                Size(packed=len(request)),
                lambda _: self._read(request),
                headers.get("authorization"),
            )
        finally:
            receipt.release()
        model = self._gateway.model
        response = messages.ModelInferResponse(
            model_name=model.name, model_version=model.version or "", id=query.id or ""
        )
        response.outputs.add(
            name=output.name, datatype=output.datatype, shape=list(output.values.shape)
        )
        response.raw_output_contents.append(to_bytes(output.values))
        return response

    def _check(self, body: bytes) -> None:
        """Refuse many tensors, and other models, before the message is parsed.

        16 MiB of empty inputs would take 700 MiB then.
        """
        names, counts = {_MODEL_NAME: "", _MODEL_VERSION: ""}, Counter[int]()
        for number, content in _fields(memoryview(body)):
            counts[number if number in (_INPUTS, _OUTPUTS, _RAW) else 0] += 1
            if max(counts.values()) > MOST:
                check_counts(max(1, counts[_INPUTS]), counts[_OUTPUTS])
                raise bad(f"The request has more than {MOST} raw contents or parameters.")
            if number in names:  # the last one counts
                try:
                    names[number] = str(content, "utf-8")
                except UnicodeDecodeError:
                    raise _unreadable() from None
        self._gateway.check_model(*names.values())

    def _read(self, body: bytes) -> Request:
        message = _parse(messages.ModelInferRequest, body)
        self._gateway.check_model(message.model_name, message.model_version)
        check_id(message.id)
        check_counts(len(message.inputs), len(message.outputs))
        names = _outputs(message)
        return Request(_inputs(message), message.id, tuple(names))


def _outputs(request: Any) -> list[str]:
    for part in (request, *request.inputs, *request.outputs):
        for name in _REFUSED:
            if name in part.parameters:
                raise bad(f"The request asks for {name}, which is not served.")
    return [output.name for output in request.outputs]


def _inputs(request: Any) -> tuple[Tensor, ...]:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise bad("The request needs as many raw contents as inputs, or none.")
    tensors = []
    for number, item in enumerate(request.inputs):
        check_name(item.name)
        shape = check_shape(item.name, list(item.shape))
        if raw:
            tensors.append(from_bytes(item.name, item.datatype, shape, raw[number]))
            continue
        if item.datatype not in _CONTENTS:
            raise bad(f"Input {item.name!r} can only travel as raw contents.")
        values = list(getattr(item.contents, _CONTENTS[item.datatype]))
        tensors.append(from_values(item.name, item.datatype, shape, values))
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise bad("An input is given twice.")
    return tuple(tensors)
