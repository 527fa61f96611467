"""Outputs of a model in a file, queried with tables of its members and of non-members."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynanoise.audits.columns import UNNAMED, ColumnNames, Columns, count_copies
from dynanoise.audits.inputs import AuditInputs, check_inputs
from dynanoise.audits.torch_file import BATCH, load_torch, run_torch
from dynanoise.core import numerics
from dynanoise.core.arrays.inputs import convert_inputs
from dynanoise.core.arrays.predictions import is_distribution, log_outputs
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.extras import require
from dynanoise.core.numerics import Bools, Float64
from dynanoise.core.queries import Inputs, QueryFunction
from dynanoise.data.tables import Table, read_table
from dynanoise.defenses import response
from dynanoise.integrations.onnx_graph import first_line
from dynanoise.integrations.onnx_inputs import run_in_parts
from dynanoise.integrations.onnx_model import Classifier
from dynanoise.integrations.out_of_fold.onnx_folder import open_model


@dataclass(frozen=True, eq=False)
class Records:
    """Records of both tables, members first.

    Attributes:
        inputs: numbers [N, ...]; NaN where one is missing.
        labels: [N], numbers or texts.
        member: bool [N].
        tables: the tables of members and of non-members.
        columns: groups and persons of the records.
    """

    inputs: npt.NDArray[np.float32]
    labels: npt.NDArray[Any]
    member: Bools
    tables: tuple[Table, Table]
    columns: Columns = field(default_factory=Columns)

    @property
    def label_name(self) -> str:
        """Name of the labels in messages."""
        table = self.tables[0]
        return f"The column {table.label!r}" if table.columns else "labels"

    @property
    def left_out(self) -> str:
        """A sentence on columns that the model does not take; "" without any."""
        names = list(self.tables[0].values)
        if not names:
            return ""
        return (
            f" Columns of --by and --groups ({', '.join(names)}) are not inputs; to use one as "
            "both, write it twice."
        )

    def place(self, index: tuple[int, ...]) -> str:
        """Describe the place of a record or an input: its row, column and file."""
        inside, outside = self.tables
        record, count = index[0], len(inside.labels)
        table, row = (inside, record) if record < count else (outside, record - count)
        return f"{table.place((row, *index[1:]))} of {table.path.name}"

    def convert(self, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Inputs in the type that the model takes.

        Raises:
            InputError: naming the row, column and file of a value that it cannot hold.
        """
        return convert_inputs(self.inputs, dtype, "Inputs", self.place)


def query_model(
    model: Path,
    factory: str | None,
    members: Path,
    nonmembers: Path,
    label: str | None = None,
    *,
    output: str | None = None,
    class_axis: int = -1,
    input: str | None = None,  # noqa: A002
    named: ColumnNames = UNNAMED,
) -> AuditInputs:
    """Query a model in a file with both tables.

    Args:
        model: ``.onnx``, a folder of out-of-fold models (see `onnx_folder`), or ``.safetensors``
            with a factory.
        factory: "package.module:function" that builds the torch model; None for ONNX.
        members: a table (see `data.tables`) of records that the model was trained on, inputs as it
            takes them.
        nonmembers: the same of records that it was not trained on.
        label: name of the column of labels, see `data.tables.read_table`.
        output: name of the output of an ONNX model, see `onnx_model.read_graph`.
        class_axis: axis of its classes.
        input: kind of that output, "logits" or "probabilities"; None to tell by operators and
            values.
        named: columns of groups and persons in both tables, which the model does not take.

    Returns:
        The outputs on both, members first.

    Raises:
        DataFileError: if a file cannot be read, or the tables do not go together.
        InputError: if the factory is missing or superfluous, or the outputs do not fit the labels.
        MissingExtraError: if a package that reads the tables or runs the model is not installed.
    """
    suffix = model.suffix.lower()
    if suffix not in {".onnx", ".safetensors"} and not model.is_dir():
        raise DataFileError(
            f"{model} ends in {model.suffix or 'nothing'}.",
            "Use .onnx or .safetensors. For scikit-learn call dynanoise.audit(estimator, X, y), or "
            "save what predict_proba returns for members and others as outputs.npz.",
        )
    if (suffix == ".safetensors") != (factory is not None):
        raise InputError(
            f"The model {model.name} comes {'without' if factory is None else 'with'} a factory.",
            "Weights in safetensors need one, --factory package.module:function; ONNX needs none.",
        )
    notes: tuple[str, ...] = ()
    kind = None if input is None else response.check_kind(input)
    run: QueryFunction
    if factory is None:
        classifier = open_onnx(model, output, class_axis, kind)
        records = read_records(members, nonmembers, label, named)
        outputs, kind = query_onnx(classifier, records), classifier.kind
        run = partial(run_onnx, classifier)
    else:
        records = read_records(members, nonmembers, label, named)
        built, notes = load_torch(model, factory)
        run = partial(run_torch, built, factory)
        outputs = run(records.convert(np.float32))
    _check_finite(model, records, outputs)
    probabilities = is_distribution(outputs) if kind is None else kind == "probabilities"
    logits = log_outputs(outputs, f"The outputs of {model.name}", probabilities=probabilities)
    names = classifier.class_names(logits.shape[2]) if factory is None else ()
    inputs = check_inputs(
        model.stem,
        logits=logits,
        labels=records.labels,
        member=records.member,
        class_names=names,
        label_name=records.label_name,
        notes=notes,
    )
    columns = replace(records.columns, inputs=records.inputs)
    return replace(inputs, columns=columns, query=_Logits(run, probabilities))


class _Logits(NamedTuple):
    """A model in a file as a function from inputs to logits.

    Attributes:
        run: the model.
        probabilities: True if its outputs are probabilities, False for logits.
    """

    run: QueryFunction
    probabilities: bool

    def __call__(self, inputs: Inputs) -> Float64:
        """Compute logits [n, K] of inputs [n, ...]."""
        outputs = np.asarray(self.run(inputs), dtype=np.float64)
        return numerics.log_probabilities(outputs) if self.probabilities else outputs


def _check_finite(model: Path, records: Records, outputs: Any) -> None:
    """Refuse outputs that are not finite where an input is missing, which is the reason."""
    rows, missing = np.asarray(outputs), np.isnan(records.inputs)
    if rows.dtype.kind != "f" or rows.shape[:1] != missing.shape[:1] or not missing.any():
        return
    lost = ~np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    lost &= missing.reshape(len(rows), -1).any(axis=1)
    if lost.any():
        record = int(np.argmax(lost))
        raise InputError(
            f"{model.name} gives {rows[record].min()} for {records.place((record,))}, which has a "
            "missing input.",
            "Fill in missing values as for its training: this model does not take them.",
        )


def read_records(
    members: Path,
    nonmembers: Path,
    label: str | None = None,
    named: ColumnNames = UNNAMED,
) -> Records:
    """Read the tables of members and of non-members.

    Args:
        members: a table (see `data.tables`).
        nonmembers: another with the same columns, in any order.
        label: name of the column of labels, see `data.tables.read_table`.
        named: columns of groups and persons in both tables, which the model does not take.

    Returns:
        The records of both.

    Raises:
        DataFileError: if a file cannot be read, or the tables do not go together.
        InputError: if inputs are infinite.
        MissingExtraError: if a package that reads the tables is not installed.
    """
    inside, outside = (read_table(path, label, named.names) for path in (members, nonmembers))
    outside = _same_columns(inside, outside)
    kinds = [table.labels.dtype.kind == "U" for table in (inside, outside)]
    if kinds[0] != kinds[1] and len(inside.labels) and len(outside.labels):
        raise DataFileError(
            f"The classes are {_class_names(inside)} in {members.name} and "
            f"{_class_names(outside)} in {nonmembers.name}.",
            "Give the model's class numbers, from 0, as labels.",
        )
    inputs = np.concatenate([inside.inputs, outside.inputs])
    labels = np.concatenate([inside.labels, outside.labels])
    columns = named.choose({name: _join(name, inside, outside) for name in named.names})
    columns = columns.check(len(inputs))
    member = np.arange(len(inputs)) < len(inside.labels)
    copies = count_copies(inputs, labels, member.astype(np.int8))
    if copies.most:
        raise DataFileError(
            f"{copies.members:,} of {len(inside.labels):,} records of {members.name} and "
            f"{copies.non_members:,} of {len(outside.labels):,} of {nonmembers.name} are the same, "
            "inputs and label.",
            "Pass records that the model was not trained on to --nonmembers, and no others.",
        )
    return Records(inputs, labels, member, (inside, outside), columns)


def _join(name: str, inside: Table, outside: Table) -> npt.NDArray[Any]:
    """A further column of both tables."""
    parts = inside.values[name], outside.values[name]
    texts = [part.dtype.kind in "OUS" for part in parts]
    if texts[0] != texts[1]:
        holds = ["texts" if each else "numbers" for each in texts]
        raise DataFileError(
            f"The column {name!r} holds {holds[0]} in {inside.path.name} and {holds[1]} in "
            f"{outside.path.name}.",
            "Write the same values in both tables.",
        )
    return np.concatenate(parts)


def _same_columns(inside: Table, outside: Table) -> Table:
    """The second table with its columns in the order of the first."""
    members, nonmembers = inside.path.name, outside.path.name
    if inside.label != outside.label:
        raise DataFileError(
            f"The labels are the column {inside.label!r} in {members} and {outside.label!r} in "
            f"{nonmembers}.",
            "Give the column of labels one name, or name it with --label NAME.",
        )
    if set(inside.columns) != set(outside.columns) and inside.columns and outside.columns:
        odd = sorted(set(inside.columns) ^ set(outside.columns))
        raise DataFileError(
            f"{members} and {nonmembers} differ in the columns {', '.join(map(repr, odd[:12]))}"
            f"{', ...' if len(odd) > 12 else ''}.",
            "Give both tables the same columns.",
        )
    if inside.inputs.shape[1:] != outside.inputs.shape[1:]:
        raise DataFileError(
            f"Records have the shape {inside.inputs.shape[1:]} in {members} and "
            f"{outside.inputs.shape[1:]} in {nonmembers}.",
            "Give both tables the same columns.",
        )
    if inside.columns == outside.columns or not (inside.columns and outside.columns):
        return outside
    order = [outside.columns.index(name) for name in inside.columns]
    return replace(outside, inputs=outside.inputs[:, order], columns=inside.columns)


def _class_names(table: Table) -> str:
    texts = table.labels.dtype.kind == "U"
    return ", ".join(np.unique(table.labels)[:12].tolist()) if texts else "numbers"


def open_onnx(
    path: Path, output: str | None, class_axis: int, kind: str | None, threads: int = 1
) -> Classifier:
    """Open an ONNX model of one input of numbers, on the processor.

    Args:
        path: its file, or a folder of out-of-fold models.
        output: name of its output, see `onnx_model.read_graph`.
        class_axis: axis of the classes.
        kind: "logits" or "probabilities"; None to tell by operators and values.
        threads: threads of the processor.

    Raises:
        DataFileError: if it is not such a model, see `onnx_model.open_classifier`.
        InputError: if the output is missing or has to be chosen.
        MissingExtraError: if onnx or onnxruntime is not installed.
    """
    options = require("onnxruntime", "Querying an ONNX model").SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # its warnings are errors that are raised as well
    classifier = open_model(path, output=output, class_axis=class_axis, kind=kind, options=options)
    if len(classifier.inputs) != 1 or classifier.inputs[0].dtype.kind == "O":
        inputs = ", ".join(each.text for each in classifier.inputs)
        raise DataFileError(
            f"{path} takes {inputs}.", "Export a model with one input of numbers, [batch, ...]."
        )
    return classifier


def query_onnx(classifier: Classifier, records: Records) -> Any:
    """Query an ONNX model with every record.

    Args:
        classifier: the model, with one input.
        records: the records.

    Returns:
        Its output, floating-point numbers [N, K].

    Raises:
        DataFileError: if the model does not take these inputs, or its output has other axes.
        InputError: if an input is missing and the model does not take that, or is of another type.
    """
    (takes,), path = classifier.inputs, classifier.path
    inputs = records.convert(takes.dtype)
    if not takes.missing and inputs.dtype.kind == "f" and np.isnan(inputs).any():
        index = tuple(int(i) for i in np.argwhere(np.isnan(inputs))[0])
        raise InputError(
            f"An input is missing in {records.place(index)}, and {path.name} does not take missing "
            "values: no tree routes them, and nothing fills them in.",
            "Fill them in as for its training.",
        )
    try:
        outputs = run_onnx(classifier, inputs)
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        raise DataFileError(
            f"{path} returns no output for inputs of shape {inputs.shape[1:]} "
            f"({first_line(error)}).",
            f"It takes {takes.text}.{records.left_out}",
        ) from error
    if outputs.ndim != 2 or len(outputs) != len(inputs):
        raise DataFileError(
            f"The output of {path} has shape {outputs.shape} for {len(inputs)} records.",
            "An audit needs one row of classes for each record.",
        )
    return outputs


def run_onnx(classifier: Classifier, inputs: Inputs) -> npt.NDArray[Any]:
    """Query an ONNX model with inputs in its own type, or with numbers between them.

    Args:
        classifier: the model, with one input.
        inputs: [n, ...]; rounded where the model takes integers.

    Returns:
        Its output, floating-point numbers [n, K].
    """
    (takes,), axis = classifier.inputs, classifier.output.axis
    if takes.dtype.kind in "iu" and inputs.dtype.kind == "f":
        inputs = np.rint(inputs)

    def run(part: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.moveaxis(classifier.run(part), axis, -1)

    return run_in_parts(run, {takes.name: inputs.astype(takes.dtype)}, BATCH, pad=False)
