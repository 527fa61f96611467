"""Prometheus metrics of the gateway; effects of the noise only over 1,000 queries and more."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dynanoise.config.configuration import Configuration
from dynanoise.core import numerics
from dynanoise.core.defense import Noise
from dynanoise.core.numerics import Float64
from dynanoise.core.registry import SENSITIVITIES
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.oip.faults import Refused
from dynanoise.oip.tensors import Array
from dynanoise.serving.clients import Clients, key_in

WINDOW = 1_000
"""Queries of all clients together in one window of the noise's effects."""

_REMEMBERED = 1 << 16
"""Number of cells whose keyed digests are kept, to count repeats."""

_SECONDS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_UNIT = tuple(step / 10 for step in range(1, 11))
_SIGMA = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class Window:
    """Effects of the noise on the queries of one window.

    Attributes:
        queries: number of queries.
        sensitivity: R [queries]; empty if the defense has none.
        sigma: standard deviation of the noise [queries], in logits; empty if the defense has none.
        flips: number of responses whose label is not the model's.
        repeats: number of queries in a cell that an earlier query was in.
    """

    queries: int
    sensitivity: Float64
    sigma: Float64
    flips: int
    repeats: int


class Metrics:
    """Counters and histograms of one gateway; none of them shows a single query.

    Args:
        key_id: id of the secret, as `dynanoise key id` prints it; "" for fresh noise.

    Attributes:
        requests: counter by route and status.
        refusals: counter by reason.
        upstream: histogram of the model's time, in seconds.
        defense: histogram of the defense's time, in seconds.
    """

    def __init__(self, key_id: str) -> None:
        registry = self.registry = CollectorRegistry()
        self.key_id = key_id
        self._lock = threading.Lock()
        self.requests = Counter(
            "dynanoise_requests",
            "Requests by route and status.",
            ["route", "status"],
            registry=registry,
        )
        self.refusals = Counter(
            "dynanoise_refusals", "Requests without a response.", ["reason"], registry=registry
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
            "dynanoise_window_cell_repeats",
            "Queries of a cell that was queried before.",
            registry=registry,
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

    def count_refusal(self, reason: str) -> None:
        """Count a request without a response, by one word."""
        self.refusals.labels(reason).inc()

    def add_window(self, window: Window) -> None:
        """Add a window, whole or not at all: a part of one would show fewer queries."""
        with self._lock:
            self._queries.inc(window.queries)
            self._flips.inc(window.flips)
            self._repeats.inc(window.repeats)
            for value in window.sensitivity:
                self._sensitivity.observe(float(value))
            for value in window.sigma:
                self._sigma.observe(float(value))

    def exposition(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        with self._lock:
            text: bytes = generate_latest(self.registry)
        return text

    def application(self, scrapers: Clients) -> Starlette:
        """An ASGI application for GET /metrics.

        Args:
            scrapers: clients that may read the metrics.
        """

        async def metrics(request: Request) -> Response:
            headers = request.headers
            try:
                scrapers.authenticate(
                    key_in(headers.get("authorization"), headers.get("x-api-key"))
                )
            except Refused as refused:
                return JSONResponse(
                    {"error": str(refused)}, 401, headers={"WWW-Authenticate": "Bearer"}
                )
            text = await run_in_threadpool(self.exposition)
            return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

        async def missing(request: Request, error: Exception) -> Response:
            return JSONResponse({"error": "There is no such URL."}, 404)

        app = Starlette(
            routes=[Route("/metrics", metrics)], exception_handlers={HTTPException: missing}
        )
        # A redirect would go to the request's Host, which any client can forge.
        app.router.redirect_slashes = False
        return app


class Windows:
    """Collector of rows, which reports the effects of the noise when a window is complete.

    R or sigma of one query would show what the noise hides, and two readings of a counter around
    one query are that query's. The rows of the current window stay in memory until then, at most a
    window and the last request; an attacker who reads the process's memory has the secret as well.

    Args:
        configuration: defense, noise and output.
        report: called with each complete window.
        size: queries in one window.
    """

    def __init__(
        self, configuration: Configuration, report: Callable[[Window], None], size: int = WINDOW
    ) -> None:
        self._configuration, self._report, self._size = configuration, report, size
        self._rows: list[tuple[Array, Array]] = []
        self._count = 0
        self._cells: OrderedDict[bytes, None] = OrderedDict()
        self._key = secrets.token_bytes(32)
        self._lock, self._reporting = threading.Lock(), threading.Lock()

    def add(self, outputs: Array, probs: Array) -> list[tuple[Array, Array]]:
        """Add rows.

        Args:
            outputs: outputs of the model, with classes along the configured axis.
            probs: defended probabilities of the same shape.

        Returns:
            The rows of a window that is complete now, for `complete`; else nothing.
        """
        axis = self._configuration.class_axis
        classes = outputs.shape[axis]
        rows = tuple(np.moveaxis(part, axis, -1).reshape(-1, classes) for part in (outputs, probs))
        with self._lock:
            self._rows.append((rows[0], rows[1]))
            self._count += len(rows[0])
            if self._count < self._size:
                return []
            complete, self._rows, self._count = self._rows, [], 0
        return complete

    def complete(self, rows: list[tuple[Array, Array]]) -> None:
        """Compute and report a window; takes milliseconds, so call it in a thread."""
        with self._reporting:
            self._report(self._window(rows))

    def _window(self, rows: list[tuple[Array, Array]]) -> Window:
        logits = np.concatenate([outputs for outputs, _ in rows]).astype(np.float64)
        probs = np.concatenate([defended for _, defended in rows])
        labels = logits.argmax(axis=-1)
        if self._configuration.input == "probabilities":
            logits = numerics.favour(numerics.log_probabilities(logits), labels)
        defense = self._configuration.defense
        noise = _RecordingNoise(self._configuration.noise_source())
        defense(logits, noise)
        base = logits if noise.base is None else noise.base
        sensitivity = sigma = np.empty(0)
        if isinstance(defense, DynaNoise):
            sensitivity = np.asarray(SENSITIVITIES.get(defense.sensitivity)(base), np.float64)
            sigma = np.sqrt(defense.variance(base))
        flips = int((labels != probs.argmax(axis=-1)).sum())
        return Window(len(logits), sensitivity, sigma, flips, self._count_repeats(base, labels))

    def _count_repeats(self, base: Float64, labels: Array) -> int:
        repeats = 0
        for row, label in zip(np.ascontiguousarray(base), labels, strict=True):
            content = row.tobytes() + int(label).to_bytes(8, "little")
            digest = hashlib.blake2b(content, key=self._key, digest_size=16).digest()
            repeats += digest in self._cells
            self._cells[digest] = None
            self._cells.move_to_end(digest)
            if len(self._cells) > _REMEMBERED:
                self._cells.popitem(last=False)
        return repeats


class _RecordingNoise:
    """A noise source that records the logits which the defense continues with."""

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        self.repeatable = noise.repeatable
        self.base: Float64 | None = None

    def draw(self, logits: Float64, draws: int, purpose: str) -> tuple[Float64, Float64]:
        self.base, normals = self._noise.draw(logits, draws, purpose)
        return self.base, normals
