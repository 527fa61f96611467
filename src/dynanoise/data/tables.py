"""Tables of a user: inputs and labels from npz, csv or parquet, and labels as class numbers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.arrays.labels import check_labels, class_numbers
from dynanoise.core.arrays.npz import open_npz
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.core.numerics import Int64
from dynanoise.data.columns import (
    LABELS,
    SEPARATORS,
    Columns,
    check_named,
    is_identifier,
    read_columns,
)
from dynanoise.data.dataset import Data

_SHOWN = 12
"""Number of columns that a message names."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Table:
    """Inputs and labels of a file.

    Attributes:
        path: the file.
        inputs: numbers [N, ...], of csv and parquet float64; NaN where one is missing.
        labels: [N], numbers or texts, see `core.arrays.labels.check_labels`.
        label: name of the array or column of labels.
        columns: names of the columns of inputs; () for npz.
        values: further columns by name beside the inputs, numbers or texts [N].
    """

    path: Path
    inputs: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    label: str
    columns: tuple[str, ...] = ()
    values: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    @property
    def label_name(self) -> str:
        """Name of the labels in messages."""
        return describe_labels(self.path, self.label)

    def place(self, index: tuple[int, ...]) -> str:
        """Describe the place of an input: its row, and its column by number and name."""
        place = f"row {index[0]}"
        if len(index) == 2:
            place += f", column {index[1]}"
            place += f" ({self.columns[index[1]]!r})" if self.columns else ""
        return place


def standardised(columns: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Scale each column to mean 0 and standard deviation 1; a constant one becomes 0.

    Args:
        columns: numbers [N, F].

    Returns:
        float32 [N, F].

    >>> standardised(np.array([[1.0, 7.0], [3.0, 7.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    wide = columns.astype(np.float64)
    spread = wide.std(axis=0)
    scaled: npt.NDArray[Any] = (wide - wide.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return scaled.astype(np.float32)


def describe_labels(path: Path, label: str) -> str:
    """Name the labels of a table in a message."""
    return (
        f"{label} of {path}" if path.suffix.lower() == ".npz" else f"The column {label!r} of {path}"
    )


def read_table(path: Path, label: str | None = None, also: Sequence[str] = ()) -> Table:
    """Read a table from a file.

    Args:
        path: ``.npz`` with arrays X and y; or ``.csv`` or ``.parquet``, see `read_columns`.
        label: name of the column of labels. None for the one called label (or labels), class,
            target or y, the first of these; or else the last one, if it can be one of labels, and
            then a log line names it.
        also: further columns, or arrays of npz, for `Table.values`; not the labels.

    Returns:
        The inputs in the precision of the file, the labels, and further columns.

    Raises:
        DataFileError: if the file cannot be read as such, lacks a further column, or it is not
            clear which column has the labels.
        InputError: if a label is missing or of no class, or an input is infinite.
        MissingExtraError: if parquet is to be read and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".csv", ".parquet"):
        raise DataFileError(
            f"{path} ends in {path.suffix or 'nothing'}.", "Use one of .npz, .csv, .parquet."
        )
    if not path.is_file():
        raise DataFileError(f"There is no file {path}.", "Check the path.")
    columns: tuple[str, ...] = ()
    if suffix == ".npz":
        if label is not None:
            raise InputError(
                f"{path} has no columns to choose {label!r} from.", "In npz the labels are y."
            )
        inputs, raw, values = _npz(path, also)
        label = "y"
    else:
        table = read_columns(path)
        check_named(path, also, table.names, filter(None, (label, table.named_label())))
        values = {name: table.values[name] for name in also}
        rest = {name: array for name, array in table.values.items() if name not in values}
        table = replace(table, values=rest)
        label = _label(table, label)
        columns = tuple(name for name in table.names if name != label)
        raw = table.values[label] if label in table.values else table.index[label]
        inputs = _inputs(table, columns)
        _report_identifiers(table, columns)
    labels = check_labels(raw, describe_labels(path, label))
    read = Table(path, inputs, labels, label, columns, values)
    if inputs.dtype.kind == "f" and np.isinf(inputs).any():
        remedy = "Leave out infinite numbers; a missing one is an empty cell or NaN."
        raise _not_finite(read, np.isinf(inputs), remedy)
    return read


def load_table(path: Path, *, standardise: bool = False, label: str | None = None) -> Data:
    """Load a table from a file as a data set.

    Args:
        path: see `read_table`.
        standardise: bring every column to mean 0 and standard deviation 1 over the whole file;
            images are left as they are.
        label: name of the column of labels, see `read_table`.

    Returns:
        X as float32 [N, ...]; X of npz that is uint8 [N, H, W, 3] stays so, as images.

    Raises:
        DataFileError: if the file cannot be read as such.
        InputError: if inputs are not finite, or labels are out of range or of one class only.
        MissingExtraError: if parquet is to be read and pyarrow is not installed.
    """
    table = read_table(path, label)
    inputs = table.inputs
    images = inputs.dtype == np.uint8 and inputs.ndim == 4
    if not images:
        with np.errstate(over="ignore"):
            inputs = inputs.astype(np.float32)
        if not np.isfinite(inputs).all():
            remedy = "Fill in or leave out what is missing, infinite or too large for float32: "
            remedy += "the models that are trained here do not take it."
            raise _not_finite(table, ~np.isfinite(inputs), remedy)
    numbers, names = class_numbers(table.labels, table.label_name)
    if not len(numbers):
        raise DataFileError(f"{path} has no records.", "Give it at least two.")
    if table.columns:
        _log.warning(
            "%s: labels: column %r, %d classes; inputs: %d columns; %d records.",
            *(path, table.label, count_classes(numbers, names), len(table.columns), len(numbers)),
        )
    return Data(
        name=path.stem,
        inputs=standardised(inputs) if standardise and not images else inputs,
        labels=numbers,
        classes=count_classes(numbers, names),
        class_names=names,
    )


def _not_finite(table: Table, where: npt.NDArray[np.bool_], remedy: str) -> InputError:
    index = tuple(int(i) for i in np.argwhere(where)[0])
    return InputError(
        f"{table.path} has the input {table.inputs[index]} in {table.place(index)}.", remedy
    )


def _label(table: Columns, label: str | None) -> str:
    """Name of the column of labels."""
    path, names = table.path, table.names
    text = ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
    if not names and not table.index:
        raise DataFileError(
            f"{path} cannot be read as {path.suffix[1:]} (it is empty).", "Give it columns."
        )
    if label is not None:
        if label not in names and label not in table.index:
            raise DataFileError(f"{path} has no column {label!r}.", f"Its columns are {text}.")
        return label
    if len(names) < 2:
        raise DataFileError(
            f"{path} has {len(names)} columns.",
            "Give it columns of inputs and one of labels, with cells separated by "
            f"{', '.join(SEPARATORS.values())}.",
        )
    named = table.named_label()
    choose = f"Name the column of labels with --label NAME; the columns are {text}."
    if named is not None:
        if named.strip().lower() == LABELS[-1]:  # perhaps a coordinate
            _log.warning("%s: the labels are the column %r (--label NAME).", path, named)
        return named
    hidden = next((name for name in table.index if name.strip().lower() in LABELS), None)
    if hidden is not None:
        raise DataFileError(f"{table.describe(hidden)} is the index of a data frame.", choose)
    last = names[-1]
    problem = _not_labels(table, last)
    if problem:
        raise DataFileError(
            f"{path} has no column called {', '.join(LABELS)}, and its last, {last!r}, {problem}.",
            choose,
        )
    _log.warning("%s: the labels are its last column, %r (--label NAME).", path, last)
    return last


def _not_labels(table: Columns, name: str) -> str:
    """Reason why a column cannot be one of labels; "" if it can."""
    values = table.values[name]
    if values.ndim > 1:
        return "holds lists"
    if table.is_text(name):
        texts = [value for value in values if value is not None]
        distinct = len(set(map(str, texts)))
        return "holds another text in every row" if distinct == len(values) > 2 else ""
    finite = np.isfinite(values.astype(np.float64))
    if not finite.all():
        return f"holds {values[~finite][0]} in row {int(np.argmin(finite))}"
    odd = (values != np.round(values)) | (values < 0)
    if odd.any():
        return f"holds {values[odd][0]} in row {int(np.argmax(odd))}"
    if len(values) > 2 and len(np.unique(values)) == len(values):
        return "holds another number in every row"
    return ""


def _inputs(table: Columns, columns: tuple[str, ...]) -> npt.NDArray[np.float64]:
    for name in columns:
        values = table.values[name]
        if table.is_text(name) or values.ndim > 1:
            held = table.first_text(name) if table.is_text(name) else "lists"
            raise DataFileError(
                f"{table.describe(name)} holds {held}.",
                "Inputs are numbers: encode it, or leave it out; if it has the labels, pass "
                f"--label {name}.",
            )
    return table.stacked(columns)


def _report_identifiers(table: Columns, columns: tuple[str, ...]) -> None:
    """Log columns of inputs that look like the records' identifiers."""
    for name in columns:
        values = table.values[name]
        count = len(values)
        named = is_identifier(name)
        runs = count > 20 and bool((values == np.round(values)).all())
        if named or (runs and len(np.unique(values)) == count):
            _log.warning(
                "%s: the column %r looks like an identifier of the records and is an input; leave "
                "it out of the table unless the model should take it.",
                table.path,
                name,
            )


def _npz(path: Path, also: Sequence[str]) -> tuple[npt.NDArray[Any], Any, dict[str, Any]]:
    with open_npz(path, "Save arrays of numbers: np.savez(path, X=X, y=y).") as file:
        if not {"X", "y"} <= set(file.names):
            raise DataFileError(
                f"{path} has the arrays {', '.join(file.names) or 'of no name'}.",
                "Save X and y: np.savez(path, X=X, y=y).",
            )
        inputs, raw = file.read("X"), file.read("y")
        check_named(path, also, file.names, ("X", "y"))
        values = {name: file.read(name) for name in also}
    if inputs.ndim < 2 or inputs.dtype.kind not in "biuf":
        raise DataFileError(
            f"X of {path} is {inputs.dtype} of the shape {inputs.shape}.",
            "X holds numbers, one row a record.",
        )
    return inputs, raw, values


def count_classes(labels: Int64, class_names: tuple[str, ...]) -> int:
    """Number of classes: that of the names, or else of different labels.

    With numbers 0, 1 and 3 that makes three classes, in which a label 3 is out of range; `Data`
    refuses it, since a class without a record is more often a mistake than intended.

    Args:
        labels: int64 [N].
        class_names: or ().

    >>> count_classes(np.array([0, 1, 3]), ())
    3
    """
    return len(class_names) or len(np.unique(labels))
