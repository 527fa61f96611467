"""Options of `dynanoise serve`: one field each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from dynanoise.core.errors import InputError
from dynanoise.core.options import Option

DAY = 86_400.0
"""Seconds of the period that budgets in defense.yaml and the default are for."""

BUDGET = 10_000
"""Queries of one client in a day where none is configured. An attacker who spends 56 on each
record, enough to undo keyed noise, attacks fewer than 180 records with them."""


def _read_noise(text: str) -> bool:
    if text != "fresh":
        raise InputError(f"noise is {text!r}.", "Use fresh, or leave --noise out.")
    return True


_CLIENTS, _NETWORK, _LIMITS = "Clients", "Network", "Limits"
"""Headings of groups of options in the help."""


@dataclass(frozen=True)
class Serving:
    """Options of the gateway, with the names and defaults of `dynanoise serve`.

    Args:
        fresh: True for fresh noise instead of the configured keyed noise, ``--noise fresh``.

    Raises:
        InputError: if options contradict each other, or a value is out of range.
    """

    PANEL: ClassVar[str] = "Model and defense"

    defense: Annotated[
        Path, Option("Configuration of the defense and its noise, a defense.yaml.", metavar="FILE")
    ]
    model: Annotated[
        Path | None,
        Option("ONNX model to serve, or a folder of out-of-fold models.", metavar="FILE"),
    ] = None
    upstream: Annotated[
        str | None,
        Option("Server of the Open Inference Protocol that has the model.", metavar="URL"),
    ] = None
    model_name: Annotated[
        str | None,
        Option("Name of the model. Default: that of the ONNX file without its ending."),
    ] = None
    model_version: Annotated[
        str | None,
        Option("The only version that is served and, of an upstream, queried."),
    ] = None
    fresh: Annotated[
        bool,
        Option(
            "Noise of the defense: fresh draws new noise for every prediction, which repeated "
            "queries average away. Default: keyed, as in defense.yaml.",
            flag="--noise",
            read=_read_noise,
        ),
    ] = False
    clients: Annotated[
        Path | None,
        Option(
            "File of clients with API keys, made by `dynanoise key client`.",
            metavar="FILE",
            panel=_CLIENTS,
        ),
    ] = None
    no_auth: Annotated[bool, Option("Serve anyone; all share one budget.", panel=_CLIENTS)] = False
    rate: Annotated[
        float, Option("Queries a second of one client; 0 sets no limit.", panel=_CLIENTS)
    ] = 100.0
    burst: Annotated[int, Option("Queries of one client at once.", panel=_CLIENTS)] = 1000
    budget: Annotated[
        int | None,
        Option(
            "Queries of one client in one period; 0 sets no limit. Default: that of defense.yaml, "
            f"else {BUDGET}, both for a day.",
            panel=_CLIENTS,
        ),
    ] = None
    period: Annotated[
        float,
        Option(
            "Length of a period, in seconds. Another than a day needs --budget, and a defense.yaml "
            "without neighbourhood, whose budget is for a day.",
            panel=_CLIENTS,
        ),
    ] = DAY
    budget_store: Annotated[
        str | None,
        Option(
            "Redis or Valkey server that counts budgets for all replicas, and across restarts: "
            "redis://HOST:PORT/0, or rediss:// with TLS. Default: this process counts its own.",
            metavar="URL",
            panel=_CLIENTS,
        ),
    ] = None
    store_password: Annotated[
        str | None,
        Option(
            "Place of the store's password: env:NAME or file:PATH.",
            metavar="REFERENCE",
            panel=_CLIENTS,
        ),
    ] = None
    store_failure: Annotated[
        str,
        Option(
            "While the store cannot be reached: closed refuses queries, local counts them in this "
            "process, from 0.",
            panel=_CLIENTS,
        ),
    ] = "closed"
    host: Annotated[str, Option("Address to listen at.", panel=_NETWORK)] = "127.0.0.1"
    port: Annotated[int, Option("Port for HTTP; 0 takes any that is free.", panel=_NETWORK)] = 8080
    grpc_port: Annotated[int | None, Option("Port for gRPC. Default: none.", panel=_NETWORK)] = None
    metrics_port: Annotated[
        int | None, Option("Port for Prometheus metrics. Default: none.", panel=_NETWORK)
    ] = None
    metrics_clients: Annotated[
        Path | None,
        Option(
            "File of clients that may read the metrics, made by `dynanoise key client`.",
            metavar="FILE",
            panel=_NETWORK,
        ),
    ] = None
    max_body: Annotated[
        int | None,
        Option(
            "Largest request, in bytes. Default: enough for the records that a client may send at "
            "once to an ONNX model, and never more than 16777216.",
            panel=_LIMITS,
        ),
    ] = None
    timeout: Annotated[
        float,
        Option(
            "Time for a request to arrive, and for the model's output, in seconds.", panel=_LIMITS
        ),
    ] = 30.0
    concurrency: Annotated[
        int,
        Option("Largest number of requests processed at once; others wait.", panel=_LIMITS),
    ] = 64
    client_concurrency: Annotated[
        int | None,
        Option(
            "Largest number of one client among these. Default: no limit of its own.", panel=_LIMITS
        ),
    ] = None
    workers: Annotated[
        int,
        Option(
            "Processes behind the same ports, for several cores. More than one needs "
            "--budget-store, or no budget and rate; metrics of worker I are at --metrics-port + I.",
            panel=_LIMITS,
        ),
    ] = 1
    queue: Annotated[
        int,
        Option(
            "Largest number of requests that wait, clients in rotation; others are refused.",
            panel=_LIMITS,
        ),
    ] = 1024
    queue_seconds: Annotated[
        float, Option("Longest wait of a request for its turn, in seconds.", panel=_LIMITS)
    ] = 5.0
    threads: Annotated[int, Option("CPU threads of an ONNX model.", panel=_LIMITS)] = 1
    drain: Annotated[
        float,
        Option(
            "Time between reporting not ready and closing the listener, in seconds.", panel=_LIMITS
        ),
    ] = 0.0
    weights: Annotated[
        Path | None,
        Option(
            "File of the weights of a model on another server, or beside the ONNX file; its "
            "SHA-256 must be that in defense.yaml.",
            metavar="FILE",
        ),
    ] = None
    upstream_binary: Annotated[
        bool,
        Option("Send binary tensors to the upstream, even if it does not list the extension."),
    ] = False
    forward_authorization: Annotated[
        bool,
        Option("Pass the clients' Authorization to the upstream; API keys are then X-API-Key."),
    ] = False

    def __post_init__(self) -> None:
        self._check_model()
        if self.no_auth == (self.clients is not None):
            raise InputError(
                "Exactly one of --clients and --no-auth is needed.",
                "Pass --clients FILE, or --no-auth to serve anyone.",
            )
        if (self.metrics_port is None) != (self.metrics_clients is None):
            raise InputError(
                "Metrics need a port and a file of clients that may read them.",
                "Pass both --metrics-port and --metrics-clients, or neither.",
            )
        named = self.port, self.grpc_port, self.metrics_port
        ports = [port for port in named if port is not None]
        if self.metrics_port:  # one for each worker
            ports += range(self.metrics_port + 1, self.metrics_port + self.workers)
        if any(not 0 <= port < 1 << 16 for port in ports):
            raise InputError(f"A port of {ports} is out of range.", "Ports go from 0 to 65535.")
        fixed = [port for port in ports if port]
        if len(set(fixed)) < len(fixed):
            raise InputError(
                f"Ports must differ; got {fixed}.", "Pass another port for each protocol."
            )
        self._check_store()
        self._check_limits()

    def _check_model(self) -> None:
        if (self.model is None) == (self.upstream is None):
            raise InputError(
                "Exactly one of --model and --upstream is needed.",
                "Pass --model FILE or --upstream URL.",
            )
        if self.upstream is not None and self.model_name is None:
            raise InputError("The model has no name.", "Pass --model-name, as the upstream has it.")
        if (self.forward_authorization or self.upstream_binary) and self.upstream is None:
            raise InputError(
                "There is no upstream.", "Leave out --forward-authorization and --upstream-binary."
            )
        for what, text in (("name", self.model_name), ("version", self.model_version)):
            if text is not None and (not text or "/" in text or not text.isprintable()):
                raise InputError(
                    f"The model's {what} is {text!r}.",
                    "It is part of a URL: use printable text without /.",
                )

    def _check_store(self) -> None:
        if self.store_failure not in ("closed", "local"):
            raise InputError(
                f"store_failure is {self.store_failure!r}.",
                "Use closed to refuse queries, or local to count them in this process.",
            )
        if self.workers > 1 and self.budget_store is None and (self.rate or self.budget != 0):
            raise InputError(
                f"Each of {self.workers} workers would count budgets by itself.",
                "Pass --budget-store URL, or --budget 0 --rate 0 to limit no client.",
            )
        if self.budget_store is None and (self.store_password or self.store_failure != "closed"):
            raise InputError(
                "There is no store of budgets.", "Pass --budget-store URL with its options."
            )

    def _check_limits(self) -> None:
        times = self.rate, self.period, self.timeout, self.drain, self.queue_seconds
        finite = all(map(math.isfinite, times))
        low = self.burst < 1 or min(self.rate, self.budget or 0, self.drain, self.queue) < 0
        if low or min(self.period, self.timeout, self.queue_seconds) <= 0 or not finite:
            raise InputError(
                "A limit is out of range.",
                "burst is at least 1, rate, budget, drain and queue at least 0, the others above "
                "0, and none is infinite.",
            )
        if self.period != DAY and self.budget is None:
            raise InputError(
                f"--period is {self.period:g} seconds, and the budget of defense.yaml, or the "
                "default, is for a day.",
                "Pass --budget with the queries of such a period, or leave out --period.",
            )
        body = 1 if self.max_body is None else self.max_body
        each = 1 if self.client_concurrency is None else self.client_concurrency
        if min(self.concurrency, self.threads, self.workers, body, each) < 1:
            raise InputError("A limit is below 1.", "Use 1 or more of each.")
