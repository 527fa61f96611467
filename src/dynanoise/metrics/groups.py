"""Success of an attack by group of records, and by person: rows that belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.result import Metric
from dynanoise.metrics.bootstrap import FPRS, PoolScores
from dynanoise.metrics.intervals import LEVEL
from dynanoise.metrics.two_way import two_way_metrics

LEAST_OF_KIND = 20
"""Members, and non-members, that each model needs in a group."""


class GroupMetric(NamedTuple):
    """The name of a metric of a group, such as "ward=ICU auc".

    Attributes:
        column: name of the column that the groups are values of.
        value: the group's value.
        metric: name of the metric.
    """

    column: str
    value: str
    metric: str

    def __str__(self) -> str:
        return f"{self.column}={self.value} {self.metric}"

    @classmethod
    def parse(cls, name: str) -> GroupMetric | None:
        """Parse a metric's name; None for one that is not of a group.

        >>> GroupMetric.parse("ward=ICU 2 auc")
        GroupMetric(column='ward', value='ICU 2', metric='auc')
        """
        group, space, metric = name.rpartition(" ")
        column, sign, value = group.partition("=")
        return cls(column, value, metric) if space and sign else None


def group_metrics(
    scores: PoolScores,
    columns: Mapping[str, npt.NDArray[Any]],
    fprs: Sequence[float] = FPRS,
    level: float = LEVEL,
) -> dict[str, Metric]:
    """Compute the metrics of an attack for each group of records.

    Intervals hold for all groups at once (Bonferroni): each is at the level 1 - (1 - level) / G for
    G groups.

    Args:
        scores: scores and decisions [M, N] of one attack.
        columns: by name, [N]: groups are the values of each column.
        fprs: false positive rates to report the TPR at.
        level: confidence level of all intervals together, in (0, 1).

    Returns:
        Metrics of `two_way_metrics` by names of `GroupMetric`. Groups of which a model has fewer
        than 20 members or non-members are left out.
    """
    groups = [
        (column, value)
        for column, values in columns.items()
        for value in np.unique(values)
        if _has_enough(scores, values == value)
    ]
    metrics: dict[str, Metric] = {}
    for column, value in groups:  # one at a time, since scores may fill half of the memory
        rows = columns[column] == value
        names = "scores", "decisions", "members", "scored"
        part = PoolScores(*(getattr(scores, name)[:, rows] for name in names))
        of_group = two_way_metrics(part, fprs, 1 - (1 - level) / len(groups))
        metrics |= {str(GroupMetric(column, str(value), name)): m for name, m in of_group.items()}
    return metrics


def _has_enough(scores: PoolScores, rows: Bools) -> bool:
    """True if each model has enough members and non-members among some records."""
    members, scored = scores.members[:, rows], scores.scored[:, rows]
    kinds = members & scored, ~members & scored
    return all(kind.sum(axis=1).min() >= LEAST_OF_KIND for kind in kinds)


class Persons(NamedTuple):
    """The persons of records, by the records' ids.

    Attributes:
        ids: int64 [N], ascending.
        numbers: int64 [N], number >= 0 of each record's person.
    """

    ids: Int64
    numbers: Int64

    @classmethod
    def of_records(cls, ids: Int64, numbers: Int64 | None) -> Self | None:
        """Sort persons by the ids of their records; None for None.

        Args:
            ids: int64 [N], in any order.
            numbers: int64 [N], number of each record's person.
        """
        order = np.argsort(ids)
        return None if numbers is None else cls(ids[order], numbers[order])

    def find(self, ids: Int64) -> Int64:
        """Look up the number of each record's person.

        >>> Persons(np.array([3, 5, 9]), np.array([0, 1, 0])).find(np.array([9, 5])).tolist()
        [0, 1]
        """
        return self.numbers[np.searchsorted(self.ids, ids)]


def by_person(
    scores: PoolScores,
    persons: Int64,
    thresholds: Float64 | None = None,
    *,
    largest: bool = False,
) -> PoolScores:
    """Put the scores of each person's records together.

    A person is a member where one of their records is. A person without a scored record is not
    scored.

    Args:
        scores: scores [M, N] of one attack; decisions on records are not used.
        persons: int64 [N], position of each record's person, 0..P-1.
        thresholds: float64 [M], of the decisions "member if score >= threshold" on persons; None
            makes no person one.
        largest: True to take the largest score of a person's records, False for the mean.

    Returns:
        Scores and decisions [M, P].

    >>> pairs = np.array([[True, True, False, False]])
    >>> records = PoolScores(np.array([[1.0, 3.0, 0.0, 3.0]]), pairs, pairs, pairs | True)
    >>> persons = by_person(records, np.array([0, 0, 1, 1]), np.array([2.0]))
    >>> persons.scores.tolist(), persons.decisions.tolist()
    ([[2.0, 1.5]], [[True, False]])
    """
    models, count = len(scores.scores), int(persons.max()) + 1
    shape = models, count
    values = np.full(shape, -np.inf) if largest else np.zeros(shape)
    members, scored = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for model in range(models):
        kept = scores.scored[model]
        of, row = persons[kept], scores.scores[model, kept]
        total = np.bincount(of, minlength=count)
        scored[model] = total > 0
        if largest:
            np.maximum.at(values[model], of, row)
            values[model, total == 0] = 0
        else:
            values[model] = np.bincount(of, row, count) / np.maximum(total, 1)
        inside = scores.members[model, kept]
        members[model] = np.bincount(of, inside, count) > 0
    limits = np.full(models, np.inf) if thresholds is None else thresholds
    return PoolScores(values, scored & (values >= limits[:, None]), members, scored)
