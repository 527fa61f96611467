"""The gateway over HTTP: an ASGI application for version 1 and 2 of the inference protocol."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dynanoise.oip import v1, v2
from dynanoise.oip.faults import Refused, bad
from dynanoise.oip.tensors import Description, Tensor, measure
from dynanoise.serving.budgets import retry_after
from dynanoise.serving.gateway import Gateway, Receipt, in_thread, too_large
from dynanoise.serving.logs import log
from dynanoise.serving.tracing import HTTP_STATUS

_Handler = Callable[[Request], Awaitable[Response]]


def application(gateway: Gateway) -> Starlette:
    """Make the ASGI application, for a server or for another application that mounts it."""
    handlers = _Handlers(gateway)
    model = "/v2/models/{model}"
    routes = [
        _route("/v2/health/live", handlers.live, gateway, "live"),
        _route("/v2/health/ready", handlers.ready, gateway, "ready"),
        _route("/v2", handlers.server, gateway, "server"),
        _route("/v1/models", handlers.models_v1, gateway, "models"),
        _route("/v1/models/{model}", handlers.model_ready, gateway, "ready"),
        _route("/v1/models/{model}:predict", handlers.predict, gateway, "predict", "POST"),
    ]
    for path in (model, model + "/versions/{version}"):
        routes += [
            _route(path, handlers.metadata, gateway, "metadata"),
            _route(path + "/ready", handlers.model_ready, gateway, "ready"),
            _route(path + "/infer", handlers.infer, gateway, "infer", "POST"),
        ]
    # Routes match in order, and /v1/models/{model} would also match "NAME:predict".
    routes.sort(key=lambda route: ":predict" not in route.path)

    async def missing(request: Request, error: Exception) -> Response:
        refused = Refused(404, "unknown", "There is no such URL.")
        allowed = getattr(error, "headers", None) or {}
        if "Allow" in allowed:
            refused = Refused(405, "method", f"This URL takes {allowed['Allow']}.")
        response = _refuse(gateway, refused, request, "other")
        response.headers.update(allowed)
        return response

    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: missing},
        middleware=[Middleware(OneLength)],
    )
    # A redirect would go to the request's Host, which any client can forge.
    app.router.redirect_slashes = False
    return app


class OneLength:
    """Middleware that refuses requests with both Content-Length and Transfer-Encoding.

    A proxy and this server could read different lengths (request smuggling).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with 400 and end the connection, or pass the request on."""
        if scope["type"] == "http":
            names = {name for name, _ in scope["headers"]}
            if b"content-length" in names and b"transfer-encoding" in names:
                content = {"error": "The request has both Content-Length and Transfer-Encoding."}
                await JSONResponse(content, 400, {"Connection": "close"})(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _route(path: str, handler: _Handler, gateway: Gateway, name: str, method: str = "GET") -> Route:
    query = name in ("infer", "predict")
    span = f"{method} {path}" if query else None

    async def respond(request: Request) -> Response:
        with gateway.tracing.request(span, request.headers.get("traceparent")) as end:
            response = await handle(request)
            end(HTTP_STATUS, response.status_code, response.status_code >= 500)
            return response

    async def handle(request: Request) -> Response:
        started = time.perf_counter()
        try:
            response = await handler(request)
        except Refused as refused:
            return _refuse(gateway, refused, request, name)
        except ClientDisconnect:
            return _refuse(gateway, bad("The request was cut short."), request, name)
        except Exception as error:  # its text may quote values
            log("failed", logging.ERROR, route=name, exception=type(error).__name__)
            failed = Refused(500, "internal", "The gateway failed.")
            return _refuse(gateway, failed, request, name)
        gateway.metrics.requests.labels(name, response.status_code).inc()
        if query:
            milliseconds = round(1000 * (time.perf_counter() - started), 2)
            log("answered", route=name, client=_client(request), milliseconds=milliseconds)
        return _close_if_draining(gateway, response)

    return Route(path, respond, methods=[method], name=name)


def _client(request: Request) -> str | None:
    name: str | None = getattr(request.state, "client", None)
    return name


def _refuse(gateway: Gateway, refused: Refused, request: Request, route: str) -> Response:
    gateway.metrics.requests.labels(route, refused.status).inc()
    gateway.metrics.count_refusal(refused.reason)
    log(
        "refused",
        route=route,
        client=_client(request),
        status=refused.status,
        reason=refused.reason,
    )
    headers = {}
    if refused.retry_after is not None:
        headers["Retry-After"] = retry_after(refused.retry_after)
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refused.status in (401, 413):
        headers["Connection"] = "close"  # the rest of the body is not read
    response = JSONResponse({"error": str(refused)}, refused.status, headers)
    return _close_if_draining(gateway, response)


def _close_if_draining(gateway: Gateway, response: Response) -> Response:
    """Close the connection of a gateway that is draining, so clients connect to another one."""
    if gateway.draining:
        response.headers["Connection"] = "close"
    return response


class _Handlers:
    """Handlers of the routes."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def _authenticate(self, request: Request) -> str:
        headers = request.headers
        name = self._gateway.authenticate(headers.get("authorization"), headers.get("x-api-key"))
        request.state.client = name
        return name

    def _check_model(self, request: Request) -> None:
        parameters = request.path_params
        self._gateway.check_model(parameters["model"], parameters.get("version"))

    async def _infer(
        self, request: Request, read: Callable[[bytes, Description], v2.Request], header: str | None
    ) -> tuple[v2.Request, Tensor]:
        """Receive a body, and respond to the request that ``read`` makes of it."""
        client = self._authenticate(request)
        self._check_model(request)
        receipt = self._gateway.receive(client)
        try:
            body = await self._body(request, receipt)
            return await self._gateway.infer(
                client,
                receipt,
                measure(body, v2.json_bytes(header)),
                lambda description: read(body, description),
                request.headers.get("authorization"),
            )
        finally:
            receipt.release()

    async def _body(self, request: Request, receipt: Receipt) -> bytes:
        limits = self._gateway.limits
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise bad("Compressed bodies are not read.")
        size = request.headers.get("content-length", "0")
        if size.isdigit() and int(size[:20]) > limits.body:
            raise too_large(limits.body)
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(limits.seconds):
                async for part in request.stream():
                    if receipt.add(len(part)) > limits.body:
                        raise too_large(limits.body)
                    parts.append(part)
        except TimeoutError:
            raise bad("The request did not arrive in time.") from None
        return b"".join(parts)

    async def live(self, request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        ready = await self._gateway.ready()
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def server(self, request: Request) -> Response:
        self._authenticate(request)
        content = {"name": "dynanoise", "version": version("dynanoise")}
        return JSONResponse({**content, "extensions": list(v2.EXTENSIONS)})

    async def metadata(self, request: Request) -> Response:
        self._authenticate(request)
        self._check_model(request)
        description = await self._gateway.describe()
        model, output = self._gateway.model, description.output
        content: dict[str, Any] = {
            "name": model.name,
            "versions": [] if model.version is None else [model.version],
            "platform": description.platform,
            "inputs": [spec.metadata() for spec in description.inputs],
            "outputs": [] if output is None else [output.metadata()],
            # So that a client that keeps responses, and an audit, can tell keys apart.
            "properties": self._gateway.noise,
        }
        return JSONResponse(content)

    async def model_ready(self, request: Request) -> Response:
        self._authenticate(request)
        self._check_model(request)
        ready = await self._gateway.ready()
        content = {"name": self._gateway.model.name, "ready": ready}
        return JSONResponse(content, 200 if ready else 503)

    async def models_v1(self, request: Request) -> Response:
        self._authenticate(request)
        return JSONResponse({"models": [self._gateway.model.name]})

    async def infer(self, request: Request) -> Response:
        header = request.headers.get(v2.HEADER.lower())
        query, output = await self._infer(
            request, lambda body, _: v2.parse_request(body, header), header
        )
        model = self._gateway.model
        head = {"model_name": model.name}
        if model.version is not None:
            head["model_version"] = model.version
        if query.id is not None:
            head["id"] = query.id
        body, headers = await in_thread(
            output.values.size, v2.write, [output], head, "outputs", query.binary
        )
        return Response(body, headers=headers)

    async def predict(self, request: Request) -> Response:
        _, output = await self._infer(
            request, lambda body, description: v2.Request(v1.parse(body, description)), None
        )
        content = await in_thread(output.values.size, v1.write, output)
        return Response(content, media_type="application/json")
