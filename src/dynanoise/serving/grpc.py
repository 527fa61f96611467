"""The gateway over gRPC: the inference calls of the protocol, and no others.

Messages are those of the protocol's published definition, as the package tritonclient carries it.
Its further calls, such as loading a model, sharing memory or tracing, do not exist here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2 as messages

from dynanoise.oip.faults import Refused, bad, unavailable
from dynanoise.oip.tensors import (
    Tensor,
    check_counts,
    checked_id,
    checked_name,
    checked_shape,
    from_bytes,
    from_values,
    to_bytes,
)
from dynanoise.serving.gateway import Gateway
from dynanoise.serving.logs import log

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}

_LEFT = 499
"""For metrics, where HTTP has no status: the client went away before there was an answer."""

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

_AGE = 300.0
"""Seconds after which a connection is replaced, which clients do by themselves. Calls whose client
takes no answer end with it, and in no other way."""

_STREAMS = 128
"""Calls of one connection."""

_Call = Callable[[Any, str, dict[str, str]], Awaitable[Any]]


def server(gateway: Gateway) -> Any:
    """A gRPC server without a port."""
    calls, room = _Calls(gateway), asyncio.Semaphore(4 * gateway.limits.at_once)
    handlers = {
        # To clients one message each way; a server of such calls would not run before the message
        # is there, and so not ask for a key, nor for how long it waits.
        name: grpc.stream_stream_rpc_method_handler(
            _answered(gateway, name, call, free, room),
            response_serializer=getattr(messages, f"{name}Response").SerializeToString,
        )
        for name, call, free in (
            ("ServerLive", calls.live, True),
            ("ServerReady", calls.ready, True),
            ("ServerMetadata", calls.server, False),
            ("ModelReady", calls.model_ready, False),
            ("ModelMetadata", calls.metadata, False),
            ("ModelInfer", calls.infer, False),
        )
    }
    made = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", gateway.limits.body),
            ("grpc.so_reuseport", 0),
            ("grpc.max_concurrent_streams", _STREAMS),
            ("grpc.max_connection_age_ms", round(1000 * _AGE)),
            ("grpc.max_connection_age_grace_ms", round(1000 * gateway.limits.seconds) + 5000),
        ),
        # No limit for all calls together: a stranger could use it up.
    )
    service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers)
    made.add_generic_rpc_handlers((service,))
    return made


def _answered(gateway: Gateway, name: str, call: _Call, free: bool, room: asyncio.Semaphore) -> Any:
    kind = getattr(messages, f"{name}Request")

    async def answered(stream: Any, context: Any) -> None:
        headers = dict(context.invocation_metadata() or ())
        started, client = time.perf_counter(), None
        try:
            request = kind()  # of free calls it is empty, and not waited for
            if not free:
                client = gateway.client(headers.get("authorization"), headers.get("x-api-key"))
                request = _parsed(kind, await _message(context, gateway.limits.seconds, room))
            response = await call(request, client or "", headers)
        except Refused as refused:
            failed = refused
        except asyncio.CancelledError:
            gateway.metrics.requests.labels(f"grpc_{name}", _LEFT).inc()
            log("cancelled", route=name, client=client)
            raise
        except Exception as error:  # whatever it was, its words stay here
            log("failed", logging.ERROR, route=name, exception=type(error).__name__)
            failed = Refused(500, "internal", "The gateway failed.")
        else:
            gateway.metrics.requests.labels(f"grpc_{name}", 200).inc()
            if name == "ModelInfer":
                spent = round(1000 * (time.perf_counter() - started), 2)
                log("answered", route=name, client=client, milliseconds=spent)
            await context.write(response)
            return
        gateway.metrics.requests.labels(f"grpc_{name}", failed.status).inc()
        gateway.metrics.refused(failed.reason)
        log("refused", route=name, client=client, status=failed.status, reason=failed.reason)
        trailing = ()
        if failed.retry_after is not None:
            wait = str(max(1, round(1000 * failed.retry_after)))
            trailing = (("grpc-retry-pushback-ms", wait),)  # type: ignore[assignment]
        await context.abort(_CODES[failed.status], str(failed), trailing)

    return answered


async def _message(context: Any, seconds: float, room: asyncio.Semaphore) -> bytes:
    if room.locked():
        raise unavailable("busy", "The gateway is busy.")
    try:
        async with room, asyncio.timeout(seconds):
            body = await context.read()
    except TimeoutError:
        raise bad("The request did not arrive in time.") from None
    if not isinstance(body, bytes):  # the end of a stream without any
        raise bad("The request was cut short.")
    return body


def _parsed(kind: Any, body: bytes) -> Any:
    # Here and not by grpc, whose words about an unreadable message are not ours.
    try:
        return kind.FromString(body)
    except DecodeError:
        raise bad("The message is not of its kind.") from None


class _Calls:
    """What the calls answer."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def live(self, request: Any, client: str, headers: dict[str, str]) -> Any:
        return messages.ServerLiveResponse(live=True)

    async def ready(self, request: Any, client: str, headers: dict[str, str]) -> Any:
        return messages.ServerReadyResponse(ready=await self._gateway.ready())

    async def server(self, request: Any, client: str, headers: dict[str, str]) -> Any:
        return messages.ServerMetadataResponse(name="dynanoise", version=version("dynanoise"))

    async def model_ready(self, request: Any, client: str, headers: dict[str, str]) -> Any:
        self._gateway.versioned(request.name, request.version)
        return messages.ModelReadyResponse(ready=await self._gateway.ready())

    async def metadata(self, request: Any, client: str, headers: dict[str, str]) -> Any:
        self._gateway.versioned(request.name, request.version)
        found, model = await self._gateway.described(), self._gateway.model
        tensor = messages.ModelMetadataResponse.TensorMetadata
        return messages.ModelMetadataResponse(
            name=model.name,
            versions=[] if model.version is None else [model.version],
            platform=found.platform,
            inputs=[tensor(**one.said()) for one in found.inputs],
            outputs=[tensor(**one.said()) for one in ([found.output] if found.output else [])],
        )

    async def infer(self, request: Any, client: str, headers: dict[str, str]) -> Any:
        self._gateway.versioned(request.model_name, request.model_version)
        checked_id(request.id)
        check_counts(len(request.inputs), len(request.outputs))
        names = _outputs(request)
        answer = await self._gateway.infer(
            client, _inputs(request), names, headers.get("authorization")
        )
        model = self._gateway.model
        response = messages.ModelInferResponse(
            model_name=model.name, model_version=model.version or "", id=request.id
        )
        response.outputs.add(
            name=answer.name, datatype=answer.datatype, shape=list(answer.values.shape)
        )
        response.raw_output_contents.append(to_bytes(answer.values))
        return response


def _outputs(request: Any) -> list[str]:
    for one in (request, *request.inputs, *request.outputs):
        for name in _REFUSED:
            if name in one.parameters:
                raise bad(f"The request asks for {name}, which is not served.")
    return [one.name for one in request.outputs]


def _inputs(request: Any) -> tuple[Tensor, ...]:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise bad("The request needs as many raw contents as inputs, or none.")
    tensors = []
    for number, one in enumerate(request.inputs):
        checked_name(one.name)
        shape = checked_shape(one.name, list(one.shape))
        if raw:
            tensors.append(from_bytes(one.name, one.datatype, shape, raw[number]))
            continue
        if one.datatype not in _CONTENTS:
            raise bad(f"Input {one.name!r} can only travel as raw contents.")
        values = list(getattr(one.contents, _CONTENTS[one.datatype]))
        tensors.append(from_values(one.name, one.datatype, shape, values))
    if len({one.name for one in tensors}) < len(tensors):
        raise bad("An input is given twice.")
    return tuple(tensors)
