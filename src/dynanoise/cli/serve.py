"""The command `dynanoise serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynanoise.cli import terminal
from dynanoise.core.errors import InputError


def serve(
    defense: Annotated[
        Path, typer.Option(metavar="FILE", help="A defense.yaml: how answers are defended.")
    ],
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An ONNX model to serve.")
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A server of the Open Inference Protocol."),
    ] = None,
    model_name: Annotated[
        str | None,
        typer.Option(help="The model's name. Default: that of the ONNX file without its ending."),
    ] = None,
    model_version: Annotated[
        str | None,
        typer.Option(help="The only version that is served and, of an upstream, asked."),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            help="fresh: new noise for every answer, which repeated queries average away. "
            "Default: keyed, as in defense.yaml."
        ),
    ] = None,
    clients: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who may ask; made by `dynanoise key client`."),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Anyone may ask; all share one budget.")
    ] = False,
    rate: Annotated[
        float, typer.Option(help="Queries a second of one client; 0 sets no limit.")
    ] = 100.0,
    burst: Annotated[int, typer.Option(help="Queries of one client at once.")] = 1000,
    budget: Annotated[
        int, typer.Option(help="Queries of one client in one period; 0 sets no limit.")
    ] = 1_000_000,
    period: Annotated[float, typer.Option(help="Seconds of a period.")] = 86_400.0,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="For HTTP; 0 takes any that is free.")] = 8080,
    grpc_port: Annotated[int | None, typer.Option(help="For gRPC. Default: none.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="For Prometheus metrics. Default: none.")
    ] = None,
    metrics_clients: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who may see metrics; made by `dynanoise key client`."),
    ] = None,
    max_body: Annotated[int, typer.Option(help="Bytes of a request.")] = 16 << 20,
    timeout: Annotated[
        float, typer.Option(help="Seconds for a request to arrive, and for the model's answer.")
    ] = 30.0,
    concurrency: Annotated[int, typer.Option(help="Requests worked on at once.")] = 64,
    threads: Annotated[int, typer.Option(help="Of the processor, for an ONNX model.")] = 1,
    drain: Annotated[
        float, typer.Option(help="Seconds of not being ready before listening ends.")
    ] = 0.0,
    upstream_binary: Annotated[
        bool,
        typer.Option(
            "--upstream-binary",
            help="Send the upstream bytes, not JSON, even if it does not list the extension.",
        ),
    ] = False,
    forward_authorization: Annotated[
        bool,
        typer.Option(
            "--forward-authorization",
            help="Pass the clients' Authorization to the upstream; API keys are then X-API-Key.",
        ),
    ] = False,
) -> None:
    """Serve a model whose answers are defended, over the Open Inference Protocol.

    Either an ONNX model, or one on another server. Only the defended output leaves. Logs are JSON
    on standard error, without inputs, outputs or secrets.
    """
    with terminal.exit_codes():
        if noise not in (None, "fresh"):
            raise InputError(f"noise is {noise!r}.", "Use fresh, or leave --noise out.")
        from dynanoise.serving import startup

        startup.serve(
            startup.Serving(
                defense=defense,
                model=model,
                upstream=upstream,
                model_name=model_name,
                model_version=model_version,
                fresh=noise == "fresh",
                clients=clients,
                no_auth=no_auth,
                rate=rate,
                burst=burst,
                budget=budget,
                period=period,
                host=host,
                port=port,
                grpc_port=grpc_port,
                metrics_port=metrics_port,
                metrics_clients=metrics_clients,
                max_body=max_body,
                timeout=timeout,
                concurrency=concurrency,
                threads=threads,
                drain=drain,
                upstream_binary=upstream_binary,
                forward_authorization=forward_authorization,
            )
        )
