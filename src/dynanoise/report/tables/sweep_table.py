"""A sweep over one parameter: every value and seed in a row."""

from __future__ import annotations

from collections.abc import Sequence

from dynanoise.core.result import Metric, Result
from dynanoise.report.summary import summarise
from dynanoise.report.table import Column, Row, Table, make_table, number_cell

_UTILITY = ("accuracy", "label_flips", "midput", "midput_leakage", "midput_worst_case")


def sweep_table(results: Sequence[Result]) -> Table:
    """Tabulate a sweep, one row for each method and seed.

    Args:
        results: those of `dynanoise.benchmark.sweep`.

    Returns:
        Columns ``method`` ("none" or "dynanoise"), ``parameter`` and its ``value`` (empty for
        none), ``seed``, utility and MIDPUT, then ``asr_`` and ``auc_`` of each attack.
    """
    summary = summarise(results)
    measures: list[tuple[str | None, str]] = [(None, metric) for metric in _UTILITY]
    measures += [(attack, metric) for attack in summary.attacks for metric in ("asr", "auc")]
    rows: list[Row] = []
    for method in summary.methods:
        parameter, _, value = method.partition("=")
        name = ["dynanoise", parameter, value] if value else [method, "", ""]
        spreads = [summary.spread(method, *measure).values for measure in measures]
        for index, seed in enumerate(summary.seeds):
            numbers: Row = [number_cell(Metric(values[index])) for values in spreads]
            rows.append([*name, str(seed), *numbers])
    columns = [f"{metric}_{attack}" for attack in summary.attacks for metric in ("asr", "auc")]
    headings: list[str | Column] = [
        "method",
        Column("parameter", "left"),
        "value",
        "seed",
        *_UTILITY,
        *columns,
    ]
    return make_table(f"{summary.results[0].preset}: a sweep", headings, rows)
