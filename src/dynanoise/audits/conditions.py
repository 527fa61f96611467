"""Conditions that fail an audit, for continuous integration."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.result import SERVED, STRONGEST, Metric, Result
from dynanoise.metrics.roc import check_resolved

_log = logging.getLogger(__name__)

_FORM = re.compile(r"(?P<metric>auc|asr|tpr@(?P<fpr>[^\s<>]+))\s*>\s*(?P<limit>[^\s<>]+)")


@dataclass(frozen=True)
class Condition:
    """An upper limit on a metric of the attacker's choice of attack. Made by `parse_condition`.

    Attributes:
        metric: "auc", "asr" (balanced accuracy) or "tpr@X".
        limit: in [0, 1]; the audit fails if the upper end of the 95% interval is above it.
        fpr: the X of tpr@X, in (0, 1]; None for other metrics.
    """

    metric: str
    limit: float
    fpr: float | None = None

    def __str__(self) -> str:
        return f"{self.metric}>{self.limit:g}"

    def unresolved(self, non_members: int) -> str | None:
        """Explain why too few records resolve the metric.

        Args:
            non_members: how many are scored.

        Returns:
            A sentence if the FPR allows fewer than 10 false positives, else None.

        >>> print(parse_condition("tpr@0.01>0.1").unresolved(1000))
        None
        """
        if self.fpr is not None:
            try:
                check_resolved(self.fpr, non_members, "scored ")
            except TooFewRecordsError as error:
                return f"{self} cannot be told: {error}"
        return None


@dataclass(frozen=True)
class Outcome:
    """The outcome of a condition.

    Attributes:
        condition: the condition.
        holds: True if it fails the audit; None if the records or models are too few to tell.
        sentence: the outcome in words, with value, interval, threat model and query budget.
    """

    condition: Condition
    holds: bool | None
    sentence: str


def parse_condition(text: str) -> Condition:
    """Parse a condition such as ``auc>0.6``, ``asr>0.55`` or ``tpr@0.001>0.01``.

    Args:
        text: METRIC>LIMIT.

    Returns:
        The condition.

    Raises:
        InputError: for another form, or a number that is not between 0 and 1.

    >>> parse_condition("tpr@0.001 > 0.01")
    Condition(metric='tpr@0.001', limit=0.01, fpr=0.001)
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InputError(
            f"{text!r} is not a condition.",
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


def warn_unresolved(conditions: Sequence[Condition], non_members: int) -> None:
    """Log, before any attack runs, the conditions that too few records resolve.

    Args:
        conditions: conditions of an audit.
        non_members: how many will be scored.
    """
    for sentence in (condition.unresolved(non_members) for condition in conditions):
        if sentence is not None:
            _log.warning("%s", sentence)


def check_condition(condition: Condition, results: Sequence[Result]) -> Outcome:
    """Check a condition on the attacker's choice, at every query budget that was evaluated.

    It applies to the outputs of the last method: the defended ones, if there is a defense. The
    upper end of the 95% interval counts, so that an audit does not pass for lack of records.

    Args:
        condition: the limit.
        results: all results of one audit.

    Returns:
        The outcome, by the result with the largest upper end. It cannot be told if no upper end is
        above the limit and the records of some result are too few.
    """
    last = results[-1].method
    worst: tuple[float, Metric, Result] | None = None
    untold: str | None = None
    for result in results:
        if (result.method, result.attack) != (last, STRONGEST):
            continue
        metric = result.metrics.get(condition.metric)
        if metric is None:
            sentence = condition.unresolved(result.counts["scored_non_members"])
            untold = untold or sentence or f"{condition} cannot be told."
            continue
        upper = metric.value if metric.high is None else metric.high
        if worst is None or upper > worst[0]:
            worst = upper, metric, result
    if worst is None:
        untold = untold or (
            f"{condition} cannot be told: no attack could be run. Give more models or records."
        )
        return Outcome(condition, None, untold)
    upper, metric, result = worst
    holds = upper > condition.limit
    # One result above the limit decides; to pass, all results must be known.
    if untold is not None and not holds:
        return Outcome(condition, None, untold)
    repeats = result.threat.repeats
    queries = "1 query" if repeats == 1 else f"{repeats} queries"
    sentence = (
        f"{condition.metric} of the attacker's choice on {_outputs(last)} is {metric.value:.4g}, "
        f"with the upper bound {upper:.4g} (95%, {result.threat.name}, {queries} a record), "
        f"{'above' if holds else 'not above'} {condition.limit:g}."
    )
    return Outcome(condition, holds, sentence)


def _outputs(method: str) -> str:
    if method == SERVED:
        return "outputs of the server"
    return "undefended outputs" if method == "none" else f"outputs behind {method}"
