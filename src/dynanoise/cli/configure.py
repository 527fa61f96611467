"""`dynanoise configure`: a defense.yaml for an ONNX model."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynanoise.core.errors import InputError, MissingExtraError, check
from dynanoise.core.options import Option

if TYPE_CHECKING:
    import numpy.typing as npt

    from dynanoise.integrations.onnx_model import Classifier
    from dynanoise.partition.cells import Cells

USUAL_WIDTH = 16.0
"""Width of cells without held-out records, in logits: that of small networks on images."""

CELL_WIDTH, COMPONENTS = 2.0, 8
"""Cells of inputs in which queries are counted: those that docs/gateway.md measures."""

NEAR = 16
"""Least limit of queries in one of these cells."""

REFUSED = 0.01
"""Largest share of the held-out records that the limit refuses, as queries of one day."""


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
            "on; the width of the cells and a limit on queries close to each other are measured "
            "on them.",
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
            "Kind of that output: logits or probabilities. Default: by operators and values.",
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
    _check_key(key)
    check(
        budget is None or budget >= 1,
        f"--budget is {budget}.",
        "Pass a number of queries a day, at least 1, or leave it out.",
    )
    classifier = open_onnx(model, output, class_axis, kind)
    inputs, outputs = _query(classifier, data, label)
    value_kind = classifier.kind or _kind(outputs, classifier.output.name, model)
    if classifier.kind is None:
        open_onnx(model, output, class_axis, value_kind)  # as it will be served
    width, source = USUAL_WIDTH, "not measured: pass --data FILE"
    near = Neighbourhood(None, 0, source)
    if data is not None:
        width = _width(outputs, value_kind)
        source = f"{GAPS:g} median gaps between the two largest logits of {data.name}"
        near = _measure_near(inputs, data.name)
    cells = out.with_name(f"{out.stem}_cells.json")
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
        near=near.lines(cells.name),
    )
    with writing(out):
        write_atomically(out, _aligned(text).encode())
    try:
        Configuration.read(out)
        if near.cells is not None:
            near.cells.write(cells)
    except InputError:
        out.unlink()
        raise
    typer.echo(f"Wrote {out}: keyed noise, cells {width:g} logits wide ({source}).")
    typer.echo(f"Queries close to each other: {near.summary}.")
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
{near}"""


@dataclass(frozen=True)
class Neighbourhood:
    """A limit on queries close to each other, as it is written.

    Args:
        cells: cells of inputs; None for no limit.
        budget: queries of one client a day in one cell.
        source: origin of the limit, or the reason why there is none.
    """

    cells: Cells | None
    budget: int
    source: str

    @property
    def summary(self) -> str:
        """The limit in one line."""
        if self.cells is None:
            return f"not limited ({self.source})"
        return f"at most {self.budget} a day of one client in a cell of inputs ({self.source})"

    def lines(self, file: str) -> str:
        """Its lines in a defense.yaml; a comment without a limit."""
        if self.cells is None:
            return f"# neighbourhood: {self.summary}"
        return (
            "neighbourhood:  # queries close to each other\n"
            f"  budget: {self.budget}  # of one client a day in one cell: {self.source}\n"
            f"  cells: {json.dumps(file)}  # cells of the inputs, {self.cells.width:g} standard "
            f"deviations wide on {self.cells.embedding.components} components"
        )


def _measure_near(inputs: npt.NDArray[Any], name: str) -> Neighbourhood:
    """Fit cells to held-out inputs, and find a limit that refuses few of them."""
    from dynanoise.core.extras import require
    from dynanoise.partition.cells import Cells

    try:
        # Inputs of several axes have one unit, columns of a table each their own.
        own_units = inputs.ndim == 2
        cells = Cells.fit(inputs, width=CELL_WIDTH, components=COMPONENTS, standardise=own_units)
        require("safetensors.numpy", "Writing cells")
    except (InputError, MissingExtraError) as error:
        return Neighbourhood(None, 0, f"{error.problem.rstrip('.')}")
    counts, limit = Counter(cells.digests(inputs)).values(), NEAR

    def refused() -> int:
        return sum(max(0, count - limit) for count in counts)

    while refused() > REFUSED * len(inputs):
        limit *= 2
    source = f"{refused()} of {len(inputs)} records of {name} would be refused in a day"
    return Neighbourhood(cells, limit, source)


def _aligned(text: str) -> str:
    """The text with the comments of its settings in one column, where they fit."""
    lines = []
    for line in text.splitlines():
        setting, mark, comment = line.partition("  # ")
        lines.append(f"{setting:<26}  # {comment}" if mark else line)
    return "\n".join(lines) + "\n"


def _check_key(key: str) -> None:
    """Check that a key is a reference to a secret, before anything is written.

    Raises:
        InputError: with the option; the value is not shown, which may be the secret.
    """
    from dynanoise.noise.keys import Secret

    try:
        Secret(key)
    except InputError as error:
        raise InputError("--key is not a reference to a secret.", error.remedy) from None


def _make_secret(key: str, folder: Path) -> None:
    """Make the file of the secret if there is none."""
    from dynanoise.noise.keys import write_secret

    kind, _, place = key.partition(":")
    if kind == "file" and not (folder / place).exists():
        identity = write_secret(folder / place)
        typer.echo(f"Made {folder / place}, a secret that only you can read; key id {identity}.")


def _query(
    classifier: Classifier, data: Path | None, label: str | None
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Held-out records as the model takes them, or random ones, and outputs [n, K] on them."""
    import numpy as np

    from dynanoise.audits.model_file import Records, query_onnx
    from dynanoise.data.tables import read_table
    from dynanoise.integrations.onnx_graph import first_line
    from dynanoise.integrations.onnx_inputs import random_feed

    if data is not None:
        table = read_table(data, label)
        members = np.zeros(len(table.labels), dtype=bool)
        records = Records(table.inputs, table.labels, members, (table, table))
        outputs = query_onnx(classifier, records)
        return records.convert(classifier.inputs[0].dtype), outputs
    feed = random_feed(classifier.inputs, np.random.default_rng(0))
    try:
        outputs = classifier.run(feed)
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        raise InputError(
            f"{classifier.path} does not take random records ({first_line(error)}).",
            "Pass held-out records with --data FILE.",
        ) from error
    return feed[classifier.inputs[0].name], np.moveaxis(outputs, classifier.output.axis, -1)


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
