"""Columns of csv and parquet files, in every dialect that spreadsheets and data frames write."""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import DataFileError
from dynanoise.core.extras import require
from dynanoise.core.registry import meant

LABELS = ("label", "labels", "class", "target", "y")
"""Names of a column of labels, the first that a file has before the others."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""Separators of cells; in a line of column names the one that makes most of them is used."""

_IDENTIFIER = re.compile(
    r"(?:id|index|idx|uuid|guid)|.*[_ .-](?:id|idx|uuid|guid)|.*[a-z]I[dD]", re.DOTALL
)
"""Names of columns that identify records; but for the last form, in small letters."""

_NULLS = frozenset(["", "na", "n/a", "nan", "-nan", "null", "none", "#n/a", "<na>"])
"""Cells without a number in a column of numbers, in small letters."""

_TRUTH = {"true": 1.0, "false": 0.0}

_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*')
"""First line with which spreadsheets name the separator."""

_UNNAMED = re.compile(r"unnamed: \d+|", re.IGNORECASE)
"""Names of an index without one, of a data frame that was written to csv and perhaps read again."""

_BLOCK = 4096
"""Rows that are converted at once."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of a file, without the index of a data frame.

    Attributes:
        path: the file.
        values: the columns by name, in their order: numbers [N] or, of lists, [N, ...] in the
            dtype of the file, csv as float64, with NaN where one is missing; texts as objects [N],
            with None.
        index: columns that were left out as the index of a data frame, in the same form.
        dialect: how a csv file is written where that is unusual, for a message; or "".
    """

    path: Path
    values: Mapping[str, npt.NDArray[Any]]
    index: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    dialect: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.values)

    def describe(self, name: str) -> str:
        """Describe a column for a message."""
        return f"The column {name!r} of {self.path}"

    def is_text(self, name: str) -> bool:
        """Tell texts from numbers."""
        return self.values[name].dtype.kind == "O"

    def stacked(self, names: Sequence[str]) -> npt.NDArray[Any]:
        """Columns side by side, [N, F]: float64, or objects where one holds texts or dates.

        Raises:
            DataFileError: if there are none, or one holds lists.
        """
        if not names:
            raise DataFileError(f"{self.path} has no columns of inputs.", "Give it at least one.")
        for name in names:
            if self.values[name].ndim > 1:
                raise DataFileError(
                    f"{self.describe(name)} holds lists.",
                    "Give numbers or texts, one a record and column, or arrays in npz.",
                )
        dtype = object if any(map(self.is_text, names)) else np.float64
        return np.stack([self.values[name].astype(dtype) for name in names], axis=1)

    def first_text(self, name: str) -> str:
        """Describe the first value of a column that is not a number, with its row."""
        for row, value in enumerate(self.values[name].ravel()):
            if value is not None and not (isinstance(value, str) and _number(value) is not None):
                kind = "the text " if isinstance(value, str) else f"the {type(value).__name__} "
                return f"{kind}{str(value)[:40]!r} in row {row}"
        return "texts"

    def named_label(self) -> str | None:
        """Find the column whose name is one of `LABELS`; None if there is none.

        Raises:
            DataFileError: if there are two of the same name but for capitals and the plural.
        """
        small = {name: name.strip().lower() for name in self.names}
        for group in (LABELS[:2], *((name,) for name in LABELS[2:])):
            named = [name for name in self.names if small[name] in group]
            if len(named) > 1:
                raise DataFileError(
                    f"{self.path} holds both {named[0]!r} and {named[1]!r}.",
                    "Keep one column of labels.",
                )
            if named:
                return named[0]
        return None


def check_named(
    path: Path, names: Iterable[str], held: Sequence[str], others: Iterable[str] = ()
) -> None:
    """Check that a file holds the columns of groups and persons that the user named.

    Args:
        path: the file or folder.
        names: names that the user gave.
        held: names of its columns or arrays.
        others: those that hold outputs, labels or membership.

    Raises:
        DataFileError: naming the one that is missing, or that holds something else.
    """
    for name in names:
        if name not in held:
            raise DataFileError(
                f"{path} holds no {name!r}.",
                f"{meant(name, tuple(held))}It holds {', '.join(held)}.",
            )
        if name in others:
            raise DataFileError(
                f"{name!r} of {path} holds labels, outputs or membership.",
                "Name a column of groups or persons; classes are always reported.",
            )


def is_identifier(name: str) -> bool:
    """Tell columns that identify records by their names.

    >>> [is_identifier(name) for name in ("ID", "customer_id", "PassengerId", "width", "grid")]
    [True, True, True, False, False]
    """
    stripped = name.strip()
    return any(map(_IDENTIFIER.fullmatch, (stripped, stripped.lower())))


def read_columns(path: Path) -> Columns:
    """Read the columns of a file.

    Args:
        path: ``.csv``, in UTF-8 or with a byte order mark, with a first line of column names;
            cells separated by commas, semicolons, tabs or bars, quoted or not, with decimal commas
            where the separator is another; or ``.parquet``.

    Returns:
        The columns. The index of a data frame is left out, and a log line names it.

    Raises:
        DataFileError: if the file cannot be read as such.
        MissingExtraError: if parquet is to be read and pyarrow is not installed.
    """
    if not path.is_file():
        raise DataFileError(f"There is no file {path}.", "Check the path.")
    columns = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    for name in columns.index:
        _log.warning(
            "%s: the index %s is left out (pandas writes it unless index=False).",
            path,
            repr(name) if name else "in the column without a name",
        )
    if columns.dialect:
        _log.warning("%s is read with %s.", path, columns.dialect)
    return columns


def _check_once(path: Path, names: Sequence[str]) -> None:
    """Refuse a name that two columns have."""
    for name in names:
        if names.count(name) > 1:
            raise DataFileError(f"{path} has the column {name!r} twice.", "Name every column once.")


# --- csv -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Dialect:
    encoding: str
    separator: str
    skipped: int
    """Lines before the column names."""


def _read_csv(path: Path) -> Columns:
    dialect, names = _dialect_of(path)
    if names and all(_number(name) is not None for name in names):
        raise DataFileError(
            f"The first line of {path} holds numbers.", "Begin it with a line of column names."
        )
    _check_once(path, names)
    parsed = [_Numbers(decimal_commas=dialect.separator != ",") for _ in names]
    for block in _blocks(path, dialect, len(names)):
        for column, block_cells in zip(parsed, zip(*block, strict=True), strict=True):
            column.add(block_cells)
    texts = [number for number, column in enumerate(parsed) if column.parts is None]
    cells = _texts(path, dialect, len(names), texts)
    values = {
        name: cells[number] if number in cells else np.concatenate(column.parts or [np.zeros(0)])
        for number, (name, column) in enumerate(zip(names, parsed, strict=True))
    }
    first = next(iter(names), None)
    index = [first] if first is not None and _UNNAMED.fullmatch(first) else []
    if index and not _is_index(values[index[0]]):
        raise DataFileError(
            f"The first column of {path} has no name.", "Name every column, or leave it out."
        )
    unusual = [f"{SEPARATORS[dialect.separator]} between cells"] if dialect.separator != "," else []
    unusual += ["decimal commas"] if any(column.commas for column in parsed) else []
    return _without(Columns(path, values, dialect=" and ".join(unusual)), index)


def _is_index(values: npt.NDArray[Any]) -> bool:
    """Tell whole numbers and texts from other numbers."""
    return values.dtype.kind == "O" or bool((values == np.round(values)).all())


def _without(columns: Columns, index: Iterable[str]) -> Columns:
    """Take the index of a data frame out of its columns."""
    names = set(index)
    return replace(
        columns,
        values={name: array for name, array in columns.values.items() if name not in names},
        index={name: array for name, array in columns.values.items() if name in names},
    )


def _dialect_of(path: Path) -> tuple[_Dialect, list[str]]:
    """Dialect and column names, from the first lines."""
    skipped, separators = 0, tuple(SEPARATORS)
    with _readable(path):
        with path.open("rb") as raw:
            encoding = _BYTE_ORDER_MARKS.get(raw.read(2), "utf-8-sig")
        with path.open(newline="", encoding=encoding) as file:
            line = file.readline()
            while line and not line.strip():
                skipped, line = skipped + 1, file.readline()
            if match := _SEPARATOR_LINE.fullmatch(line):
                skipped, separators = skipped + 1, (match[1],)
    if separators[0] not in SEPARATORS:
        raise DataFileError(
            f"{path} names the separator {separators[0]!r}.",
            f"Separate cells by {', '.join(SEPARATORS.values())}.",
        )
    headers = []
    for separator in separators:
        dialect = _Dialect(encoding, separator, skipped)
        with _readable(path):
            headers.append((dialect, [name.strip() for name in next(_rows(path, dialect), [])]))
    return max(headers, key=lambda header: len(header[1]))  # the first of equal ones


def _rows(path: Path, dialect: _Dialect) -> Iterator[list[str]]:
    with path.open(newline="", encoding=dialect.encoding) as file:
        for _ in range(dialect.skipped):
            file.readline()
        yield from csv.reader(file, delimiter=dialect.separator, skipinitialspace=True)


def _blocks(path: Path, dialect: _Dialect, width: int) -> Iterator[list[list[str]]]:
    """Rows of cells behind the column names, without empty lines."""

    def records() -> Iterator[list[str]]:
        rows = _rows(path, dialect)
        next(rows, None)
        for line, row in enumerate(rows, dialect.skipped + 2):
            if len(row) == width:
                yield row
            elif "".join(row).strip():
                raise DataFileError(
                    f"{path} has {width} column names and {len(row)} columns in line {line}.",
                    "Name every column, and give every record all of them.",
                )

    with _readable(path):
        remaining = records()
        while block := list(islice(remaining, _BLOCK)):
            yield block


def _texts(
    path: Path, dialect: _Dialect, width: int, columns: list[int]
) -> dict[int, npt.NDArray[Any]]:
    """Cells of columns that are not all numbers, read once more; an empty one is None."""
    if not columns:
        return {}
    cells: dict[int, list[str | None]] = {column: [] for column in columns}
    for block in _blocks(path, dialect, width):
        for column in columns:
            cells[column].extend(row[column].strip() or None for row in block)
    return {column: np.array(values, dtype=object) for column, values in cells.items()}


@dataclass
class _Numbers:
    """A column of a csv file while it is read: numbers, until a cell is something else.

    Attributes:
        decimal_commas: whether numbers may have them; then those with points have none.
        parts: the numbers so far, NaN for a missing one; None if the column is not one of numbers.
        points: whether a number had a decimal point.
        commas: whether a number had a decimal comma.

    >>> column = _Numbers(decimal_commas=True)
    >>> column.add(["1,5", " 2", "", "True"])
    >>> column.parts[0].tolist(), column.commas
    ([1.5, 2.0, nan, 1.0], True)
    """

    decimal_commas: bool
    parts: list[npt.NDArray[np.float64]] | None = field(default_factory=list)
    points: bool = False
    commas: bool = False

    def add(self, cells: Sequence[str]) -> None:
        """Convert the next cells."""
        if self.parts is None:
            return
        text = "".join(cells)
        if self.decimal_commas:
            self.points = self.points or "." in text
            self.commas = self.commas or "," in text
            if "," in text:
                cells = [cell.replace(",", ".") for cell in cells]
        # Python reads 1_000 as a number.
        values = None if "_" in text or (self.points and self.commas) else _convert(cells)
        if values is None:
            self.parts, self.commas = None, False
        else:
            self.parts.append(values)


def _convert(cells: Sequence[str]) -> npt.NDArray[np.float64] | None:
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        values = [_number(cell) for cell in cells]
    return None if None in values else np.array(values, dtype=np.float64)


def _number(cell: str) -> float | None:
    """Value of a cell, NaN for a missing one; None for text."""
    text = cell.strip().lower()
    if text in _NULLS:
        return float("nan")
    try:
        return None if "_" in text else _TRUTH[text] if text in _TRUTH else float(text)
    except ValueError:
        return None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError, csv.Error) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeError) else str(error)
        raise DataFileError(
            f"{path} cannot be read as csv ({reason.splitlines()[0]}).",
            "Save it as csv in UTF-8, with a first line of column names.",
        ) from error


# --- parquet -------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> Columns:
    read = require("pyarrow.parquet", "Reading parquet files").read_table
    try:
        table = read(path)
    except (OSError, ValueError) as error:  # Arrow's errors are one or the other
        raise DataFileError(
            f"{path} cannot be read as parquet ({str(error).splitlines()[0]}).", "Repair it."
        ) from error
    names = table.column_names
    _check_once(path, names)
    columns = Columns(path, {name: _from_arrow(table.column(name), name, path) for name in names})
    return _without(columns, _pandas_index(table.schema.metadata or {}, names))


def _pandas_index(metadata: Mapping[bytes, bytes], names: Iterable[str]) -> Iterator[str]:
    """Names of the columns that were the index of a pandas frame."""
    try:
        described = json.loads(metadata.get(b"pandas", b"{}"))
        index = described.get("index_columns", []) if isinstance(described, dict) else []
    except ValueError:
        index = []
    for name in names:
        if name in index or re.fullmatch(r"__index_level_\d+__", name):
            yield name


def _from_arrow(column: Any, name: str, path: Path) -> npt.NDArray[Any]:
    """Numbers, nested or not, or objects."""
    types = require("pyarrow", "Reading parquet files").types
    shape, flat = [len(column)], column.combine_chunks()
    if types.is_dictionary(flat.type):  # a categorical column
        flat = flat.dictionary_decode()
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
    if types.is_boolean(flat.type):
        flat = flat.cast("int8")
    elif types.is_decimal(flat.type) or types.is_null(flat.type):
        flat = flat.cast("float64")
    if types.is_integer(flat.type) or types.is_floating(flat.type):
        return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(shape)
    values = np.empty(len(flat), dtype=object)
    values[:] = flat.to_pylist()
    return values.reshape(shape)
