"""Files of model outputs: npz, parquet and csv, read without running code from them."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.audits.inputs import AuditInputs, check_inputs
from dynanoise.core.errors import DataFileError
from dynanoise.core.registry import meant

NAMES = ("logits", "probs", "labels", "member", "test_logits", "test_probs", "test_labels")
"""Arrays that a file may hold."""

_ALIASES = {"label": "labels"}
_COLUMN = re.compile(r"p(\d+)")


def read_outputs(path: Path) -> AuditInputs:
    """Read model outputs and membership from a file.

    Args:
        path: ``.npz`` with ``logits`` or ``probs`` ([N, K], or [M, N, K] for M models), ``labels``
            [N], ``member`` ([N] or [M, N]), and where there is test data ``test_logits`` or
            ``test_probs`` ([T, K] or [M, T, K]) with ``test_labels`` [T]. ``.parquet`` with one
            row a record: a column ``logits`` or ``probs`` of lists (of K numbers, or for M models
            of M lists of K), ``labels`` and ``member`` (a number, or a list of M). ``.csv``, and
            parquet without such a column: columns p0 .. p{K-1}, label and member.

    Returns:
        The checked arrays, named after the file.

    Raises:
        DataFileError: if the file cannot be read as such, or holds an unknown name.
        InputError: if its arrays do not fit together, see `check_inputs`.
        TooFewRecordsError: for a handful of records.
        MissingExtraError: if parquet is to be read and pyarrow is not installed.
    """
    readers = {".npz": _npz, ".csv": _csv, ".parquet": _parquet}
    kind = path.suffix.lower()
    if kind not in readers:
        raise DataFileError(
            f"{path} ends in {path.suffix or 'nothing'}.", f"Use one of {', '.join(readers)}."
        )
    if not path.is_file():
        raise DataFileError(f"There is no file {path}.", "Check the path.")
    return check_inputs(path.stem, **readers[kind](path))


def _npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            _check_names(path, file.files, "arrays")
            return {_ALIASES.get(name, name): file[name] for name in file.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        if isinstance(error, DataFileError):
            raise
        raise DataFileError(
            f"{path} cannot be read as npz without pickle ({type(error).__name__}).",
            "Save arrays of numbers: np.savez(path, probs=probs, labels=labels, member=member).",
        ) from error


def _check_names(
    path: Path, names: Iterable[str], kind: str, allowed: tuple[str, ...] = NAMES
) -> None:
    """Refuse unknown names, so that a misspelled name is not silently left out."""
    unknown = [name for name in names if name not in allowed and name not in _ALIASES]
    if unknown:
        raise DataFileError(
            f"{path} holds the unknown {unknown[0]!r} among its {kind}.",
            f"{meant(unknown[0], allowed)}Known: {', '.join(allowed)}.",
        )


def _csv(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            names = [name.strip() for name in next(csv.reader(file), [])]
            if names and all(_is_number(name) for name in names):
                raise DataFileError(
                    f"The first line of {path} holds numbers.",
                    "Begin it with column names: p0,p1,...,label,member.",
                )
            _flat_names(path, names)
            rows = np.loadtxt(
                file,
                delimiter=",",
                ndmin=2,
                dtype=np.float64,
                comments=None,
                converters=lambda text: float(text.strip() or "nan"),
            )
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, DataFileError):
            raise
        raise DataFileError(
            f"{path} cannot be read as csv of numbers ({str(error).splitlines()[0]}).",
            "Every cell is a number: p0,p1,...,label,member.",
        ) from error
    if rows.size and rows.shape[1] != len(names):
        raise DataFileError(
            f"{path} has {len(names)} column names and {rows.shape[1]} columns.",
            "Name every column.",
        )
    rows = rows.reshape(-1, len(names))  # also where no line follows the names
    return _flat(path, dict(zip(names, rows.T, strict=True)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet(path: Path) -> dict[str, npt.NDArray[Any]]:
    from dynanoise.data.tables import parquet_columns

    columns = parquet_columns(path)
    if not {"logits", "probs"} & set(columns):
        return _flat(path, columns)
    _check_names(path, columns, "columns", ("logits", "probs", "labels", "member"))
    arrays = {_ALIASES.get(name, name): values for name, values in columns.items()}
    # One row a record in the file; models first in memory.
    for name in ("logits", "probs", "member"):
        if name in arrays:
            several = arrays[name].ndim == (2 if name == "member" else 3)
            arrays[name] = np.moveaxis(arrays[name], 1, 0) if several else arrays[name]
    return arrays


def _flat_names(path: Path, names: list[str]) -> list[str]:
    """Return the columns of probabilities, in order; refuse other names and gaps."""
    numbered = sorted(int(match[1]) for name in names if (match := _COLUMN.fullmatch(name)))
    others = [name for name in names if not _COLUMN.fullmatch(name)]
    if len(set(names)) < len(names):
        raise DataFileError(f"{path} has a column twice.", "Name every column once.")
    _check_names(path, others, "columns", ("label", "member"))
    if numbered != list(range(len(numbered))) or len(numbered) < 2:
        columns = ", ".join(f"p{number}" for number in numbered) or "none"
        raise DataFileError(
            f"{path} has these columns of probabilities: {columns}.",
            "Give one for each of K classes, p0 to p{K-1}, beside label and member.",
        )
    return [f"p{number}" for number in numbered]


def _flat(path: Path, columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    names = _flat_names(path, list(columns))
    rows = np.stack([columns[name] for name in names], axis=1)
    rest = {_ALIASES.get(name, name): columns[name] for name in columns if name not in names}
    return {"probs": rows, **rest}
