"""Start of the gateway that the options of `dynanoise serve` describe."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from dynanoise.config.configuration import FRESH, Configuration
from dynanoise.core.errors import DynaNoiseError, InputError
from dynanoise.core.extras import require
from dynanoise.core.files import file_sha256
from dynanoise.defenses.dynanoise import compile_ahead
from dynanoise.defenses.parameters import canonical, to_parts
from dynanoise.noise.keys import Pinned, Secret
from dynanoise.noise.subkey import key_id
from dynanoise.oip.tensors import Description
from dynanoise.serving.options import BUDGET, DAY, Serving

THREAT_MODEL = (
    "Fresh noise: an attacker who may repeat a query averages the noise away, at a rate of one "
    "over the number of repeats. Covered is only an attacker with one query a record."
)


def read_configuration(path: Path, fresh: bool) -> Configuration:
    """Read a configuration with keyed noise and a usable key, or make its noise fresh.

    The key is looked up here and once: one that changed under a running gateway would make its
    metrics wrong, and replicas respond under different keys.

    Args:
        path: a defense.yaml.
        fresh: whether fresh noise was requested.

    Raises:
        InputError: if the file is not usable, has fresh noise and none was requested, or its digest
            of the weights is all zeros.
        SecretError: if there is no usable secret.
    """
    configuration = Configuration.read(path)
    if fresh:
        return replace(configuration, noise=FRESH)
    noise = configuration.keyed_noise
    if noise is None:
        raise InputError(
            f"{path.name} says noise: fresh, which repeated queries average away.",
            "Write keyed noise into it (docs/gateway.md), or request it: --noise fresh.",
        )
    if not noise.weights.strip("0"):
        raise InputError(
            f"noise.weights in {path.name} is all zeros, which names no model.",
            "Write the SHA-256 of the model's weights, as sha256sum prints it.",
        )
    assert isinstance(noise.key, Secret)
    return replace(configuration, noise=replace(noise, key=Pinned(noise.key.reference)))


def application(options: Serving) -> Any:
    """Make the gateway's ASGI application, for a server or framework that mounts it.

    Listeners, metrics and drain are left to that server, and so are logs: events are records of
    the logger "dynanoise.gateway" with their fields in ``fields``.

    Args:
        options: options of `dynanoise serve`.

    Raises:
        InputError: if the options do not fit together.
        SecretError: if there is no usable secret.
        MissingExtraError: if a package of the extra ``serve`` is missing.
    """
    gateway, _ = make_gateway(options)
    from dynanoise.serving.http import application as http_application

    return http_application(gateway)


def serve(options: Serving) -> None:
    """Serve until the process gets SIGTERM, SIGINT or SIGHUP; errors as of `application`."""
    if options.grpc_port is not None:
        require("tritonclient.grpc", "Serving over gRPC")
        require("grpc_health.v1", "Serving over gRPC")
    gateway, scrapers, origin = _make(options, logs=True)
    from dynanoise.serving.listeners import Listeners, run
    from dynanoise.serving.workers import run_workers

    listeners = Listeners(
        options.host,
        options.port,
        options.grpc_port,
        options.metrics_port,
        scrapers,
        options.drain,
    )
    if options.workers == 1:
        run(gateway, listeners)
    else:
        gateway.tracing.close()
        del gateway  # it has checked the options and compiled the defense; workers have models
        run_workers(partial(make_worker, origin), options, replace(listeners, scrapers=None))


def make_gateway(options: Serving) -> tuple[Any, Any]:
    """Make the gateway, and log its settings and their weaknesses.

    Args:
        options: options of `dynanoise serve`.

    Returns:
        The `Gateway`, and the `Clients` that may read its metrics or None.
    """
    return _make(options)[:2]


def make_worker(origin: Mapping[str, str], options: Serving) -> tuple[Any, Any]:
    """Make the gateway of a worker, whose responses must be those of the other workers.

    Under another key or setting every record would have a second sample of noise behind one port.

    Args:
        origin: digests of what decides the responses, as they were when the gateway started.
        options: options of `dynanoise serve`.

    Returns:
        As `make_gateway`.

    Raises:
        SystemExit: if the files cannot be used, or with `workers.DIFFERS` if they have changed;
            the reason is logged.
    """
    from dynanoise.serving.logs import log
    from dynanoise.serving.workers import DIFFERS

    try:
        gateway, scrapers, present = _make(options, worker=True)
    except DynaNoiseError as error:
        log("worker_not_started", logging.ERROR, problem=str(error))
        raise SystemExit(1) from None
    changed = [name for name in origin if origin[name] != present[name]]
    if changed:
        problem = f"Changed since the gateway's start: {', '.join(changed)}. Start it anew."
        log("worker_not_started", logging.ERROR, problem=problem)
        raise SystemExit(DIFFERS)
    return gateway, scrapers


def _make(
    options: Serving, logs: bool = False, worker: bool = False
) -> tuple[Any, Any, Mapping[str, str]]:
    """Make the gateway, its scrapers, and the digests of what decides its responses.

    Args:
        options: options of `dynanoise serve`.
        logs: whether to send all logs of the process to standard error.
        worker: whether another process has logged the settings and their weaknesses; all clients
            may have been removed since.
    """
    for package in ("orjson", "starlette", "uvicorn", "prometheus_client"):
        require(package, "Serving")
    from dynanoise.serving.budgets import Budget
    from dynanoise.serving.clients import Clients
    from dynanoise.serving.gateway import Gateway, Limits
    from dynanoise.serving.logs import start_logging
    from dynanoise.serving.monitoring import Metrics, Windows
    from dynanoise.serving.tracing import open_tracing

    configuration = read_configuration(options.defense, options.fresh)
    clients, scrapers = (
        None if path is None else Clients.read(path, empty=worker)
        for path in (options.clients, options.metrics_clients)
    )
    tracing = open_tracing()
    model = _model(options, configuration, tracing)
    noise = configuration.noise_source()
    kernel = compile_ahead(configuration.defense, noise, _dtypes(configuration, model))
    metrics = Metrics(_key_id(configuration))
    windows = None if scrapers is None else Windows(configuration, metrics.add_window)
    total = _choose_budget(options, configuration)
    near = configuration.near
    if near is not None and total == 0:
        raise InputError(
            "neighbourhood needs a budget, which bounds what is counted.", "Pass --budget above 0."
        )
    if near is not None and options.period != DAY:
        raise InputError(
            f"neighbourhood.budget in {options.defense.name} is for a day, and --period is "
            f"{options.period:g} seconds.",
            "Leave out --period, or remove neighbourhood.",
        )
    budget = Budget(
        options.rate, options.burst, total, options.period, 0 if near is None else near.budget
    )
    budgets = _budgets(budget, options, model)
    cells = configuration.input_cells()
    body = options.max_body or _body_limit(getattr(model, "description", None), budgets.most)
    if logs:
        start_logging()
    gateway = Gateway(
        model,
        configuration,
        clients,
        budgets,
        Limits(
            body,
            options.timeout,
            options.concurrency,
            options.client_concurrency,
            options.queue,
            options.queue_seconds,
        ),
        metrics,
        windows,
        options.forward_authorization,
        cells,
        tracing,
    )
    if not worker:
        _log_start(gateway, options, kernel, total)
    digests = {
        "key": metrics.key_id,
        "defense.yaml": _digest_setting(configuration),
        "model": getattr(model, "digest", ""),  # "" on another server
        "cells": "" if cells is None else cells.digest,
    }
    return gateway, scrapers, digests


def _digest_setting(configuration: Configuration) -> str:
    """SHA-256 of everything in a configuration that decides responses, without the key."""
    noise, near = configuration.keyed_noise, configuration.near
    parts = to_parts(configuration.defense)
    settings = {
        "defense": canonical(parts.name, **parts.parameters, **parts.arrays),
        "noise": None if noise is None else [noise.cell_width, noise.model, noise.weights],
        "placement": configuration.placement,
        "budgets": [configuration.budget, None if near is None else near.budget],
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _budgets(budget: Any, options: Serving, model: Any) -> Any:
    """Budgets in this process, or in a store."""
    if options.budget_store is None:
        from dynanoise.serving.budgets import LocalBudgets

        return LocalBudgets(budget)
    require("redis", "Counting budgets in a store")
    from dynanoise.serving.store import StoreAddress, StoredBudgets

    address = StoreAddress(options.budget_store, options.store_password)
    local = options.store_failure == "local"
    return StoredBudgets(budget, address, model.name, local)


_MOST_BODY = 16 << 20
"""Largest default limit of a body, in bytes."""

_VALUE_BYTES = 32
"""Bytes of a number in JSON, with room for digits and spaces."""


def _body_limit(description: Description | None, most: int | None) -> int:
    """Limit of a body that has room for the most records of one request, at most 16 MiB."""
    record = None if description is None else description.record
    if record is None or most is None:
        return _MOST_BODY
    return min(_MOST_BODY, (64 << 10) + most * (_VALUE_BYTES * record.values + 2 * record.lists))


def _choose_budget(options: Serving, configuration: Configuration) -> int:
    """Queries of one client in one period; 0 for no limit."""
    if options.budget is not None:
        return options.budget
    return BUDGET if configuration.budget is None else configuration.budget


def _log_start(gateway: Any, options: Serving, kernel: bool, budget: int) -> None:
    """Log the settings, and every weakness of the deployment."""
    from dynanoise.serving.logs import log

    key, model = gateway.metrics.key_id, gateway.model
    near = gateway.configuration.near
    log(
        "starting",
        model=model.name,
        defense=type(gateway.configuration.defense).__name__,
        noise="keyed" if key else FRESH,
        key_id=key or None,
        compiled=kernel,
        budget=budget or None,
        period=options.period,
        neighbourhood=None if near is None else near.budget,
        counted="here" if options.budget_store is None else "store",
    )
    if not key:
        log("weakness", logging.WARNING, weakness="fresh_noise", threat_model=THREAT_MODEL)
    elif options.weights is None and getattr(model, "external", True):
        # Another version of them would need another digest, and nothing here would notice.
        log("weakness", logging.WARNING, weakness="weights_not_checked")
    if getattr(model, "batch_dependent", False):
        log("weakness", logging.WARNING, weakness="batch_dependent")
    if gateway.tracing.problem is not None:
        log("tracing_off", logging.WARNING, problem=gateway.tracing.problem)
    if options.no_auth:
        log("weakness", logging.WARNING, weakness="no_auth")
    if not _is_loopback(options.host):
        log("weakness", logging.WARNING, weakness="no_tls", host=options.host)
    if options.store_failure == "local":
        log("weakness", logging.WARNING, weakness="budgets_local_without_store")
    if budget == 0:
        log("weakness", logging.WARNING, weakness="no_budget")
    elif options.budget is None and gateway.configuration.budget is None:
        # Chosen inputs undo keyed noise; a budget that nothing was measured for limits on how many
        # records, and says nothing of how much each of them leaks.
        log("weakness", logging.WARNING, weakness="budget_not_chosen", budget=budget)


def _dtypes(configuration: Configuration, model: Any) -> tuple[str, ...]:
    """Dtypes of the logits: of probabilities the logarithms are in double precision."""
    if configuration.input == "probabilities":
        return ("float64",)
    output = getattr(model, "output", None)
    if output is None:  # on another server, which may not be there yet
        return ("float32", "float64")
    return ("float64",) if output.datatype == "FP64" else ("float32",)


def _key_id(configuration: Configuration) -> str:
    noise = configuration.keyed_noise
    if noise is None:
        return ""
    assert not isinstance(noise.key, str)
    return key_id(noise.key.root())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _model(options: Serving, configuration: Configuration, tracing: Any) -> Any:
    name = options.defense.name
    if options.model is None:
        require("aiohttp", "Serving a model of an upstream")
        from dynanoise.serving.backends.tls import FollowedTls
        from dynanoise.serving.backends.upstream import Upstream

        tls = configuration.upstream_tls
        assert options.upstream is not None
        assert options.model_name is not None
        if options.weights is not None:
            configuration.check_weights(_digest(options.weights), options.weights, name)
        return Upstream(
            options.upstream,
            options.model_name,
            options.model_version,
            configuration.output,
            options.upstream_binary,
            connections=options.concurrency,
            limit=options.timeout,
            tls=None if tls is None else FollowedTls(tls),
            tracing=tracing,
        )
    if configuration.upstream_tls is not None:
        raise InputError(
            f"{name} has upstream_tls, and there is no upstream.",
            "Remove it, or pass --upstream URL in place of --model.",
        )
    from dynanoise.serving.backends.onnx import OnnxModel

    model = OnnxModel(
        options.model,
        options.model_name or options.model.stem,
        options.model_version,
        configuration.output,
        options.threads,
        options.timeout,
        configuration.class_axis,
        configuration.input,
    )
    if not model.external:
        configuration.check_weights(model.digest, options.model, name)
    elif options.weights is not None:
        configuration.check_weights(_digest(options.weights), options.weights, name)
    return model


def _digest(weights: Path) -> str:
    return file_sha256(weights, "Pass the file of weights to --weights.")
