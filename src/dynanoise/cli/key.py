"""`dynanoise key`: root secrets of keyed noise, and API keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynanoise.cli.options import command
from dynanoise.core.options import Option

app = typer.Typer(help="Make, name and rotate the secrets of keyed noise.", no_args_is_help=True)


@command(app)
def new(
    out: Annotated[
        str, Option("File to make, which must not exist; - prints the secret.", metavar="FILE")
    ] = "dynanoise.key",
) -> None:
    """Make a secret of 32 random bytes, in a file that only its owner can read.

    It is written as 64 hexadecimal digits and shown nowhere else. The key id names the secret and
    reveals nothing else of it.
    """
    from dynanoise.noise.keys import new_secret, write_secret
    from dynanoise.noise.subkey import key_id

    if out == "-":
        secret = new_secret()
        typer.echo(secret)
        typer.echo(f"Key id: {key_id(bytes.fromhex(secret))}", err=True)
        return
    path = Path(out)
    typer.echo(f"Key id: {write_secret(path)}")
    typer.echo(f"Wrote {path}, which only you can read. All replicas of a model share it.")
    typer.echo(f"By file:        file:{path.absolute()}")
    typer.echo(f'By environment: export DYNANOISE_KEY="$(cat {path})", then env:DYNANOISE_KEY')
    typer.echo("Keep it out of repositories, images and logs, and keep a copy: predictions under a")
    typer.echo("lost secret cannot be made again. Rotate it only when it may be known.")


@command(app, "id")
def show_id(
    reference: Annotated[
        str,
        Option("Place of the secret: env:NAME or file:PATH.", metavar="REFERENCE", argument=True),
    ] = "env:DYNANOISE_KEY",
) -> None:
    """Check a secret and print its key id, to compare replicas; never the secret."""
    from dynanoise.noise.keys import Secret
    from dynanoise.noise.subkey import key_id

    typer.echo(f"Key id: {key_id(Secret(reference).root())}")


@command(app)
def rotate(
    defense: Annotated[
        Path, Option("Configuration with the present key.", metavar="FILE", argument=True)
    ] = Path("defense.yaml"),
    *,
    out: Annotated[
        Path, Option("File of the new key, which must not exist.", metavar="FILE")
    ] = Path("new.key"),
    weights: Annotated[
        str | None,
        Option(
            "Weights of the new version of the model that the new key comes with, or their "
            "SHA-256. Default: the weights stay as they are.",
            metavar="FILE|SHA256",
        ),
    ] = None,
    leaked: Annotated[
        bool,
        Option("The present key may be known, so that new noise for the same weights is due."),
    ] = False,
    history: Annotated[
        Path | None,
        Option(
            "File of the keys so far, by their ids. Default: that of the configuration with the "
            "ending .keys.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Make the next key of a deployed defense, and print what attackers gain by it.

    With every key a record that is queried again gets one more independent sample of noise, which
    averages out. Only a new version of the model has new noise anyway, so that a new key costs
    nothing then; for the same weights it is made with --leaked alone.
    """
    from dynanoise.config.configuration import Configuration
    from dynanoise.config.rotation import average_error
    from dynanoise.config.rotation import rotate as rotate_key

    configuration = Configuration.read(defense)
    digest = None if weights is None else _digest(weights)
    rotation = rotate_key(
        configuration, out, history or defense.with_suffix(".keys"), digest, leaked
    )
    before, now = len(rotation.before), len(rotation.before) + 1
    typer.echo(f"Key id: {rotation.new.key_id}, in place of {rotation.present.key_id}")
    typer.echo(f"Wrote {out}, which only you can read. Keys of this model: {rotation.keys}.")
    typer.echo(
        f"Samples of noise of a record that is queried under all of them: {before} so far, {now} "
        f"with this key, worth {now} queries of fresh noise."
    )
    errors = [average_error(configuration, samples) for samples in sorted({1, before, now})]
    if None not in errors:
        listed = ", ".join(f"{error:.2f}" for error in errors)
        counts = ", ".join(map(str, sorted({1, before, now})))
        typer.echo(f"Error of their average for {counts}: {listed} logits.")
    if rotation.is_free:
        typer.echo("These weights have new noise under any key: the new key adds no sample.")
        typer.echo(f"Write into {defense.name}: noise.weights: {rotation.new.weights}")
    else:
        typer.echo("An attacker with the old key has the cell of every output under it besides.")
    typer.echo(f"Write into {defense.name}: noise.key: file:{out.absolute()}")


def _digest(weights: str) -> str:
    """SHA-256 of a file, or the text itself where it is one."""
    import re

    from dynanoise.core.files import file_sha256

    if re.fullmatch("[0-9a-fA-F]{64}", weights):
        return weights.lower()
    return file_sha256(Path(weights), "Pass a file, or its SHA-256.")


@command(app)
def client(
    name: Annotated[str, Option("Name of the client: small letters, digits and -.", argument=True)],
    file: Annotated[
        Path, Option("File of clients, made if it is not there.", metavar="FILE")
    ] = Path("clients.txt"),
) -> None:
    """Make an API key for a client of `dynanoise serve`; the file gets its digest alone.

    The key is printed, once. To revoke it, delete its line, the last one as well. Gateways
    follow the file.
    """
    from dynanoise.serving.clients import add_client

    key = add_client(file, name)
    typer.echo(key)
    typer.echo(f"Added {name} to {file}. The key is shown only now.", err=True)


@command(app)
def revoke(
    name: Annotated[str, Option("Name of the client.", argument=True)],
    *,
    budget_store: Annotated[
        str, Option("Store that the gateways share, redis://HOST:PORT/0.", metavar="URL")
    ],
    file: Annotated[
        Path, Option("File of clients, in which the name is looked up.", metavar="FILE")
    ] = Path("clients.txt"),
    store_password: Annotated[
        str | None,
        Option("Place of the store's password: env:NAME or file:PATH.", metavar="REFERENCE"),
    ] = None,
) -> None:
    """Revoke a client of all gateways that share a store, from its next request on.

    A name that is neither in the file of clients nor has an account in the store is refused. It
    stays revoked, for a new API key as well; delete dynanoise:{NAME}:revoked to admit it again.
    """
    import asyncio

    from dynanoise.core.extras import require

    require("redis", "Revoking a client")
    from dynanoise.serving.clients import client_names
    from dynanoise.serving.store import StoreAddress
    from dynanoise.serving.store import revoke as revoke_client

    address = StoreAddress(budget_store, store_password)
    asyncio.run(revoke_client(address, name, client_names(file)))
    typer.echo(f"Revoked {name}. Delete its line from the file of clients as well.")
