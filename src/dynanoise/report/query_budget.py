"""Budgets of queries: attack success by chosen queries a record, and the budget that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dynanoise.core.errors import InputError
from dynanoise.core.result import STRONGEST, Metric, Result
from dynanoise.report.numbers import rate, with_interval
from dynanoise.report.table import Column, Table, make_table, number_cell

METRICS = {"asr": "balanced accuracy", "auc": "AUC"}
"""Measures of attack success in which a level can be stated, and their names in sentences."""


@dataclass(frozen=True)
class QueryCurve:
    """Success of the attacker's choice against queries a record, with inputs that are chosen.

    Attributes:
        method: name of the defended method.
        metric: "asr" or "auc".
        points: queries a record, rising, and the success measured with them.
    """

    method: str
    metric: str
    points: tuple[tuple[int, Metric], ...]

    def held(self, level: float) -> int:
        """Find how many queries a record keep the attacker below a level.

        Args:
            level: success, 0.5..1; the upper limits of the 95% intervals are compared with it.

        Returns:
            The greatest measured number below the first that exceeds the level; 0 if a single
            query exceeds it.

        >>> points = ((1, Metric(0.52, 0.51, 0.53)), (16, Metric(0.58, 0.56, 0.60)))
        >>> QueryCurve("keyed", "asr", points).held(0.55)
        1
        """
        below = 0
        for queries, success in self.points:
            if (success.value if success.high is None else success.high) > level:
                return below
            below = queries
        return below

    def is_exceeded(self, level: float) -> bool:
        """True if a measured number of queries brings the attacker above a level."""
        return self.held(level) < self.points[-1][0]

    def daily_budget(self, level: float, records: int) -> int | None:
        """Compute the queries a day that leave a client few records on which it exceeds a level.

        A client that spends one query more than `held` on each record runs out of budget after
        that many records.

        Args:
            level: see `held`.
            records: greatest number of records a day, >= 0.

        Returns:
            Queries a day, >= 1; None if no measured number of queries exceeds the level, or a
            single one does: then no budget decides.

        >>> points = ((1, Metric(0.52, 0.51, 0.53)), (16, Metric(0.58, 0.56, 0.60)))
        >>> QueryCurve("keyed", "asr", points).daily_budget(0.55, records=10)
        21
        """
        held = self.held(level)
        if held == 0 or not self.is_exceeded(level):
            return None
        return (records + 1) * (held + 1) - 1


def query_curves(results: Sequence[Result], metric: str = "asr") -> dict[str, QueryCurve]:
    """Collect the curves of all methods.

    Args:
        results: results of protocols `adaptive_chosen_Q` with several Q; `adaptive` counts as one
            query.
        metric: "asr" or "auc".

    Returns:
        Curves by method, with two or more points each.

    Raises:
        InputError: if there is no such metric, or no method was measured with two budgets.
    """
    if metric not in METRICS:
        raise InputError(f"The metric is {metric!r}.", f"Use {' or '.join(METRICS)}.")
    points: dict[str, dict[int, Metric]] = {}
    for result in results:
        threat = result.threat
        plain = result.protocol == "adaptive" and threat.repeats == 1
        if result.attack == STRONGEST and (threat.chosen or plain):
            points.setdefault(result.method, {})[threat.repeats] = result.metrics[metric]
    curves = {
        method: QueryCurve(method, metric, tuple(sorted(curve.items())))
        for method, curve in points.items()
        if len(curve) > 1
    }
    if not curves:
        raise InputError(
            "The results hold no attacker who chooses inputs with two or more query budgets.",
            "Run dynanoise bench with --protocol adaptive --protocol adaptive_chosen_4 "
            "--protocol adaptive_chosen_16 --protocol adaptive_chosen.",
        )
    return curves


def curve_table(curves: Sequence[QueryCurve]) -> Table:
    """Make a table with a row for each method and a column for each number of queries.

    Args:
        curves: one or more, of one metric.
    """
    budgets = sorted({queries for curve in curves for queries, _ in curve.points})
    return make_table(
        f"{METRICS[curves[0].metric]} by queries a record",
        [Column("Method", "left"), *(Column(str(queries)) for queries in budgets)],
        [
            [curve.method, *(number_cell(dict(curve.points).get(queries)) for queries in budgets)]
            for curve in curves
        ],
    )


def advise(curve: QueryCurve, level: float, records: int) -> str:
    """Write the advice on a client's daily budget as sentences.

    Args:
        curve: the deployed method's.
        level: greatest success that is accepted, 0.5..1.
        records: records a day on which a client may exceed it.

    Returns:
        Two or three sentences, with the threat model.

    Raises:
        InputError: if the level is outside 0.5..1 or ``records`` is negative.
    """
    if not 0.5 <= level <= 1 or records < 0:
        raise InputError(
            f"The level is {level:g} and the number of records {records}.",
            "A level lies between 0.5 and 1, and records are 0 or more.",
        )
    name, measured = METRICS[curve.metric], dict(curve.points)
    held, most = curve.held(level), curve.points[-1][0]
    if held == 0:
        queries, success = curve.points[0]
        return (
            f"No budget keeps {curve.method} below a {name} of {rate(level)}: {queries} "
            f"{'query a record reaches' if queries == 1 else 'queries a record reach'} "
            f"{with_interval(success)} already."
        )
    if not curve.is_exceeded(level):
        return (
            f"{curve.method} stays below a {name} of {rate(level)} with every measured number of "
            f"queries, up to {most} a record: {with_interval(measured[most])}. More were not "
            "measured."
        )
    following = next(queries for queries, _ in curve.points if queries > held)
    budget = curve.daily_budget(level, records)
    keeps = "query a record keeps" if held == 1 else "queries a record keep"
    return (
        f"{held} {keeps} {curve.method} below a {name} of {rate(level)}, "
        f"{with_interval(measured[held])}; {following} do not, "
        f"{with_interval(measured[following])}. With --budget {budget} a client can spend more "
        f"than {held} on at most {records} records a day. Budgets of further days and of other "
        "clients add up."
    )
