"""The W3C trace context of a request, for the log and the upstream, and spans of OpenTelemetry.

Spans hold a route, a status and times: no attribute comes from a request's content or headers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from importlib.metadata import entry_points, version
from typing import Any

from dynanoise.core.errors import InputError, MissingExtraError
from dynanoise.core.extras import require

_FORM = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_CURRENT: ContextVar[str | None] = ContextVar("traceparent", default=None)

_ENDPOINTS = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_PROTOCOLS = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"

HTTP_STATUS = "http.response.status_code"
RPC_STATUS = "rpc.grpc.status_code"
"""Attributes of spans."""

End = Callable[[str, int, bool], None]
"""Sets the status of a span: name of the attribute, status, whether the server failed."""


def current_trace() -> str | None:
    """The header traceparent of the request that is worked on, or of its call of a model."""
    return _CURRENT.get()


def trace_id() -> str | None:
    """Its trace id, 32 hexadecimal digits."""
    trace = _CURRENT.get()
    return None if trace is None else trace[3:35]


class Tracing:
    """Trace context of requests, and their spans where there is a provider.

    Args:
        provider: a tracer provider of OpenTelemetry's SDK; None makes no spans, and passes the
            context on.
        problem: why there are no spans although they are configured; None if there are.

    >>> with Tracing().request(None, "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"):
    ...     trace_id()
    'abababababababababababababababab'
    >>> with Tracing().request(None, "not of this form"):
    ...     print(current_trace())
    None
    """

    def __init__(self, provider: Any = None, problem: str | None = None) -> None:
        self._provider, self.problem = provider, problem
        if provider is not None:
            self._tracer = provider.get_tracer("dynanoise.serving", version("dynanoise"))
            self._trace = require("opentelemetry.trace", "Tracing")
            module = require("opentelemetry.trace.propagation.tracecontext", "Tracing")
            self._form = module.TraceContextTextMapPropagator()

    @contextmanager
    def request(self, name: str | None, traceparent: str | None) -> Iterator[End]:
        """Work on a request, in a span that continues the trace of its header.

        Args:
            name: name of the span; None for no span.
            traceparent: value of the header; one in another form counts as none, and nothing of it
                but hexadecimal digits is kept.
        """
        usable = traceparent is not None and _FORM.fullmatch(traceparent)
        header = traceparent if usable else None
        if self._provider is None or name is None:
            with _current(header):
                yield _no_span
            return
        parent = self._form.extract({} if header is None else {"traceparent": header})
        with self._span(name, self._trace.SpanKind.SERVER, parent) as span:
            yield partial(self._end, span)

    @contextmanager
    def call(self, name: str) -> Iterator[End]:
        """Call another server, in a span within that of the request.

        Args:
            name: name of the span.
        """
        if self._provider is None:
            yield _no_span
            return
        with self._span(name, self._trace.SpanKind.CLIENT, None) as span:
            try:
                yield partial(self._end, span)
            except Exception:
                span.set_status(self._trace.StatusCode.ERROR)
                raise

    @contextmanager
    def _span(self, name: str, kind: Any, context: Any) -> Iterator[Any]:
        with self._tracer.start_as_current_span(
            name,
            context,
            kind,
            record_exception=False,  # its text may quote values
            set_status_on_exception=False,
        ) as span:
            ids = span.get_span_context()
            with _current(f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}"):
                yield span

    def _end(self, span: Any, attribute: str, status: int, failed: bool) -> None:
        span.set_attribute(attribute, status)
        if failed:
            span.set_status(self._trace.StatusCode.ERROR)

    def close(self) -> None:
        """Send the spans that are left."""
        if self._provider is not None:
            self._provider.shutdown()


def open_tracing(environment: Mapping[str, str] = os.environ) -> Tracing:
    """Make the tracing that OpenTelemetry's variables OTEL_* describe; most, the SDK reads itself.

    There are spans if OTEL_TRACES_EXPORTER names an exporter, or an endpoint of OTLP is set. Where
    the packages are missing there are none, and `Tracing.problem` says so.

    Args:
        environment: variables of the process.

    Raises:
        InputError: if there is no exporter of that name.
    """
    endpoint = any(environment.get(name) for name in _ENDPOINTS)
    names = environment.get("OTEL_TRACES_EXPORTER") or ("otlp" if endpoint else "none")
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or names.strip().lower() == "none":
        return Tracing()
    try:
        sdk = require("opentelemetry.sdk.trace", "Tracing")
        exporting = require("opentelemetry.sdk.trace.export", "Tracing")
        resources = require("opentelemetry.sdk.resources", "Tracing")
    except MissingExtraError as error:
        return Tracing(problem=str(error))
    named = "OTEL_SERVICE_NAME" in environment
    named = named or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    service = {} if named else {"service.name": "dynanoise"}
    provider = sdk.TracerProvider(resource=resources.Resource.create(service))
    for name in names.split(","):
        exporter = _exporter(name.strip(), environment)
        provider.add_span_processor(exporting.BatchSpanProcessor(exporter))
    return Tracing(provider)


def _exporter(name: str, environment: Mapping[str, str]) -> Any:
    """An exporter by its name, as a package of OpenTelemetry registers it."""
    if name == "otlp":
        protocol = next((environment[key] for key in _PROTOCOLS if environment.get(key)), "")
        name = "otlp_proto_grpc" if protocol.strip() == "grpc" else "otlp_proto_http"
    exporters = entry_points(group="opentelemetry_traces_exporter")
    if name not in exporters.names:
        raise InputError(
            f"OTEL_TRACES_EXPORTER: there is no exporter {name!r} here.",
            f"Install its package. Known: {', '.join(sorted(exporters.names))}, none.",
        )
    return exporters[name].load()()


@contextmanager
def _current(traceparent: str | None) -> Iterator[None]:
    token = _CURRENT.set(traceparent)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def _no_span(attribute: str, status: int, failed: bool) -> None:
    """Set nothing."""
