"""The command `dynanoise export`: a defense into an ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynanoise.cli import terminal
from dynanoise.core.errors import InputError

if TYPE_CHECKING:
    from dynanoise.core.defense import Defense


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX classifier.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The ONNX file to write.")
    ],
    defense: Annotated[
        str,
        typer.Option(
            metavar="DEFENSE",
            help="dynanoise or temperature, with parameters where they are not the usual ones: "
            "'dynanoise(base_variance=0.3, lambda_scale=2, temperature=10, keep_label=True)'; or a "
            "defense.yaml, which says all the rest, too.",
        ),
    ] = "dynanoise",
    noise: Annotated[
        str | None,
        typer.Option(
            help="fresh, the default; keyed noise cannot be in a graph without its secret."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The model's output with the logits, or a tensor inside. Default: the only one.",
        ),
    ] = None,
    class_axis: Annotated[
        int | None,
        typer.Option(help="Which axis of that output counts the classes. Default: -1, the last."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--input", help="What that output holds: logits or probabilities. Default: logits."
        ),
    ] = None,
) -> None:
    """Put a defense into an ONNX model: its only output is then defended probabilities.

    The graph draws nothing. The server supplies standard normals as an input, new ones for each
    answer and never from the client; `dynanoise.onnx.DefendedSession` does that.
    """
    with terminal.friendly():
        options = {"noise": noise, "output": output, "class_axis": class_axis, "input": kind}
        chosen, place = _chosen(defense, {k: v for k, v in options.items() if v is not None})
        from dynanoise.integrations import onnx_export

        made = onnx_export.export(model, out, chosen, **place)
        typer.echo(f"Wrote {out}: {made.setting}.")
        dropped = f"; dropped: {', '.join(made.dropped)}" if made.dropped else ""
        typer.echo(f"Output: {made.output}, float32{dropped}.")
        if made.noise is not None:
            shape = ", ".join(map(str, made.noise_shape))
            typer.echo(
                f"Noise: the server supplies {made.noise}, float32 [{shape}], standard normals, "
                "new ones for each answer."
            )
            typer.echo(
                "Threat model: an attacker who asks each query once. Fresh noise is averaged away "
                "by who may repeat a query."
            )
        else:
            typer.echo("There is no noise in it: who knows the temperature undoes it.")
        typer.echo("Who has the file has the undefended model.")


def _chosen(text: str, options: dict[str, Any]) -> tuple[Defense, dict[str, Any]]:
    """The defense, and where it applies."""
    if text.lower().endswith((".yaml", ".yml")):
        from dynanoise.config.configuration import Configuration

        if options:
            raise InputError(
                f"--{next(iter(options)).replace('_', '-')} was given beside {text}.",
                "Leave it out: the file says it.",
            )
        said = Configuration.read(text)
        _check_noise("fresh" if said.cell_width is None else "keyed")
        return said.defense, said.placement
    from dynanoise.core.registry import DEFENSES
    from dynanoise.core.spec import parse

    _check_noise(options.pop("noise", "fresh"))
    if parse(text, "defense").name == "none":
        raise InputError("The defense 'none' is no defense.", "Use dynanoise or temperature.")
    return DEFENSES.build(text), options


def _check_noise(noise: str) -> None:
    if noise == "keyed":
        raise InputError(
            "Keyed noise cannot be exported: the graph would have to hold its secret.",
            "Serve the model as it is with dynanoise.onnx.DefendedSession(model, dn.Keyed(...), "
            "defense=...), which answers outside the graph.",
        )
    if noise != "fresh":
        raise InputError(f"--noise is {noise!r}.", "Use fresh.")
