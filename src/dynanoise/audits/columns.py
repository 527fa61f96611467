"""Values of the records beside their outputs: groups, persons and inputs, and their overlap."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynanoise.core.arrays.groups import check_groups, check_length, of_one_kind
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Bools, Int8, Int64
from dynanoise.integrations.holdout import select_rows
from dynanoise.report.wording.warnings import WARNING

FEW = 0.01
"""Share of records, or of persons, on both sides that conditions of failure tolerate."""

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


class Copies(NamedTuple):
    """Records with the input and the label of a record of the other kind.

    Attributes:
        non_members: non-members that are copies of members.
        members: members that are copies of non-members.
        most: True if they are more than half of the members, or of the non-members, although 90% of
            the members differ from each other: the tables overlap.
        natural: True if more than 10% of the members are copies of each other, as in tables with
            few distinct rows: copies on both sides are then expected.
    """

    non_members: int
    members: int
    most: bool
    natural: bool


def count_copies(inputs: npt.NDArray[Any], labels: npt.NDArray[Any], member: Int8) -> Copies:
    """Count records with the input and the label of a record of the other kind.

    Args:
        inputs: [N, ...], numbers or objects; missing numbers are equal.
        labels: [N], of any kind.
        member: int8 [N], see `core.outputs.Outputs.use`.

    >>> rows = np.array([[0.5], [0.7], [0.5]])
    >>> count_copies(rows, np.array([1, 1, 1]), np.array([1, 1, 0], np.int8))
    Copies(non_members=1, members=1, most=True, natural=False)
    """
    classes = np.unique(labels, return_inverse=True)[1]
    pairs = zip(inputs, classes.tolist(), strict=True)
    records = np.array([_digest(row, label) for row, label in pairs], dtype=np.uint64)
    inside, outside = records[member == 1], records[member == 0]
    copies, originals = np.isin(outside, inside), np.isin(inside, outside)
    natural = len(np.unique(inside)) < 0.9 * len(inside)
    most = max((copies.mean(), originals.mean())) > 0.5 if len(inside) and len(outside) else False
    return Copies(int(copies.sum()), int(originals.sum()), bool(most) and not natural, natural)


def _digest(row: Any, label: int) -> int:
    """A number of 64 bits for a record, the same for 0.0 and -0.0."""
    values = np.asarray(row)
    if values.dtype.kind == "f":
        values = values + 0.0
    content = repr(values.tolist()).encode() if values.dtype.kind == "O" else values.tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, key=b"%d" % label).digest())


def find_mixed_persons(persons: Int64, use: Int8) -> Bools:
    """Find persons with records among the members and among the non-members of a model.

    Args:
        persons: int64 [N], the person of each record, 0..P-1.
        use: int8 [M, N], see `core.outputs.Outputs`.

    Returns:
        Mask of the persons, [P].

    >>> use = np.array([[1, 0, 1, 1, -1]], np.int8)
    >>> find_mixed_persons(np.array([0, 0, 1, 1, 1]), use).tolist()
    [True, False]
    """
    mixed = np.zeros(int(persons.max()) + 1, dtype=bool)
    for row in use:
        inside, outside = np.zeros_like(mixed), np.zeros_like(mixed)
        inside[persons[row == 1]] = outside[persons[row == 0]] = True
        mixed |= inside & outside
    return mixed


def overlap_warnings(columns: Columns, labels: npt.NDArray[Any], use: Int8) -> tuple[str, ...]:
    """Warn of records and persons that are members and non-members at once.

    Equal outputs are not evidence. Inputs of several models are not compared: each of two equal
    records has a coin of its own there.

    Args:
        columns: values of the records.
        labels: [N], their classes, of any kind.
        use: int8 [M, N], see `core.outputs.Outputs`.

    Returns:
        Sentences, which begin with "WARNING: " where more than 1% of the records or persons are
        concerned and conditions could pass by mistake.
    """
    sentences = []
    if len(use) == 1 and isinstance(columns.inputs, np.ndarray):
        copies, outside = count_copies(columns.inputs, labels, use[0]), int((use[0] == 0).sum())
        if copies.non_members:
            # Left out on one side alone, rare rows would be non-members, and common rows members.
            doubtful = copies.non_members > FEW * outside and not copies.natural
            sentences.append(
                f"{WARNING if doubtful else ''}{copies.non_members:,} of {outside:,} non-members "
                "are copies of members, with the same input and label. An attack that finds the "
                "members accuses them, too, and epsilon has no bound. Leave such records out on "
                "both sides."
            )
    persons = columns.person_numbers(np.arange(len(labels)))
    mixed = np.zeros(0) if persons is None else find_mixed_persons(persons, use)
    if mixed.any():
        remedy = (
            "Leave their records out of the non-members."
            if len(use) == 1
            else "Train each model on all records of a person, or on none."
        )
        sentences.append(
            f"{WARNING if mixed.mean() > FEW else ''}{int(mixed.sum()):,} of {len(mixed):,} "
            "persons have records among the members and among the non-members. Each counts as a "
            f"member, and epsilon has no bound, for which each person needs a fair coin. {remedy}"
        )
    return tuple(sentences)
