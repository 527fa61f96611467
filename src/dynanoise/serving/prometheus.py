"""Prometheus metrics, and the listener that shows them to those who may see them."""

from __future__ import annotations

import threading

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dynanoise.oip.faults import Refused
from dynanoise.serving.clients import Clients, presented
from dynanoise.serving.noise_effect import Window

_SECONDS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_UNIT = tuple(step / 10 for step in range(1, 11))
_SIGMA = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)


class Metrics:
    """The counters of one gateway; the numbers of single queries are in none of them.

    Args:
        key_id: names the secret, as `dynanoise key id` prints it; "" where noise is fresh.
    """

    def __init__(self, key_id: str) -> None:
        registry = self.registry = CollectorRegistry()
        self.key_id = key_id
        self._whole = threading.Lock()
        self.requests = Counter(
            "dynanoise_requests",
            "Requests by route and status.",
            ["route", "status"],
            registry=registry,
        )
        self.refusals = Counter(
            "dynanoise_refusals", "Requests that got no answer.", ["reason"], registry=registry
        )
        self.upstream = Histogram(
            "dynanoise_model_seconds", "Time of the model.", buckets=_SECONDS, registry=registry
        )
        self.defense = Histogram(
            "dynanoise_defense_seconds", "Time of the defense.", buckets=_SECONDS, registry=registry
        )
        self._queries = Counter(
            "dynanoise_window_queries", "Queries of complete windows.", registry=registry
        )
        self._flips = Counter(
            "dynanoise_window_label_flips", "Labels that the defense moved.", registry=registry
        )
        self._repeats = Counter(
            "dynanoise_window_cell_repeats", "Queries of a cell asked before.", registry=registry
        )
        self._sensitivity = Histogram(
            "dynanoise_window_sensitivity", "R of queries.", buckets=_UNIT, registry=registry
        )
        self._sigma = Histogram(
            "dynanoise_window_sigma", "Sigma of queries.", buckets=_SIGMA, registry=registry
        )
        Gauge("dynanoise_key", "The secret's id.", ["key_id"], registry=registry).labels(
            key_id
        ).set(1)

    def refused(self, reason: str) -> None:
        """Counts a refusal."""
        self.refusals.labels(reason).inc()

    def tell(self, window: Window) -> None:
        """Adds a window, whole or not at all: a part of one would tell of fewer queries."""
        with self._whole:
            self._queries.inc(window.queries)
            self._flips.inc(window.flips)
            self._repeats.inc(window.repeats)
            for value in window.sensitivity:
                self._sensitivity.observe(float(value))
            for value in window.sigma:
                self._sigma.observe(float(value))

    def text(self) -> bytes:
        """All metrics, as Prometheus reads them."""
        with self._whole:
            found: bytes = generate_latest(self.registry)
        return found

    def application(self, scrapers: Clients) -> Starlette:
        """GET /metrics for those who have a key."""

        async def show(request: Request) -> Response:
            authorization = request.headers.get("authorization")
            try:
                scrapers.named(presented(authorization, request.headers.get("x-api-key")))
            except Refused as refused:
                return JSONResponse(
                    {"error": str(refused)}, 401, headers={"WWW-Authenticate": "Bearer"}
                )
            text = await run_in_threadpool(self.text)
            return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

        async def missing(request: Request, error: Exception) -> Response:
            return JSONResponse({"error": "There is no such page."}, 404)

        app = Starlette(
            routes=[Route("/metrics", show)], exception_handlers={HTTPException: missing}
        )
        # To the Host of the request, which anybody may have put there.
        app.router.redirect_slashes = False
        return app
