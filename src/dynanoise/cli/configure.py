"""`dynanoise configure`: a defense.yaml for an ONNX model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynanoise.core.errors import InputError, check
from dynanoise.core.options import Option

if TYPE_CHECKING:
    import numpy.typing as npt

    from dynanoise.integrations.onnx_model import Classifier

USUAL_WIDTH = 16.0
"""Width of cells without held-out records, in logits: that of small networks on images."""


def configure(
    model: Annotated[
        Path,
        Option(
            "ONNX classifier, or a folder of out-of-fold models.", metavar="MODEL", argument=True
        ),
    ],
    *,
    data: Annotated[
        Path | None,
        Option(
            "Table of held-out records (csv, npz, parquet), none of which the model was trained "
            "on; the width of the cells is measured on them.",
            metavar="FILE",
        ),
    ] = None,
    label: Annotated[
        str | None,
        Option(
            "Column of labels. Default: label, class, target or y, else the last column.",
            metavar="NAME",
        ),
    ] = None,
    out: Annotated[Path, Option("File to write.", short="-o", metavar="FILE")] = Path(
        "defense.yaml"
    ),
    name: Annotated[
        str | None,
        Option("Name of the model, which its replicas share. Default: that of the file."),
    ] = None,
    key: Annotated[
        str,
        Option(
            "Place of the secret: env:NAME or file:PATH, relative to the folder of defense.yaml; "
            "a file that is not there is made.",
            metavar="REFERENCE",
        ),
    ] = "file:dynanoise.key",
    budget: Annotated[
        int | None,
        Option("Queries of one client a day. Default: left to `dynanoise serve`."),
    ] = None,
    output: Annotated[
        str | None,
        Option(
            "The model's output with the logits or probabilities. Default: the only one that can "
            "be, by type, shape, name and operator."
        ),
    ] = None,
    class_axis: Annotated[int, Option("Axis of the classes in that output.")] = -1,
    kind: Annotated[
        str | None,
        Option(
            "Values of that output: logits or probabilities. Default: by operators and values.",
            flag="--input",
        ),
    ] = None,
) -> None:
    """Write a defense.yaml for an ONNX model: keyed noise of the published setting.

    The file names the output, its kind, the digest of the weights, and the place of the secret.
    `dynanoise audit --model MODEL --defense defense.yaml` measures it, and `dynanoise tune` finds
    a setting for your own models.

    Examples:
        dynanoise configure m.onnx --data held_out.parquet

        dynanoise configure m.onnx --out shop/defense.yaml --key env:SHOP_KEY
    """
    from dynanoise.audits.model_file import open_onnx
    from dynanoise.config.configuration import Configuration
    from dynanoise.core.files import write_atomically, writing
    from dynanoise.integrations.out_of_fold.onnx_folder import MODELS
    from dynanoise.noise.cells import GAPS

    check(not out.exists(), f"{out} exists.", "Name another file with --out, or remove it.")
    classifier = open_onnx(model, output, class_axis, kind)
    outputs = _query(classifier, data, label)
    value_kind = classifier.kind or _kind(outputs, classifier.output.name, model)
    width, source = USUAL_WIDTH, "not measured: pass --data FILE"
    if data is not None:
        width = _width(outputs, value_kind)
        source = f"{GAPS:g} median gaps between the two largest logits of {data.name}"
    text = _TEXT.format(
        model=json.dumps(name or model.stem),
        file=model.name,
        digest=classifier.digest,
        digested=f"{model.name}/{MODELS}" if model.is_dir() else model.name,
        output=json.dumps(classifier.output.name),
        axis=class_axis,
        kind=value_kind,
        width=f"{width:g}",
        source=source,
        key=json.dumps(key),
        budget=f"budget: {budget}" if budget is not None else "# budget: 10000",
    )
    with writing(out):
        write_atomically(out, _aligned(text).encode())
    try:
        Configuration.read(out)
    except InputError:
        out.unlink()
        raise
    typer.echo(f"Wrote {out}: keyed noise, cells {width:g} logits wide ({source}).")
    if classifier.external:
        typer.echo("Weights are in files beside the model: serve with --weights FILE.")
    _make_secret(key, out.parent)
    typer.echo(
        f"Next: dynanoise serve --model {model} --defense {out} --no-auth (clients with API keys: "
        "dynanoise key client)"
    )


_TEXT = """\
# How answers are defended (dynanoise). Holds no secret: noise.key says where it is.
version: 1
defense:
  name: dynanoise
  base_variance: 0.3  # of the noise on logits at the least certain answer
  lambda_scale: 2.0  # variance at a certain answer: base_variance x (1 + lambda_scale)
  temperature: 10.0  # smooths probabilities; an attacker who knows it undoes it
  keep_label: true  # the defended label is the model's own
output: {output}  # tensor of {file}
class_axis: {axis}
input: {kind}
noise:
  name: keyed  # a repeated query gets the same answer
  cell_width: {width}  # {source}
  model: {model}
  weights: {digest}  # SHA-256 of {digested}: another file is refused
  key: {key}  # where the secret is; dynanoise key new makes one
{budget}  # queries of one client a day
"""


def _aligned(text: str) -> str:
    """The text with the comments of its settings in one column, where they fit."""
    lines = []
    for line in text.splitlines():
        setting, mark, comment = line.partition("  # ")
        lines.append(f"{setting:<26}  # {comment}" if mark else line)
    return "\n".join(lines) + "\n"


def _make_secret(key: str, folder: Path) -> None:
    """Make the file of the secret if there is none."""
    from dynanoise.noise.keys import write_secret

    kind, _, place = key.partition(":")
    if kind == "file" and not (folder / place).exists():
        identity = write_secret(folder / place)
        typer.echo(f"Made {folder / place}, a secret that only you can read; key id {identity}.")


def _query(classifier: Classifier, data: Path | None, label: str | None) -> Any:
    """Outputs [n, K] on held-out records, or on random ones."""
    import numpy as np

    from dynanoise.audits.model_file import Records, query_onnx
    from dynanoise.data.tables import read_table
    from dynanoise.integrations.onnx_graph import first_line
    from dynanoise.integrations.onnx_inputs import random_feed

    if data is not None:
        table = read_table(data, label)
        members = np.zeros(len(table.labels), dtype=bool)
        return query_onnx(classifier, Records(table.inputs, table.labels, members, (table, table)))
    try:
        outputs = classifier.run(random_feed(classifier.inputs, np.random.default_rng(0)))
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        raise InputError(
            f"{classifier.path} does not take random records ({first_line(error)}).",
            "Pass held-out records with --data FILE.",
        ) from error
    return np.moveaxis(outputs, classifier.output.axis, -1)


def _kind(outputs: npt.NDArray[Any], name: str, model: Path) -> str:
    """Kind of an output by its values."""
    import numpy as np

    from dynanoise.core.arrays.predictions import EXACT, is_distribution

    check(
        bool(np.isfinite(outputs).all()),
        f"Whether {name} of {model} holds logits or probabilities cannot be told.",
        "Pass --input logits or --input probabilities, or held-out records with --data FILE.",
    )
    return "probabilities" if is_distribution(outputs, -1, EXACT) else "logits"


def _width(outputs: npt.NDArray[Any], kind: str) -> float:
    """Width of the cells, in logits, to 3 significant digits."""
    import numpy as np

    from dynanoise.defenses import response
    from dynanoise.noise.cells import GAPS, starting_width

    rows = outputs.astype(np.float64)
    logits = response.logits_of(rows) if kind == "probabilities" else rows
    width = starting_width(logits)
    check(
        math.isfinite(width) and width > 0,
        f"The median gap between the two largest logits is {width / GAPS:g}.",
        "Pass held-out records that the model tells apart.",
    )
    return width
