"""`dynanoise export`: a defense into an ONNX graph, or stored models into a folder of graphs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynanoise.core.errors import InputError
from dynanoise.core.options import Option

if TYPE_CHECKING:
    from dynanoise.core.defense import Defense


def export(
    model: Annotated[
        Path,
        Option(
            "ONNX classifier; or the beginning of the key of a stored out-of-fold model, see "
            "`dynanoise store ls`.",
            metavar="MODEL",
            argument=True,
        ),
    ],
    *,
    out: Annotated[
        Path,
        Option("ONNX file to write; of a stored model, a folder.", short="-o", metavar="FILE"),
    ],
    defense: Annotated[
        str,
        Option(
            "Defense to put in: dynanoise or temperature, NAME or NAME(PARAMETER=VALUE, ...), such "
            "as 'dynanoise(base_variance=0.3, lambda_scale=2, temperature=10, keep_label=True)'; "
            "or a defense.yaml, which holds the other options, too.",
            metavar="DEFENSE",
        ),
    ] = "dynanoise(keep_label=True)",
    noise: Annotated[
        str | None,
        Option("Noise of the defense: fresh. Keyed noise cannot be in a graph without its secret."),
    ] = None,
    output: Annotated[
        str | None,
        Option(
            "The model's output with the logits, or a tensor inside. Default: the only one that "
            "can be, by type, shape, name and operator.",
            metavar="NAME",
        ),
    ] = None,
    class_axis: Annotated[
        int | None, Option("Axis of the classes in that output. Default: -1, the last.")
    ] = None,
    kind: Annotated[
        str | None,
        Option("Kind of that output: logits or probabilities. Default: logits.", flag="--input"),
    ] = None,
    store: Annotated[
        str | None,
        Option("Store of the model: the folder or address given to `dynanoise bench --store`."),
    ] = None,
    data: Annotated[
        Path | None, Option("Folder with the data set of the stored model.", metavar="FOLDER")
    ] = None,
) -> None:
    """Put a defense into an ONNX model: its only output is then defended probabilities.

    The graph draws nothing. The server supplies standard normals as an input, new ones for each
    prediction and never from the client; `dynanoise.onnx.DefendedSession` does that.

    Of a stored out-of-fold model the K models become a folder of graphs with their cells, which
    `dynanoise serve --model` and `dynanoise audit --model` take.

    Examples:
        dynanoise export m.onnx --defense temperature --out defended.onnx
        dynanoise export 3fa9c1 --out folder
    """
    if model.is_dir():
        raise InputError(
            f"{model} is a folder.",
            "Out-of-fold models are served as they are, with a defense of their outputs in "
            "defense.yaml: dynanoise serve --model FOLDER --defense defense.yaml",
        )
    if not model.exists() and not model.suffix:
        from dynanoise.cli.store import open_store
        from dynanoise.training.export import export_stored

        digest = export_stored(open_store(store), str(model), out, data_folder=data)
        typer.echo(f"Wrote {out}: a graph for each fold, cells and exclusion.")
        typer.echo(f"Weights for defense.yaml: {digest}.")
        typer.echo("Each graph alone remembers the records it was trained on.")
        return
    options = {"noise": noise, "output": output, "class_axis": class_axis, "input": kind}
    chosen, place = _defense_of(defense, {k: v for k, v in options.items() if v is not None})
    from dynanoise.integrations import onnx_export

    exported = onnx_export.export(model, out, chosen, **place)
    typer.echo(f"Wrote {out}: {exported.setting}.")
    dropped = f"; dropped: {', '.join(exported.dropped)}" if exported.dropped else ""
    typer.echo(f"Output: {exported.output}, float32{dropped}.")
    if exported.noise is not None:
        shape = ", ".join(map(str, exported.noise_shape))
        typer.echo(
            f"Noise: the server supplies {exported.noise}, float32 [{shape}], standard normals, "
            "new ones for each prediction."
        )
        typer.echo(
            "Threat model: an attacker who queries each input once. Fresh noise is averaged away "
            "by repeated queries."
        )
        if not chosen.keeps_labels:
            typer.echo(
                "The noise changes labels: keep_label=True keeps them, and dynanoise audit "
                "--defense measures the share."
            )
    else:
        typer.echo("There is no noise in it: an attacker who knows the temperature undoes it.")
    typer.echo("The file holds the undefended model as well.")


def _defense_of(text: str, options: dict[str, Any]) -> tuple[Defense, dict[str, Any]]:
    """Make the defense, and find the values it applies to."""
    if text.lower().endswith((".yaml", ".yml")):
        from dynanoise.config.configuration import Configuration

        if options:
            raise InputError(
                f"--{next(iter(options)).replace('_', '-')} was given beside {text}.",
                "Leave it out: the file names it.",
            )
        configuration = Configuration.read(text)
        _check_noise("fresh" if configuration.cell_width is None else "keyed")
        return configuration.defense, configuration.placement
    from dynanoise.core.registry import DEFENSES, parse

    _check_noise(options.pop("noise", "fresh"))
    if parse(text, "defense").name == "none":
        raise InputError("The defense 'none' changes nothing.", "Use dynanoise or temperature.")
    return DEFENSES.build(text), options


def _check_noise(noise: str) -> None:
    if noise == "keyed":
        raise InputError(
            "Keyed noise cannot be exported: the graph would have to hold its secret.",
            "Serve the model as it is with dynanoise.onnx.DefendedSession(model, dn.Keyed(...), "
            "defense=...), which defends outside the graph.",
        )
    if noise != "fresh":
        raise InputError(f"--noise is {noise!r}.", "Use fresh.")
