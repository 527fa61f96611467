"""Columns of a parquet file as arrays, lists of one length as further axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DataFileError
from dynanoise.core.extras import require


def parquet_columns(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Every column by name.

    Args:
        path: of a file whose columns hold numbers, booleans, or lists of them, nested or not.

    Returns:
        [N] of a column of numbers, [N, ...] of a column of lists; what is missing is NaN.

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
    return {name: _array(table.column(name), name, path) for name in table.column_names}


def _array(column: Any, name: str, path: Path) -> npt.NDArray[Any]:
    shape = [len(column)]
    flat = column.combine_chunks()
    types = require("pyarrow", "Reading parquet files").types
    while any(
        check(flat.type) for check in (types.is_list, types.is_large_list, types.is_fixed_size_list)
    ):
        inner = flat.flatten()
        count = len(inner) // len(flat) if len(flat) else 0
        lengths = {len(one) if one is not None else -1 for one in flat.to_pylist()}
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
