"""Tables of a user: inputs and labels from npz, csv or parquet, and labels as class numbers."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DataFileError
from dynanoise.core.extras import require
from dynanoise.core.numerics import Int64
from dynanoise.data.dataset import Data

LABELS = ("label", "target", "y")
"""Names of the column of labels; without one of them it is the last column."""


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


def load_table(path: Path, *, standardise: bool = False) -> Data:
    """Load a table from a file.

    Args:
        path: ``.npz`` with arrays X and y; or ``.csv`` (with a line of column names) or
            ``.parquet`` whose column called label, target or y, or else the last one, is the
            label, see `class_numbers`.
        standardise: bring every column to mean 0 and standard deviation 1 over the whole file;
            images are left as they are.

    Returns:
        X as float32 [N, ...]; X of npz that is uint8 [N, H, W, 3] stays so, as images.

    Raises:
        DataFileError: if the file cannot be read as such.
        InputError: if inputs are not finite, or labels are out of range or of one class only.
        MissingExtraError: if csv or parquet is to be read and pyarrow is not installed.
    """
    readers = {".npz": _npz, ".csv": _csv, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise DataFileError(
            f"{path} ends in {path.suffix or 'nothing'}.", f"Use one of {', '.join(readers)}."
        )
    if not path.is_file():
        raise DataFileError(f"There is no file {path}.", "Check the path.")
    inputs, raw = readers[path.suffix.lower()](path)
    numbers, names = class_numbers(raw, str(path))
    if not len(numbers):
        raise DataFileError(f"{path} has no records.", "Give it at least two.")
    return Data(
        name=path.stem,
        inputs=standardised(inputs) if standardise and inputs.dtype != np.uint8 else inputs,
        labels=numbers,
        classes=count_classes(numbers, names),
        class_names=names,
    )


def _npz(path: Path) -> tuple[npt.NDArray[Any], Any]:
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if not {"X", "y"} <= set(file.files):
                raise DataFileError(
                    f"{path} has the arrays {', '.join(file.files) or 'of no name'}.",
                    "Save X and y: np.savez(path, X=X, y=y).",
                )
            inputs, raw = file["X"], file["y"]
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        if isinstance(error, DataFileError):
            raise
        raise DataFileError(
            f"{path} cannot be read as npz without pickle ({type(error).__name__}).",
            "Save arrays of numbers: np.savez(path, X=X, y=y).",
        ) from error
    if inputs.ndim < 2 or inputs.dtype.kind not in "biuf":
        raise DataFileError(
            f"X of {path} is {inputs.dtype} of the shape {inputs.shape}.",
            "X holds numbers, one row a record.",
        )
    if inputs.dtype == np.uint8 and inputs.ndim == 4:
        return inputs, raw
    return _narrow(inputs), raw


def _narrow(inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    # A number too large for float32 becomes infinite, which `Data` refuses with its place.
    with np.errstate(over="ignore"):
        return inputs.astype(np.float32)


def _csv(path: Path) -> tuple[npt.NDArray[Any], Any]:
    return _columns(path, require("pyarrow.csv", "Reading csv files").read_csv)


def _parquet(path: Path) -> tuple[npt.NDArray[Any], Any]:
    return _columns(path, require("pyarrow.parquet", "Reading parquet files").read_table)


def _columns(path: Path, read: Any) -> tuple[npt.NDArray[Any], Any]:
    try:
        table = read(path)
    except (OSError, ValueError) as error:  # Arrow's errors are one or the other
        raise DataFileError(
            f"{path} cannot be read as {path.suffix[1:]} ({str(error).splitlines()[0]}).",
            "Repair it.",
        ) from error
    names = table.column_names
    if len(names) < 2:
        raise DataFileError(
            f"{path} has {len(names)} columns.", "Give it columns of inputs and one of labels."
        )
    if all(_is_number(name) for name in names):
        raise DataFileError(
            f"The first line of {path} holds numbers.", "Begin it with a line of column names."
        )
    small = [name.strip().lower() for name in names]
    label = next((small.index(name) for name in LABELS if name in small), len(names) - 1)
    inputs = [
        _numbers(table.column(index), f"The column {name!r} of {path}")
        for index, name in enumerate(names)
        if index != label
    ]
    return _narrow(np.stack(inputs, axis=1)), table.column(label).to_pylist()


def _numbers(column: Any, where: str) -> npt.NDArray[Any]:
    """Numbers float64 [N]; a missing one becomes NaN, which `Data` refuses with its place."""
    types = require("pyarrow", "Reading tables").types
    kind = column.type
    if not any(
        check(kind)
        for check in (
            types.is_integer,
            types.is_floating,
            types.is_decimal,
            types.is_boolean,
            types.is_null,
        )
    ):
        raise DataFileError(
            f"{where} holds {kind}.", "Inputs are numbers: encode it, or leave it out."
        )
    numbers: npt.NDArray[Any] = column.cast("float64", safe=False).to_numpy()
    return numbers


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def parquet_columns(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read every column of a parquet file.

    Args:
        path: a file whose columns hold numbers, booleans, or lists of them, nested or not.

    Returns:
        By name, [N] of a column of numbers and [N, ...] of a column of lists; a missing number is
        NaN.

    Raises:
        DataFileError: if it cannot be read, or a column holds something else or lists of several
            lengths.
        MissingExtraError: if pyarrow is not installed.
    """
    read = require("pyarrow.parquet", "Reading parquet files").read_table
    try:
        table = read(path)
    except (OSError, ValueError) as error:  # Arrow's errors are one or the other
        raise DataFileError(
            f"{path} cannot be read as parquet ({str(error).splitlines()[0]}).", "Repair it."
        ) from error
    return {name: _nested(table.column(name), name, path) for name in table.column_names}


def _nested(column: Any, name: str, path: Path) -> npt.NDArray[Any]:
    shape = [len(column)]
    flat = column.combine_chunks()
    types = require("pyarrow", "Reading parquet files").types
    while any(
        check(flat.type) for check in (types.is_list, types.is_large_list, types.is_fixed_size_list)
    ):
        inner = flat.flatten()
        count = len(inner) // len(flat) if len(flat) else 0
        lengths = {-1 if row is None else len(row) for row in flat.to_pylist()}
        if len(lengths) > 1 or flat.null_count:
            raise DataFileError(
                f"The column {name!r} of {path} holds lists of {len(lengths)} lengths.",
                "Give every record as many numbers.",
            )
        shape.append(count)
        flat = inner
    if not (types.is_integer(flat.type) or types.is_floating(flat.type)):
        if types.is_boolean(flat.type):
            flat = flat.cast("int8")
        else:
            raise DataFileError(
                f"The column {name!r} of {path} holds {flat.type}.", "Give numbers."
            )
    values: npt.NDArray[Any] = flat.to_numpy(zero_copy_only=False)
    return np.asarray(values).reshape(shape)


def class_numbers(
    labels: Sequence[Any] | npt.NDArray[Any], where: str
) -> tuple[Int64, tuple[str, ...]]:
    """Number the classes of labels; whole numbers stay, texts are numbered in sorted order.

    Args:
        labels: [N], whole numbers (also as floats or booleans) or texts.
        where: the file or data set, for messages.

    Returns:
        Class numbers int64 [N], and the class names, () for numbers.

    Raises:
        DataFileError: if a label is missing or neither a text nor a whole number.

    >>> class_numbers(["dog", "cat", "dog"], "pets.csv")
    (array([1, 0, 1]), ('cat', 'dog'))
    >>> class_numbers([0.0, 2.0], "table.csv")
    (array([0, 2]), ())
    """
    values = np.asarray(labels)
    if values.ndim != 1:
        raise DataFileError(
            f"The labels of {where} have the shape {values.shape}.", "Give one label a record."
        )
    if values.dtype.kind == "O":
        missing = [row for row, label in enumerate(values) if label is None]
        if missing:
            raise DataFileError(
                f"{where} has no label in row {missing[0]}.", "Give every record a label."
            )
    if values.dtype.kind in "biu":
        return values.astype(np.int64), ()
    if values.dtype.kind == "f":
        odd = np.flatnonzero(~np.isfinite(values) | (values != np.round(values)))
        if len(odd):
            raise DataFileError(
                f"{where} has the label {values[odd[0]]} in row {odd[0]}.",
                "Labels are class numbers from 0, or texts.",
            )
        return values.astype(np.int64), ()
    if not all(isinstance(label, str) for label in values):
        raise DataFileError(
            f"The labels of {where} are of the type {type(values[0]).__name__}.",
            "Labels are class numbers from 0, or texts.",
        )
    names, numbers = np.unique(values.astype(str), return_inverse=True)
    return numbers.astype(np.int64), tuple(names.tolist())


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
