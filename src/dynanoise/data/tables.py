"""A user's own table: inputs X and labels y from npz, csv or parquet."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DataFileError
from dynanoise.core.extras import require
from dynanoise.data import labels
from dynanoise.data.dataset import Data

LABELS = ("label", "target", "y")
"""What the column of labels may be called; otherwise it is the last one."""


def standardised(columns: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Each column with mean 0 and standard deviation 1, float32 [N, F]; a constant one is 0.

    >>> standardised(np.array([[1.0, 7.0], [3.0, 7.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    wide = columns.astype(np.float64)
    spread = wide.std(axis=0)
    scaled: npt.NDArray[Any] = (wide - wide.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return scaled.astype(np.float32)


def load(path: Path, *, standardise: bool = False) -> Data:
    """A table from a file.

    Args:
        path: ``.npz`` with arrays X and y; or ``.csv`` (with a line of column names) or
            ``.parquet`` whose column called label, target or y, or else the last one, is the
            label. Class numbers count from 0; texts are numbered in sorted order.
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
    numbers, names = labels.encode(raw, str(path))
    if not len(numbers):
        raise DataFileError(f"{path} has no records.", "Give it at least two.")
    return Data(
        name=path.stem,
        inputs=standardised(inputs) if standardise and inputs.dtype != np.uint8 else inputs,
        labels=numbers,
        classes=labels.count(numbers, names),
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
    # What is too large for float32 becomes infinite, which `Data` refuses in words.
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
    """Float64 [N]; what is missing becomes NaN, which `Data` refuses in words."""
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
