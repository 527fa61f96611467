"""Spans of OpenTelemetry: they continue the client's trace to the model, and hold no content."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from dynanoise.config.configuration import Configuration
from dynanoise.core.errors import InputError
from tests.factories.gateways import (
    LAST_RESORT,
    SECRET,
    WEIGHTS,
    ask,
    defense_file,
    gateway,
    infer_body,
    queries,
    wait_until,
)
from tests.serving.conftest import Plain

pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("aiohttp", reason="the gateway: pip install 'dynanoise[serve]'")
pytest.importorskip("grpc", reason="the gateway: pip install 'dynanoise[serve]'")
from dynanoise.serving import tracing
from dynanoise.serving.backends.upstream import Upstream
from dynanoise.serving.budgets import Budget, LocalBudgets
from dynanoise.serving.clients import Clients, add_client
from dynanoise.serving.gateway import Gateway, Limits
from dynanoise.serving.http import application
from dynanoise.serving.monitoring import Metrics
from dynanoise.serving.tracing import Tracing, open_tracing, trace_id

pytestmark = pytest.mark.process

TRACE = "4b" * 16
HEADER = f"00-{TRACE}-{'5c' * 8}-01"


@pytest.fixture
def exporter() -> Any:
    pytest.importorskip("opentelemetry.sdk", reason="spans: pip install 'dynanoise[otel]'")
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: Any) -> Iterator[Tracing]:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traced = Tracing(provider)
    yield traced
    traced.close()


class Model:
    """A server in this process that keeps the headers it gets, and the gateway before it."""

    def __init__(self, folder: Path, traced: Tracing) -> None:
        self.seen: list[Any] = []
        self.status = 200
        self.key = add_client(folder / "clients.txt", "alice")
        defense = Configuration.read(defense_file(folder / "defense.yaml"))
        self._parts = defense, Clients.read(folder / "clients.txt"), traced

    async def respond(self, request: Any) -> Any:
        from aiohttp import web

        if request.method == "GET":
            tensors = {"x": WEIGHTS.shape[0], "logits": WEIGHTS.shape[1]}
            x, logits = (
                [{"name": name, "datatype": "FP32", "shape": [-1, size]}]
                for name, size in tensors.items()
            )
            return web.json_response({"inputs": x, "outputs": logits})
        self.seen.append(dict(request.headers))
        if self.status != 200:
            return web.json_response({"error": "8.76543"}, status=self.status)
        (x,) = (await request.json())["inputs"]
        data = [0.5] * (x["shape"][0] * WEIGHTS.shape[1])
        shape = [x["shape"][0], WEIGHTS.shape[1]]
        output = {"name": "logits", "datatype": "FP32", "shape": shape, "data": data}
        return web.json_response({"model_name": "linear", "outputs": [output]})

    def run(self, use: Any) -> Any:
        from aiohttp import web
        from aiohttp.test_utils import TestServer

        async def check() -> Any:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self.respond)
            server = TestServer(app)
            await server.start_server()
            defense, clients, traced = self._parts
            upstream = Upstream(f"http://127.0.0.1:{server.port}", "linear", tracing=traced)
            budgets = LocalBudgets(Budget(rate=0, total=0))
            gate = Gateway(
                upstream, defense, clients, budgets, Limits(), Metrics("id"), tracing=traced
            )
            try:
                return await use(gate)
            finally:
                await upstream.close()
                await server.close()

        return asyncio.run(check())


@pytest.fixture
def model(tmp_path: Path, spans: Tracing, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    return Model(tmp_path, spans)


def over_http(body: bytes, **headers: str) -> Any:
    """A query through the ASGI application."""

    async def use(gate: Gateway) -> int:
        sent: list[dict[str, Any]] = []
        path = "/v2/models/linear/infer"
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path}
        scope |= {"headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()]}
        scope |= {"raw_path": path.encode(), "http_version": "1.1", "scheme": "http"}
        scope["query_string"] = b""

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await application(gate)(scope, receive, send)
        return int(sent[0]["status"])

    return use


BODY = json.dumps(infer_body(queries(2), id="8.76543")).encode()


def test_the_trace_goes_from_the_client_to_the_model(model: Model, exporter: Any) -> None:
    more = {"tracestate": "vendor=secret", "baggage": "secret=1", "X-API-Key": model.key}
    assert model.run(over_http(BODY, traceparent=HEADER, **more)) == 200
    call, request = exporter.get_finished_spans()
    assert (request.name, request.kind.name) == ("POST /v2/models/{model}/infer", "SERVER")
    assert call.kind.name == "CLIENT"
    assert f"{request.parent.span_id:016x}" == "5c" * 8 and request.parent.is_remote
    assert call.parent.span_id == request.context.span_id
    assert {f"{span.context.trace_id:032x}" for span in (call, request)} == {TRACE}
    (seen,) = model.seen
    assert seen["traceparent"] == f"00-{TRACE}-{call.context.span_id:016x}-01"
    assert not {"tracestate", "baggage", "Tracestate", "Baggage"} & set(seen)
    for span in (call, request):  # and nothing else: no record, key, name or output
        assert dict(span.attributes) == {"http.response.status_code": 200}
        assert span.events == () and span.links == ()
        assert "secret" not in span.to_json() and model.key not in span.to_json()


def test_a_request_without_a_trace_begins_one(model: Model, exporter: Any) -> None:
    for header in ({}, {"traceparent": HEADER + " secret"}):
        exporter.clear()
        model.seen.clear()
        assert model.run(over_http(BODY, **header, **{"X-API-Key": model.key})) == 200
        call, request = exporter.get_finished_spans()
        assert request.parent is None and f"{request.context.trace_id:032x}" != TRACE
        assert f"-{call.context.span_id:016x}-" in model.seen[0]["traceparent"]


def test_a_trace_that_is_not_sampled_is_passed_on_and_not_kept(model: Model, exporter: Any) -> None:
    header = HEADER.removesuffix("01") + "00"
    assert model.run(over_http(BODY, traceparent=header, **{"X-API-Key": model.key})) == 200
    assert exporter.get_finished_spans() == ()
    assert model.seen[0]["traceparent"].startswith(f"00-{TRACE}-")
    assert model.seen[0]["traceparent"].endswith("-00")


@pytest.mark.parametrize(("status", "answer"), [(500, 503), (400, 400)])
def test_failures_are_marked_without_words(
    status: int, answer: int, model: Model, exporter: Any
) -> None:
    model.status = status
    assert model.run(over_http(BODY, traceparent=HEADER, **{"X-API-Key": model.key})) == answer
    call, request = exporter.get_finished_spans()
    assert call.status.status_code.name == "ERROR"
    assert request.status.status_code.name == ("ERROR" if answer >= 500 else "UNSET")
    assert dict(request.attributes) == {"http.response.status_code": answer}
    for span in (call, request):
        assert span.events == () and span.status.description is None
        assert "8.76543" not in span.to_json()


def test_an_exception_leaves_no_words(spans: Tracing, exporter: Any) -> None:
    with pytest.raises(ValueError, match="8"), spans.request("a", HEADER), spans.call("b"):
        raise ValueError("8.76543")
    call, request = exporter.get_finished_spans()
    assert call.status.status_code.name == "ERROR"
    for span in (call, request):
        assert span.events == () and span.status.description is None
        assert "8.76543" not in span.to_json()


def test_a_client_without_a_key_leaves_no_name(model: Model, exporter: Any) -> None:
    assert model.run(over_http(BODY, traceparent=HEADER, **{"X-API-Key": "alice.guess"})) == 401
    (request,) = exporter.get_finished_spans()
    assert "alice" not in request.to_json() and "guess" not in request.to_json()
    assert model.seen == []


def test_grpc_has_the_same_spans(model: Model, exporter: Any) -> None:
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    from dynanoise.serving.grpc import server

    rows = queries(2)
    message = service_pb2.ModelInferRequest(model_name="linear")
    message.inputs.add(name="x", datatype="FP32", shape=rows.shape)
    message.raw_input_contents.append(rows.tobytes())

    async def use(gate: Gateway) -> None:
        rpc = server(gate)
        port = rpc.add_insecure_port("127.0.0.1:0")
        await rpc.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            trace = ("traceparent", HEADER)
            await stub.ModelInfer(
                message, metadata=(trace, ("x-api-key", model.key)), timeout=LAST_RESORT
            )
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.ModelInfer(
                    message, metadata=(trace, ("x-api-key", "alice.no")), timeout=LAST_RESORT
                )
            await stub.ServerLive(
                service_pb2.ServerLiveRequest(), metadata=(trace,), timeout=LAST_RESORT
            )
        await rpc.stop(None)

    model.run(use)
    call, request, refused = exporter.get_finished_spans()
    assert {f"{span.context.trace_id:032x}" for span in (call, request, refused)} == {TRACE}
    assert call.parent.span_id == request.context.span_id
    assert f"-{call.context.span_id:016x}-" in model.seen[0]["traceparent"]
    codes = [dict(span.attributes)["rpc.grpc.status_code"] for span in (request, refused)]
    assert codes == [0, grpc.StatusCode.UNAUTHENTICATED.value[0]]


def test_without_the_library_or_its_variables_there_are_no_spans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(module: str, purpose: str) -> Any:
        from dynanoise.core.errors import MissingExtraError

        raise MissingExtraError(f"{module} is not there.", "Install it.")

    monkeypatch.setattr(tracing, "require", missing)  # nothing is imported before it is needed
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector"}
    for variables in (
        {},
        {"OTEL_TRACES_EXPORTER": "none"},
        {**endpoint, "OTEL_SDK_DISABLED": "true"},
    ):
        traced = open_tracing(variables)
        assert traced.problem is None
        with traced.request("a", HEADER), traced.call("b"):
            assert trace_id() == TRACE
    assert "is not there" in str(open_tracing(endpoint).problem)


def test_an_exporter_that_is_not_there_is_named(exporter: Any) -> None:
    with pytest.raises(InputError, match=r"no exporter 'zipkin' here.*console"):
        open_tracing({"OTEL_TRACES_EXPORTER": "console,zipkin"})


class Collector(BaseHTTPRequestHandler):
    """A receiver of OTLP over HTTP."""

    messages: list[tuple[str, bytes]]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.messages.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_the_variables_of_the_environment_send_spans_to_a_collector(
    tmp_path: Path, plain: Plain, exporter: Any
) -> None:
    pytest.importorskip("opentelemetry.exporter", reason="spans: pip install 'dynanoise[otel]'")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    plain.behave("well")
    messages: list[tuple[str, bytes]] = []
    collector = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Kept", (Collector,), {"messages": messages})
    )
    Thread(target=collector.serve_forever, daemon=True).start()
    options = ("--upstream", plain.url, "--model-name", "linear", "--no-auth", "--defense")
    variables: Any = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_SERVICE_NAME": "private answers",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    try:
        with gateway(*options, defense_file(tmp_path / "defense.yaml"), **variables) as running:
            url = f"{running.url}/v2/models/linear/infer"
            assert ask(url, infer_body(queries(1)), traceparent=HEADER).status == 200
            assert wait_until(lambda: messages)
            seen = ask(f"{plain.url}/seen").json[-1]["traceparent"]
            # The line of the log is read by a thread of its own.
            assert wait_until(lambda: running.events("answered"))
            assert [event["trace_id"] for event in running.events("answered")] == [TRACE]
    finally:
        collector.shutdown()
        collector.server_close()
    sent = [ExportTraceServiceRequest.FromString(body) for _, body in messages]
    assert {path for path, _ in messages} == {"/v1/traces"}
    resources = [part for one in sent for part in one.resource_spans]
    spans = {
        span.kind: span for part in resources for scope in part.scope_spans for span in scope.spans
    }
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE, seen[3:35]}
    assert seen[36:52] in {span.span_id.hex() for span in spans.values()}
    names = {
        item.value.string_value
        for part in resources
        for item in part.resource.attributes
        if item.key == "service.name"
    }
    assert names == {"private answers"}
