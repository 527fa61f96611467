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
from dynanoise.serving.budgets import seconds
from dynanoise.serving.gateway import Gateway
from dynanoise.serving.logs import log

_Handler = Callable[[Request], Awaitable[Response]]


def application(gateway: Gateway) -> Starlette:
    """What a server runs, or another ASGI application mounts."""
    pages = _Pages(gateway)
    model = "/v2/models/{model}"
    routes = [
        _route("/v2/health/live", pages.live, gateway, "live"),
        _route("/v2/health/ready", pages.ready, gateway, "ready"),
        _route("/v2", pages.server, gateway, "server"),
        _route("/v1/models", pages.models_v1, gateway, "models"),
        _route("/v1/models/{model}", pages.model_v1, gateway, "ready"),
        _route("/v1/models/{model}:predict", pages.predict, gateway, "predict", "POST"),
    ]
    for path in (model, model + "/versions/{version}"):
        routes += [
            _route(path, pages.metadata, gateway, "metadata"),
            _route(path + "/ready", pages.model_ready, gateway, "ready"),
            _route(path + "/infer", pages.infer, gateway, "infer", "POST"),
        ]
    # The one with :predict would be taken for a model's name.
    routes.sort(key=lambda route: ":predict" not in route.path)

    async def missing(request: Request, error: Exception) -> Response:
        return _refusal(
            gateway, Refused(404, "unknown", "There is no such page."), request, "other"
        )

    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: missing},
        middleware=[Middleware(OneLength)],
    )
    # To the Host of the request, which anybody may have put there.
    app.router.redirect_slashes = False
    return app


class OneLength:
    """Refuses requests with two lengths, which another server on the way may end elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 400, and ends the connection, or lets the request through."""
        if scope["type"] == "http":
            names = {name for name, _ in scope["headers"]}
            if b"content-length" in names and b"transfer-encoding" in names:
                said = {"error": "The request has two lengths."}
                await JSONResponse(said, 400, {"Connection": "close"})(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _route(path: str, page: _Handler, gateway: Gateway, name: str, method: str = "GET") -> Route:
    async def answered(request: Request) -> Response:
        started = time.perf_counter()
        try:
            response = await page(request)
        except Refused as refused:
            return _refusal(gateway, refused, request, name)
        except ClientDisconnect:
            return _refusal(gateway, bad("The request was cut short."), request, name)
        except Exception as error:  # whatever it was, its words stay here
            log("failed", logging.ERROR, route=name, exception=type(error).__name__)
            failed = Refused(500, "internal", "The gateway failed.")
            return _refusal(gateway, failed, request, name)
        gateway.metrics.requests.labels(name, response.status_code).inc()
        if name in ("infer", "predict"):
            spent = round(1000 * (time.perf_counter() - started), 2)
            log("answered", route=name, client=_client(request), milliseconds=spent)
        return _draining(gateway, response)

    return Route(path, answered, methods=[method], name=name)


def _client(request: Request) -> str | None:
    found: str | None = getattr(request.state, "client", None)
    return found


def _refusal(gateway: Gateway, refused: Refused, request: Request, route: str) -> Response:
    gateway.metrics.requests.labels(route, refused.status).inc()
    gateway.metrics.refused(refused.reason)
    log(
        "refused",
        route=route,
        client=_client(request),
        status=refused.status,
        reason=refused.reason,
    )
    headers = {}
    if refused.retry_after is not None:
        headers["Retry-After"] = seconds(refused.retry_after)
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refused.status in (401, 413):
        headers["Connection"] = "close"  # what is left of the body is not read
    response = JSONResponse({"error": str(refused)}, refused.status, headers)
    return _draining(gateway, response)


def _draining(gateway: Gateway, response: Response) -> Response:
    """Tells clients of a gateway that is about to end to connect anew, elsewhere."""
    if gateway.draining:
        response.headers["Connection"] = "close"
    return response


class _Pages:
    """What the routes answer."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def _admitted(self, request: Request) -> str:
        headers = request.headers
        own = headers.get("x-api-key")
        request.state.client = self._gateway.client(headers.get("authorization"), own)
        return str(request.state.client)

    def _model(self, request: Request) -> None:
        found = request.path_params
        self._gateway.versioned(found["model"], found.get("version"))

    async def _body(self, request: Request) -> bytes:
        limits = self._gateway.limits
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise bad("Compressed bodies are not read.")
        size = request.headers.get("content-length", "0")
        if size.isdigit() and int(size[:20]) > limits.body:
            raise _too_large(limits.body)
        parts: list[bytes] = []
        with self._gateway.held() as hold:
            try:
                async with asyncio.timeout(limits.seconds):
                    async for part in request.stream():
                        if hold(len(part)) > limits.body:
                            raise _too_large(limits.body)
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
        self._admitted(request)
        said = {"name": "dynanoise", "version": version("dynanoise")}
        return JSONResponse({**said, "extensions": list(v2.EXTENSIONS)})

    async def metadata(self, request: Request) -> Response:
        self._admitted(request)
        self._model(request)
        found = await self._gateway.described()
        model = self._gateway.model
        said: dict[str, Any] = {
            "name": model.name,
            "versions": [] if model.version is None else [model.version],
            "platform": found.platform,
            "inputs": [one.said() for one in found.inputs],
            "outputs": [] if found.output is None else [found.output.said()],
            # So that a client that keeps answers, and an audit, can tell keys apart.
            "properties": self._gateway.noise,
        }
        return JSONResponse(said)

    async def model_ready(self, request: Request) -> Response:
        self._admitted(request)
        self._model(request)
        ready = await self._gateway.ready()
        said = {"name": self._gateway.model.name, "ready": ready}
        return JSONResponse(said, 200 if ready else 503)

    async def models_v1(self, request: Request) -> Response:
        self._admitted(request)
        return JSONResponse({"models": [self._gateway.model.name]})

    async def model_v1(self, request: Request) -> Response:
        return await self.model_ready(request)

    async def infer(self, request: Request) -> Response:
        client = self._admitted(request)
        self._model(request)
        asked = v2.parsed(await self._body(request), request.headers.get(v2.HEADER.lower()))
        answer = await self._gateway.infer(
            client, asked.inputs, asked.outputs, request.headers.get("authorization")
        )
        model = self._gateway.model
        head = {"model_name": model.name}
        if model.version is not None:
            head["model_version"] = model.version
        if asked.id is not None:
            head["id"] = asked.id
        body, headers = v2.written([answer], head, "outputs", asked.binary)
        return Response(body, headers=headers)

    async def predict(self, request: Request) -> Response:
        client = self._admitted(request)
        self._model(request)
        body = await self._body(request)
        inputs = v1.parsed(body, await self._gateway.described())
        answer = await self._gateway.infer(
            client, inputs, authorization=request.headers.get("authorization")
        )
        return Response(v1.written(answer), media_type="application/json")


def _too_large(limit: int) -> Refused:
    return Refused(413, "body", f"The body may hold at most {limit} bytes.")
