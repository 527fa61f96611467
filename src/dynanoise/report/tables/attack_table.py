"""Every attack on every method in one metric, a table for each protocol."""

from __future__ import annotations

from collections.abc import Sequence

from dynanoise.core.errors import UnknownNameError
from dynanoise.core.result import Result
from dynanoise.report.summary import Summary, attack_title, by_protocol
from dynanoise.report.table import Cell, Row, Table, make_table, number_cell


def attack_tables(results: Sequence[Result], metric: str) -> list[Table]:
    """Tabulate one metric of every attack.

    Args:
        results: those of one preset.
        metric: name of a metric of attacks, such as "auc" or "tpr@0.001".

    Returns:
        A table for each protocol, methods in rows. A cell is empty where an attack was not run on
        a method, or too few records resolve the metric.

    Raises:
        UnknownNameError: if no attack was measured in this metric.
    """
    names = dict.fromkeys(name for result in results if result.attack for name in result.metrics)
    # The counts of chosen attacks belong to the attacker's choice alone, and measure no success.
    metrics = [name for name in names if not name.startswith("chosen ")]
    if metric not in metrics:
        raise UnknownNameError(
            f"No attack was measured by {metric!r}.", f"Known: {', '.join(metrics)}."
        )
    return [
        _table(f"{protocol}: {metric}", summary, metric)
        for protocol, summary in by_protocol(results).items()
    ]


def _table(caption: str, summary: Summary, metric: str) -> Table:
    attacks = (*summary.attacks, *summary.special)
    rows: list[Row] = []
    for method in summary.methods:
        metrics = [summary.metric(method, attack, metric) for attack in attacks]
        cells = [Cell("") if value is None else number_cell(value) for value in metrics]
        rows.append([method, *cells])
    return make_table(caption, ["Method", *map(attack_title, attacks)], rows)
