"""From what a user asks of `dynanoise serve` to a running gateway."""

from __future__ import annotations

import ipaddress
import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dynanoise.config.configuration import FRESH, Configuration
from dynanoise.core.errors import InputError
from dynanoise.core.extras import require
from dynanoise.defenses.dynanoise import compile_ahead
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import Pinned, Secret
from dynanoise.noise.subkey import key_id

THREAT_MODEL = (
    "Fresh noise: an attacker who may repeat a query averages the noise away, at a rate of one "
    "over the number of repeats. Covered is only one who asks each query once."
)


@dataclass(frozen=True)
class Serving:
    """Everything that `dynanoise serve` can be told, with the same defaults.

    Args:
        defense: a defense.yaml.
        model: an ONNX file, or None.
        upstream: URL of a server, or None.
        name: of the model; None for the file's.
        version: of the model; None for none.
        fresh: whether fresh noise was asked for.
        clients: file of clients; None for anyone.
        no_auth: whether anyone was asked for.
        budget: rate, burst, total and period of `Budget`.
        host: to listen at.
        ports: HTTP, gRPC and metrics; None for none.
        scrapers: file of those who may see metrics.
        limits: body, seconds and requests at once of `Limits`.
        threads: of an ONNX model.
        drain: seconds.
        forward_authorization: to the upstream.
        binary: tensors to the upstream as bytes.

    Raises:
        InputError: if something does not fit together, or is out of range.
    """

    defense: Path
    model: Path | None = None
    upstream: str | None = None
    name: str | None = None
    version: str | None = None
    fresh: bool = False
    clients: Path | None = None
    no_auth: bool = False
    budget: tuple[float, int, int, float] = (100.0, 1000, 1_000_000, 86_400.0)
    host: str = "127.0.0.1"
    ports: tuple[int, int | None, int | None] = (8080, None, None)
    scrapers: Path | None = None
    limits: tuple[int, float, int] = (16 << 20, 30.0, 64)
    threads: int = 1
    drain: float = 0.0
    forward_authorization: bool = False
    binary: bool = False

    def __post_init__(self) -> None:
        if (self.model is None) == (self.upstream is None):
            raise InputError("There must be one model.", "Pass --model FILE or --upstream URL.")
        if self.upstream is not None and self.name is None:
            raise InputError("The model has no name.", "Pass --model-name, as the upstream has it.")
        if self.no_auth == (self.clients is not None):
            raise InputError(
                "It is not clear who may ask.", "Pass either --clients FILE or --no-auth."
            )
        if (self.ports[2] is None) != (self.scrapers is None):
            raise InputError(
                "Metrics need a port and who may see them.",
                "Pass both --metrics-port and --metrics-clients, or neither.",
            )
        if (self.forward_authorization or self.binary) and self.upstream is None:
            raise InputError(
                "There is no upstream.", "Leave out --forward-authorization and --upstream-binary."
            )
        for what, said in (("name", self.name), ("version", self.version)):
            if said is not None and (not said or "/" in said or not said.isprintable()):
                raise InputError(
                    f"The model's {what} is {said!r}.", "It is part of a path: one word without /."
                )
        if any(port is not None and not 0 <= port < 1 << 16 for port in self.ports):
            raise InputError(f"A port of {self.ports} is none.", "Ports go from 0 to 65535.")
        named = [port for port in self.ports if port]
        if len(set(named)) < len(named):
            raise InputError(f"A port of {self.ports} is there twice.", "Each protocol needs one.")
        rate, burst, total, period = self.budget
        body, seconds, at_once = self.limits
        finite = all(map(math.isfinite, (rate, period, seconds, self.drain)))
        low = burst < 1 or min(rate, total, self.drain) < 0 or min(period, seconds) <= 0
        if low or not finite:
            raise InputError(
                "A limit is out of range.",
                "burst is at least 1, rate, budget and drain at least 0, the others above 0, "
                "and none is infinite.",
            )
        if min(at_once, self.threads, body) < 1:
            raise InputError("A limit is below 1.", "Use at least 1 thread, request and byte.")


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


def application(asked: Serving) -> Any:
    """The gateway's ASGI application, for a server or framework that mounts it.

    Listeners, metrics and drain are that server's business, and so are logs: events are records of
    the logger "dynanoise.gateway" with their fields in ``fields``.

    Raises:
        InputError: if something does not fit together.
        SecretError: if there is no usable secret.
        MissingExtraError: if a package of the extra ``serve`` is missing.
    """
    gateway, _ = _gateway(asked)
    from dynanoise.serving.app import application as mounted

    return mounted(gateway)


def serve(asked: Serving) -> None:
    """Serves until told to end; errors as of `application`."""
    if asked.ports[1] is not None:
        require("tritonclient.grpc", "Serving over gRPC")
    gateway, scrapers = _gateway(asked, logs=True)
    from dynanoise.serving.launch import Listeners, run

    port, grpc_port, metrics_port = asked.ports
    run(gateway, Listeners(asked.host, port, grpc_port, metrics_port, scrapers, asked.drain))


def _gateway(asked: Serving, logs: bool = False) -> tuple[Any, Any]:
    """The gateway, and who may see its metrics."""
    for package in ("orjson", "starlette", "uvicorn", "prometheus_client"):
        require(package, "Serving")
    from dynanoise.serving.budgets import Budget, Budgets
    from dynanoise.serving.clients import Clients
    from dynanoise.serving.gateway import Gateway, Limits
    from dynanoise.serving.logs import begin, log
    from dynanoise.serving.noise_effect import Windows
    from dynanoise.serving.prometheus import Metrics

    configuration = configured(asked.defense, asked.fresh)
    clients = None if asked.clients is None else Clients.read(asked.clients)
    scrapers = None if asked.scrapers is None else Clients.read(asked.scrapers)
    limits = Limits(*asked.limits)
    model = _model(asked, configuration, limits.seconds)
    types = _types(configuration, model)
    kernel = compile_ahead(configuration.defense, configuration.noise_source(), types)
    named = _key_id(configuration)
    metrics = Metrics(named)
    windows = None if scrapers is None else Windows(configuration, metrics.tell)
    if logs:
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
    if getattr(model, "batch_dependent", False):
        log("weakness", logging.WARNING, weakness="batch_dependent")
    if clients is None:
        log("weakness", logging.WARNING, weakness="no_auth")
    if not _loopback(asked.host):
        log("weakness", logging.WARNING, weakness="no_tls", host=asked.host)
    return gateway, scrapers


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
        require("aiohttp", "Serving a model of an upstream")
        from dynanoise.serving.backends.upstream import Upstream

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
    from dynanoise.serving.backends.onnx import OnnxModel

    made = OnnxModel(
        asked.model,
        asked.name or asked.model.stem,
        asked.version,
        configuration.output,
        asked.threads,
        seconds,
        configuration.class_axis,
    )
    noise = configuration.noise
    if isinstance(noise, Keyed) and noise.weights != made.digest and not made.external:
        raise InputError(
            f"{asked.defense.name} was written for other weights than {asked.model} holds: two "
            "models must not share a key's noise.",
            f"If this is the model, write noise.weights: {made.digest}",
        )
    return made
