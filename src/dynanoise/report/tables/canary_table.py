"""Success on canaries: a table of its own, with the sentences that limit its meaning."""

from __future__ import annotations

from collections.abc import Mapping

from dynanoise.core.result import STRONGEST, Metric, Result
from dynanoise.metrics.epsilon import epsilon_of_models
from dynanoise.report.summary import Summary
from dynanoise.report.table import Cell, Column, Row, Table, make_table, number_cell

TITLE = "Canaries, attacker's choice"

_COLUMNS = {
    "auc": "AUC, all records",
    "canary_auc": "AUC, canaries",
    "canary_mislabelled_auc": "mislabelled",
    "canary_atypical_auc": "atypical",
    "canary_tpr@0.01": "TPR at 1% FPR",
    "canary_tpr@0.001": "TPR at 0.1% FPR",
    "canary_epsilon": "epsilon at least",
}


def planted(summaries: Mapping[str, Summary]) -> bool:
    """True if the models were trained with canaries."""
    return bool(_results(summaries))


def canary_table(summaries: Mapping[str, Summary]) -> Table:
    """Tabulate success on canaries, a row for each protocol and method.

    Args:
        summaries: by protocol, of one preset, with canaries.

    Returns:
        A table without the measures that no result has.
    """
    results = _results(summaries)
    names = [name for name in _COLUMNS if any(name in result.metrics for result in results)]
    rows: list[Row] = [
        [result.protocol, result.method, *(_cell(result.metrics.get(name)) for name in names)]
        for result in results
    ]
    headings: list[str | Column] = [
        "Protocol",
        Column("Method", "left"),
        *(_COLUMNS[name] for name in names),
    ]
    return make_table(TITLE, headings, rows, names=2)


def canary_notes(summaries: Mapping[str, Summary]) -> list[str]:
    """Write the threat model of the table and the meaning of epsilon, in sentences."""
    counts = _results(summaries)[0].counts
    kinds = [counts[f"canaries_{kind}"] for kind in ("mislabelled", "atypical")]
    largest = epsilon_of_models([sum(kinds)], [sum(kinds)])
    return [
        f"Canaries: {kinds[0]} records of the pool got another class's label and {kinds[1]} were "
        "mixed with a record of another class; every number of this run is of models trained with "
        "them. Attackers are those of the protocols above: they hold the canaries as they were "
        "trained on, and their attacks are tuned to all records, not to canaries.",
        "Epsilon is a lower bound (95%, pure DP, one record more or less) for training and "
        "outputs together, from this attacker's guesses about the canaries of one model at a "
        f"time (Steinke et al. 2023), the median over models. It is at most {largest:.2f} with so "
        "many canaries; a small one does not show privacy.",
    ]


def _results(summaries: Mapping[str, Summary]) -> list[Result]:
    """Results of the attacker's choice where there were canaries, in the order of the table."""
    return [
        result
        for summary in summaries.values()
        for result in summary.results
        if result.attack == STRONGEST and "canary_epsilon" in result.metrics
    ]


def _cell(metric: Metric | None) -> Cell:
    """Epsilon, which has no interval, gets two decimals."""
    if metric is None or (metric.low is not None and metric.high is not None):
        return number_cell(metric)
    return number_cell(metric, lambda value: f"{value:.2f}")
