"""Conditions under which an audit fails, for continuous integration."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.result import SERVED, STRONGEST, Metric, Result
from dynanoise.metrics.roc import RESOLVING_NON_MEMBERS

_FORM = re.compile(r"(?P<metric>auc|asr|tpr@(?P<fpr>[^\s<>]+))\s*>\s*(?P<limit>[^\s<>]+)")


@dataclass(frozen=True)
class Condition:
    """A metric of the strongest attack that is too large. Made by `parsed`.

    Attributes:
        metric: "auc", "asr" (balanced accuracy) or "tpr@X".
        limit: fails where the upper end of the 95% interval is above it.
        fpr: the X of tpr@X, in (0, 1]; None for the others.
    """

    metric: str
    limit: float
    fpr: float | None = None

    def __str__(self) -> str:
        return f"{self.metric}>{self.limit:g}"

    def check(self, non_members: int) -> None:
        """Finds out before the work whether so many scored non-members resolve the metric.

        Raises:
            TooFewRecordsError: if fewer than 10 false positives are possible at the FPR.
        """
        if self.fpr is not None and non_members * self.fpr < RESOLVING_NON_MEMBERS - 1e-9:
            raise TooFewRecordsError(
                f"TPR at {self.fpr:g} FPR is not resolved by {non_members} scored non-members.",
                f"Score at least {math.ceil(RESOLVING_NON_MEMBERS / self.fpr - 1e-9)}, or ask for "
                "a larger FPR.",
            )


@dataclass(frozen=True)
class Outcome:
    """A condition and whether it holds.

    Attributes:
        holds: True if the audit fails by it.
        sentence: says so, with the value, the interval and the query budget.
    """

    condition: Condition
    holds: bool
    sentence: str


def parsed(text: str) -> Condition:
    """A condition such as ``auc>0.6``, ``asr>0.55`` or ``tpr@0.001>0.01``.

    Raises:
        InputError: if it is none, or a number is not between 0 and 1.

    >>> parsed("tpr@0.001 > 0.01")
    Condition(metric='tpr@0.001', limit=0.01, fpr=0.001)
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InputError(
            f"{text!r} is no condition.",
            "Write one such as 'auc>0.6', 'asr>0.55' or 'tpr@0.001>0.01'.",
        )
    limit = _share(match["limit"], text)
    if match["fpr"] is None:
        return Condition(match["metric"], limit)
    fpr = _share(match["fpr"], text)
    if fpr == 0:
        raise InputError(f"The FPR in {text!r} is 0.", "Use a rate above 0, such as 0.001.")
    return Condition(f"tpr@{fpr:g}", limit, fpr)


def _share(number: str, text: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InputError(f"{text!r} has the number {number!r}.", "Use a number from 0 to 1.")
    return value


def outcome(condition: Condition, records: Sequence[Result]) -> Outcome:
    """Whether a condition holds of the strongest attack, at any query budget that was tried.

    The answers it is about are those of the last method: defended ones, where a defense was
    given. The upper end of the 95% interval counts, so that few records do not pass for good news.

    Args:
        condition: what must not be.
        records: of one audit.

    Raises:
        TooFewRecordsError: if these records do not resolve the metric.
    """
    last = records[-1].method
    asked = [one for one in records if one.method == last and one.attack == STRONGEST]
    worst: tuple[float, Metric, Result] | None = None
    for record in asked:
        metric = record.metrics.get(condition.metric)
        if metric is None:
            condition.check(record.counts["scored_non_members"])
            raise TooFewRecordsError(f"{condition.metric} was not measured.", "Score more records.")
        upper = metric.value if metric.high is None else metric.high
        if worst is None or upper > worst[0]:
            worst = upper, metric, record
    if worst is None:
        raise TooFewRecordsError(
            f"No attack could be run, so {condition.metric} is not known.",
            "Give more models or records.",
        )
    upper, metric, record = worst
    holds = upper > condition.limit
    queries = record.threat.repeats
    asks = "1 query" if queries == 1 else f"{queries} queries"
    sentence = (
        f"{condition.metric} of the strongest attack on {_answers(last)} is {metric.value:.4g}, "
        f"with the upper bound {upper:.4g} (95%, {record.threat.name}, {asks} a record), "
        f"{'above' if holds else 'not above'} {condition.limit:g}."
    )
    return Outcome(condition, holds, sentence)


def _answers(method: str) -> str:
    if method == SERVED:
        return "answers of the server"
    return "undefended answers" if method == "none" else f"answers behind {method}"
