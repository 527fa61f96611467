"""Options of `dynanoise audit`: one field each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from dynanoise.core.options import Option

if TYPE_CHECKING:
    from dynanoise.audits.columns import ColumnNames

_DEFENSE, _ATTACKER = "Defense", "Attacker"
INTEGRATION = "Continuous integration"
"""Headings of groups of options in the help."""


@dataclass(frozen=True)
class AuditOptions:
    """Options of `dynanoise audit` that determine its numbers."""

    PANEL: ClassVar[str] = "Model and records"

    outputs: Annotated[
        Path | None,
        Option(
            "Outputs of the models, as npz, parquet or csv: logits or probs, labels, member; or a "
            "folder of LiRA or Privacy Meter; docs/audit.md describes the layouts. Of several "
            "models each is attacked with the others as shadow models.",
            metavar="OUTPUTS",
            argument=True,
        ),
    ] = None
    url: Annotated[
        str | None,
        Option(
            "Instead of OUTPUTS: a served model, http://HOST:PORT/v2/models/NAME, as its clients "
            "see it. With --defense FILE.yaml the report lists differences from the file; "
            "with --model it compares with attacks on that file.",
            metavar="URL",
        ),
    ] = None
    budget: Annotated[
        int | None,
        Option(
            "Number of queries to --url, repeated ones included. Default: 10000.",
        ),
    ] = None
    model: Annotated[
        Path | None,
        Option(
            "Instead of OUTPUTS: a model file, .onnx or .safetensors, or a folder of "
            "out-of-fold models.",
            metavar="FILE",
        ),
    ] = None
    factory: Annotated[
        str | None,
        Option(
            "Function that makes the torch model of a .safetensors file. It is imported and run.",
            metavar="MODULE:FUNCTION",
        ),
    ] = None
    output: Annotated[
        str | None,
        Option(
            "With --model m.onnx: its output with the logits or probabilities. Default: that of "
            "--defense FILE.yaml, else the only one.",
            metavar="NAME",
        ),
    ] = None
    kind: Annotated[
        str | None,
        Option(
            "With --model m.onnx: what its output holds, logits or probabilities. Default: as in "
            "--defense FILE.yaml, else told by its operators and values.",
            flag="--input",
        ),
    ] = None
    members: Annotated[
        Path | None,
        Option(
            "With --model or --url: records the model was trained on.",
            metavar="TABLE",
        ),
    ] = None
    nonmembers: Annotated[
        Path | None,
        Option(
            "With --model or --url: records the model was not trained on.",
            metavar="TABLE",
        ),
    ] = None
    label: Annotated[
        str | None,
        Option(
            "With --members and --nonmembers: their column of labels. Default: label, class, "
            "target or y, else the last column.",
            metavar="NAME",
        ),
    ] = None
    labels: Annotated[
        Path | None,
        Option(
            "With a folder of LiRA without y_train.npy: npy file of the true classes.",
            metavar="FILE",
        ),
    ] = None
    by: Annotated[
        tuple[str, ...],
        Option(
            "Column whose values are groups of records, such as a hospital: every metric is "
            "reported for each of them, as for each class. A column or array of OUTPUTS, NAME.npy "
            "of a folder, or a column of both TABLES that the model does not take. May be given "
            "again.",
            metavar="NAME",
        ),
    ] = ()
    groups: Annotated[
        str | None,
        Option(
            "Column that tells the person of each record, found as for --by: every metric is by "
            "person, not by record.",
            metavar="NAME",
        ),
    ] = None
    defense: Annotated[
        str | None,
        Option(
            "Defense to try on the outputs before it is deployed: NAME or NAME(PARAMETER=VALUE, "
            "...), such as calibrated_label, 'dynanoise(keep_label=True)' with fresh noise, or "
            "'dynanoise(keep_label=True, cell_width=10)' with keyed noise; or a defense.yaml, with "
            "its noise, but new keys.",
            metavar="DEFENSE",
            panel=_DEFENSE,
        ),
    ] = None
    queries: Annotated[
        tuple[int, ...],
        Option(
            "Query budget: how often the attacker repeats each query. May be given again. Default: "
            "1 and 16; with --url 1 and the largest number that --budget allows, at most 16.",
            panel=_ATTACKER,
        ),
    ] = ()
    chosen: Annotated[
        int | None,
        Option(
            "With --model or --url: also an attacker who chooses each input by earlier outputs, "
            "with so many queries a record (1 to 256) and shadow models that are trained here on "
            "the records of both tables.",
            panel=_ATTACKER,
        ),
    ] = None
    attacks: Annotated[
        tuple[str, ...],
        Option(
            "Attack to run: NAME or NAME(PARAMETER=VALUE, ...), such as 'lira(variance=example)'. "
            "May be given again. Default: all that the data allow.",
            flag="--attack",
            metavar="ATTACK",
            panel=_ATTACKER,
        ),
    ] = ()
    fail_if: Annotated[
        tuple[str, ...],
        Option(
            "Exit with 1 if the upper end of the 95% interval of the attacker's choice exceeds "
            "the value, e.g. 'auc>0.6', 'asr>0.55' (balanced accuracy) or 'tpr@0.001>0.01'. May be "
            "given again.",
            metavar="CONDITION",
            panel=INTEGRATION,
        ),
    ] = ()
    seed: Annotated[
        int,
        Option(
            "Seed of random splits of the records, and of noise.",
            panel=_ATTACKER,
        ),
    ] = 0
    api_key: Annotated[
        str | None,
        Option(
            "Reference to the API key for --url: env:NAME or file:PATH. Default: "
            "env:DYNANOISE_API_KEY if that is set.",
            metavar="REFERENCE",
            repeat=False,
        ),
    ] = None

    @property
    def columns(self) -> ColumnNames:
        """``by`` and ``groups`` together."""
        from dynanoise.audits.columns import ColumnNames  # help needs no NumPy

        return ColumnNames(self.by, self.groups)

    @property
    def placement(self) -> dict[str, Any]:
        """``output`` and ``input`` where they are given, as `model_file.query_model` takes them."""
        options = {"output": self.output, "input": self.kind}
        return {name: value for name, value in options.items() if value is not None}
