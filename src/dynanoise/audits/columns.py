"""Values of the records beside their outputs: groups, persons and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.arrays.groups import check_groups, check_length, of_one_kind
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int64
from dynanoise.integrations.holdout import select_rows

CLASS = "class"
"""Column of the true classes."""


@dataclass(frozen=True)
class ColumnNames:
    """Names of columns or arrays that a user's files hold beside outputs or inputs.

    Attributes:
        by: columns whose values are groups of records.
        groups: the column that tells the person of each record; None without one.
        options: False where a command has no options that name columns, for its messages.
    """

    by: tuple[str, ...] = ()
    groups: str | None = None
    options: bool = True

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
            The same columns with values as of `of_one_kind`.

        Raises:
            InputError: naming the column and its length, or the row without a person.

        >>> columns = Columns({"sex": np.array([1.0, np.nan]), "ward": np.array(["a", None])})
        >>> {name: values.tolist() for name, values in columns.check(2).by.items()}
        {'sex': ['1', 'missing'], 'ward': ['a', 'missing']}
        """
        for name, values in self.by.items():
            check_length(name, values, records)
        persons = None if self.persons is None else check_groups(self.persons, records)
        odd = [name for name in self.by if "=" in name or name == CLASS]
        if odd:
            raise InputError(
                f"A column is called {odd[0]!r}.",
                "Choose another name, without '='; 'class' stands for the true classes.",
            )
        by = {name: of_one_kind(values) for name, values in self.by.items()}
        return replace(self, by=by, persons=persons)

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
