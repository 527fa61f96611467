"""Values of the records beside their outputs: groups, persons and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError, check
from dynanoise.core.numerics import Bools, Int64
from dynanoise.integrations.holdout import select_rows

CLASS = "class"
"""Column of the true classes."""

MISSING = "missing"
"""The group of records without a value in a column."""

_NULLS = frozenset(["None", "nan", "<NA>", "NaT"])


@dataclass(frozen=True)
class ColumnNames:
    """Names of columns or arrays that a user's files hold beside outputs or inputs.

    Attributes:
        by: columns whose values are groups of records.
        groups: the column that tells the person of each record; None without one.
    """

    by: tuple[str, ...] = ()
    groups: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All names, each once.

        >>> ColumnNames(("ward", "sex"), "patient").names
        ('ward', 'sex', 'patient')
        """
        return tuple(dict.fromkeys((*self.by, *(() if self.groups is None else (self.groups,)))))

    def choose(self, values: Mapping[str, npt.NDArray[Any]]) -> Columns:
        """Make groups and persons of columns.

        Args:
            values: the named columns, [N] each.

        Returns:
            The columns, whose lengths are not checked.
        """
        persons = None if self.groups is None else values[self.groups]
        return Columns({name: values[name] for name in self.by}, persons)


UNNAMED = ColumnNames()
"""No further columns."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Values of the records beside their outputs.

    Attributes:
        by: columns by name, [N]; success is measured for each of their values.
        persons: [N], the person of each record; None if each record is of another one.
        inputs: the model's inputs, in any form that rows can be taken from; None if unknown.
    """

    by: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    persons: npt.NDArray[Any] | None = None
    inputs: Any = None

    def check(self, records: int) -> Columns:
        """Check that columns have a value for each record.

        Args:
            records: N.

        Returns:
            The same columns with values of one kind, in which a missing one is `MISSING`.

        Raises:
            InputError: naming the column and its length, or the row without a person.

        >>> columns = Columns({"sex": np.array([1.0, np.nan]), "ward": np.array(["a", None])})
        >>> {name: values.tolist() for name, values in columns.check(2).by.items()}
        {'sex': ['1', 'missing'], 'ward': ['a', 'missing']}
        """
        persons = {} if self.persons is None else {"groups": self.persons}
        for name, values in {**self.by, **persons}.items():
            check(
                np.shape(values) == (records,),
                f"{name} has shape {np.shape(values)} for {records:,} records.",
                "Give one value for each record.",
            )
        odd = [name for name in self.by if "=" in name or name == CLASS]
        if odd:
            raise InputError(
                f"A column is called {odd[0]!r}.",
                "Choose another name, without '='; 'class' stands for the true classes.",
            )
        missing = np.zeros(0) if self.persons is None else _missing(self.persons)
        if missing.any():
            raise InputError(
                f"groups holds no person in row {int(np.argmax(missing))}.",
                "Name the person of every record; an unknown one is another person each.",
            )
        by = {name: _of_one_kind(values) for name, values in self.by.items()}
        return replace(
            self, by=by, persons=None if self.persons is None else _of_one_kind(self.persons)
        )

    def select(self, rows: Int64) -> Columns:
        """The values of some records.

        Args:
            rows: positions of the records.
        """
        return Columns(
            {name: values[rows] for name, values in self.by.items()},
            None if self.persons is None else self.persons[rows],
            None if self.inputs is None else select_rows(self.inputs, rows),
        )

    def person_numbers(self, rows: Int64) -> Int64 | None:
        """Positions of the persons of some records, 0..P-1; None without persons."""
        if self.persons is None:
            return None
        return np.unique(self.persons[rows], return_inverse=True)[1].astype(np.int64)


def _missing(values: npt.NDArray[Any]) -> Bools:
    """True where a value is missing: NaN, None, or pandas' NA."""
    if values.dtype.kind == "O":
        return np.array([str(value) in _NULLS for value in values], dtype=bool)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)


def _of_one_kind(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Whole numbers as integers, and objects and columns with missing values as texts."""
    missing = _missing(values)
    if values.dtype.kind == "S":
        return values.astype(np.str_)
    if values.dtype.kind == "f":
        whole = values[~missing] == np.round(values[~missing])
        if whole.all() and not missing.any():
            return values.astype(np.int64)
    if values.dtype.kind != "O" and not missing.any():
        return values
    return np.array(
        [
            MISSING if lost else f"{value:.15g}" if isinstance(value, float) else str(value)
            for value, lost in zip(values.tolist(), missing.tolist(), strict=True)
        ]
    )
