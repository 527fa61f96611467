"""Files of what models said: npz, parquet and csv, read without running anything of theirs."""

from __future__ import annotations

import csv
import difflib
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.audits.inputs import Given, given_of
from dynanoise.core.errors import DataFileError

NAMES = ("logits", "probs", "labels", "member", "test_logits", "test_probs", "test_labels")
"""The arrays that a file may hold."""

_ALIASES = {"label": "labels"}
_COLUMN = re.compile(r"p(\d+)")


def load(path: Path) -> Given:
    """What models said, from a file.

    Args:
        path: ``.npz`` with ``logits`` or ``probs`` ([N, K], or [M, N, K] for M models), ``labels``
            [N], ``member`` ([N] or [M, N]), and where there is test data ``test_logits`` or
            ``test_probs`` ([T, K] or [M, T, K]) with ``test_labels`` [T]. ``.parquet`` with one
            row a record: a column ``logits`` or ``probs`` of lists (of K numbers, or for M models
            of M lists of K), ``labels`` and ``member`` (a number, or a list of M). ``.csv``, and
            parquet without such a column: columns p0 .. p{K-1}, label and member.

    Raises:
        DataFileError: if the file cannot be read as such, or holds something unknown.
        InputError: if what it holds does not fit together, see `given_of`.
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
    return given_of(path.stem, **readers[kind](path))


def _npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            _known(path, file.files, "arrays")
            return {_ALIASES.get(name, name): file[name] for name in file.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        if isinstance(error, DataFileError):
            raise
        raise DataFileError(
            f"{path} cannot be read as npz without pickle ({type(error).__name__}).",
            "Save arrays of numbers: np.savez(path, probs=probs, labels=labels, member=member).",
        ) from error


def _known(path: Path, names: Iterable[str], what: str, known: tuple[str, ...] = NAMES) -> None:
    """Refuses what is none of the names, so that a misspelled one is not silently left out."""
    unknown = [name for name in names if name not in known and name not in _ALIASES]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise DataFileError(
            f"{path} holds the unknown {unknown[0]!r} among its {what}.",
            f"{hint}Known: {', '.join(known)}.",
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
    rows = rows.reshape(-1, len(names))  # of nothing below the names, too
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
    _known(path, columns, "columns", ("logits", "probs", "labels", "member"))
    arrays = {_ALIASES.get(name, name): values for name, values in columns.items()}
    # One row a record in the file; models first in memory.
    for name in ("logits", "probs", "member"):
        if name in arrays:
            of_models = arrays[name].ndim == (2 if name == "member" else 3)
            arrays[name] = np.moveaxis(arrays[name], 1, 0) if of_models else arrays[name]
    return arrays


def _flat_names(path: Path, names: list[str]) -> list[str]:
    """The columns of probabilities, in order; refuses other names and gaps."""
    numbered = sorted(int(match[1]) for name in names if (match := _COLUMN.fullmatch(name)))
    others = [name for name in names if not _COLUMN.fullmatch(name)]
    if len(set(names)) < len(names):
        raise DataFileError(f"{path} has a column twice.", "Name every column once.")
    _known(path, others, "columns", ("label", "member"))
    if numbered != list(range(len(numbered))) or len(numbered) < 2:
        shown = ", ".join(f"p{number}" for number in numbered) or "none"
        raise DataFileError(
            f"{path} has these columns of probabilities: {shown}.",
            "Give one for each of K classes, p0 to p{K-1}, beside label and member.",
        )
    return [f"p{number}" for number in numbered]


def _flat(path: Path, columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    names = _flat_names(path, list(columns))
    rows = np.stack([columns[name] for name in names], axis=1)
    rest = {_ALIASES.get(name, name): columns[name] for name in columns if name not in names}
    return {"probs": rows, **rest}
