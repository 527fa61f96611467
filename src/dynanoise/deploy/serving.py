"""From what a user asks of `dynanoise serve` to a running gateway."""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dynanoise.defenses import compiled
from dynanoise.deploy.configuration import FRESH, Configuration
from dynanoise.errors import InputError
from dynanoise.extras import require
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.secrets import Pinned, Secret
from dynanoise.noise.subkey import key_id

THREAT_MODEL = (
    "Fresh noise: an attacker who may repeat a query averages the noise away, at a rate of one "
    "over the number of repeats. Covered is only one who asks each query once."
)


@dataclass(frozen=True)
class Serving:
    """Everything that `dynanoise serve` can be told.

    Args:
        defense: a defense.yaml.
        model: an ONNX file, or None.
        upstream: URL of a server, or None.
        name: of the model; None for the file's.
        version: of the model; None for none.
        fresh: whether fresh noise was asked for.
        clients: file of clients; None for anyone.
        budget: rate, burst, total and period of `Budget`.
        host: to listen at.
        ports: HTTP, gRPC and metrics; None for none.
        scrapers: file of those who may see metrics.
        limits: body, seconds and requests at once of `Limits`.
        threads: of an ONNX model.
        drain: seconds.
        forward_authorization: to the upstream.
        binary: tensors to the upstream as bytes.
    """

    defense: Path
    model: Path | None
    upstream: str | None
    name: str | None
    version: str | None
    fresh: bool
    clients: Path | None
    budget: tuple[float, int, int, float]
    host: str
    ports: tuple[int, int | None, int | None]
    scrapers: Path | None
    limits: tuple[int, float, int]
    threads: int
    drain: float
    forward_authorization: bool
    binary: bool


def configured(path: Path, fresh: bool) -> Configuration:
    """The configuration, with keyed noise and a usable key, unless fresh noise was asked for.

    The key is looked up here and once: one that changed under a running gateway would make its
    metrics lie, and replicas answer under different keys.

    Raises:
        InputError: if the file is not usable, or names fresh noise and nobody asked for it.
        SecretError: if there is no usable secret.
    """
    found = Configuration.read(path)
    if fresh:
        return replace(found, noise=FRESH)
    if not isinstance(found.noise, Keyed):
        raise InputError(
            f"{path.name} says noise: fresh, which repeated queries average away.",
            "Write keyed noise into it (docs/gateway.md), or ask for this: --noise fresh.",
        )
    assert isinstance(found.noise.key, Secret)
    return replace(found, noise=replace(found.noise, key=Pinned(found.noise.key.reference)))


def serve(asked: Serving) -> None:
    """Serves until told to end.

    Raises:
        InputError: if something does not fit together.
        SecretError: if there is no usable secret.
        MissingExtraError: if a package of the extra ``serve`` is missing.
    """
    for package in ("orjson", "starlette", "uvicorn", "aiohttp", "prometheus_client"):
        require(package, "Serving")
    if asked.ports[1] is not None:
        require("tritonclient.grpc", "Serving over gRPC")
    from dynanoise.deploy.gateway.budgets import Budget, Budgets
    from dynanoise.deploy.gateway.clients import Clients
    from dynanoise.deploy.gateway.gateway import Gateway, Limits
    from dynanoise.deploy.gateway.launch import Listeners, run
    from dynanoise.deploy.gateway.logs import begin, log
    from dynanoise.deploy.gateway.metrics import Metrics
    from dynanoise.deploy.gateway.windows import Windows

    configuration = configured(asked.defense, asked.fresh)
    clients = None if asked.clients is None else Clients.read(asked.clients)
    scrapers = None if asked.scrapers is None else Clients.read(asked.scrapers)
    limits = Limits(*asked.limits)
    model = _model(asked, configuration, limits.seconds)
    kernel = compiled.warm(
        configuration.defense, configuration.source(), _types(configuration, model)
    )
    named = _key_id(configuration)
    metrics = Metrics(named)
    windows = None if scrapers is None else Windows(configuration, metrics.tell)
    begin()
    gateway = Gateway(
        model,
        configuration,
        clients,
        Budgets(Budget(*asked.budget)),
        limits,
        metrics,
        windows,
        asked.forward_authorization,
    )
    log(
        "starting",
        model=model.name,
        defense=type(configuration.defense).__name__,
        noise="keyed" if named else FRESH,
        key_id=named or None,
        compiled=kernel,
    )
    if not named:
        log("weakness", logging.WARNING, weakness="fresh_noise", threat_model=THREAT_MODEL)
    elif getattr(model, "external", False):
        # Another version of them would need another digest, and nothing here would notice.
        log("weakness", logging.WARNING, weakness="weights_not_checked")
    if clients is None:
        log("weakness", logging.WARNING, weakness="no_auth")
    if not _loopback(asked.host):
        log("weakness", logging.WARNING, weakness="no_tls", host=asked.host)
    port, grpc_port, metrics_port = asked.ports
    run(gateway, Listeners(asked.host, port, grpc_port, metrics_port, scrapers, asked.drain))


def _types(configuration: Configuration, model: Any) -> tuple[str, ...]:
    """What the defense is given: of probabilities it takes logarithms in double precision."""
    if configuration.input == "probabilities":
        return ("float64",)
    output = getattr(model, "output", None)
    if output is None:  # on another server, which may not be there yet
        return ("float32", "float64")
    return ("float64",) if output.datatype == "FP64" else ("float32",)


def _key_id(configuration: Configuration) -> str:
    noise = configuration.noise
    if not isinstance(noise, Keyed):
        return ""
    assert not isinstance(noise.key, str)
    return key_id(noise.key.root())


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _model(asked: Serving, configuration: Configuration, seconds: float) -> Any:
    if asked.model is None:
        from dynanoise.deploy.gateway.upstream import Upstream

        assert asked.upstream is not None
        assert asked.name is not None
        return Upstream(
            asked.upstream,
            asked.name,
            asked.version,
            configuration.output,
            asked.binary,
            connections=asked.limits[2],
            limit=seconds,
        )
    from dynanoise.deploy.gateway.onnx_model import OnnxModel

    made = OnnxModel(
        asked.model,
        asked.name or asked.model.stem,
        asked.version,
        configuration.output,
        asked.threads,
        seconds,
    )
    noise = configuration.noise
    if isinstance(noise, Keyed) and noise.weights != made.digest and not made.external:
        raise InputError(
            f"{asked.defense.name} was written for other weights than {asked.model} holds: two "
            "models must not share a key's noise.",
            f"If this is the model, write noise.weights: {made.digest}",
        )
    return made
