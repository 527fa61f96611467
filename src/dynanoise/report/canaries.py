"""Success on canaries: a table of its own, with what it does and does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rich import box
from rich.table import Table

from dynanoise.core.result import STRONGEST, Metric, Result
from dynanoise.metrics.epsilon import epsilon_of_models
from dynanoise.report.summary import Summary

TITLE = "Canaries, strongest attack"

_NAMES, _A_COLUMN = 26, 14
"""Columns of a terminal for the names, and for each measure with its interval."""

_COLUMNS = {
    "auc": "AUC,\nall records",
    "canary_auc": "AUC,\ncanaries",
    "canary_mislabelled_auc": "mis-\nlabelled",
    "canary_atypical_auc": "atypical",
    "canary_tpr@0.01": "TPR at\n1% FPR",
    "canary_tpr@0.001": "TPR at\n0.1% FPR",
    "canary_epsilon": "epsilon\nat least",
}


def planted(summaries: Mapping[str, Summary]) -> bool:
    """Whether there were canaries; without them there is nothing to show."""
    return bool(_records(summaries))


def cells(summaries: Mapping[str, Summary]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row for each protocol and method.

    Args:
        summaries: by protocol, of one preset.

    Returns:
        Cells with their interval on a line of its own. Measures that no Result has are left out.
    """
    found = _records(summaries)
    names = [name for name in _COLUMNS if any(name in one.metrics for one in found)]
    rows = [
        [one.protocol, one.method, *(_cell(one.metrics.get(name)) for name in names)]
        for one in found
    ]
    return ["Protocol", "Method", *(_COLUMNS[name] for name in names)], rows


def table(summaries: Mapping[str, Summary], width: int) -> Table:
    """For a terminal of a width.

    Intervals are left out where they would be broken across lines.
    """
    header, rows = cells(summaries)
    if width < _NAMES + _A_COLUMN * (len(header) - 2):
        rows = [[cell.split("\n")[0] for cell in row] for row in rows]
    shown = Table(
        title=TITLE,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title_justify="left",
    )
    for index, heading in enumerate(header):
        shown.add_column(heading, justify="right" if index > 1 else "left", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    return shown


def markdown(summaries: Mapping[str, Summary]) -> str:
    """The same in Markdown."""
    header, rows = cells(summaries)
    lines = [[flat(heading) for heading in header], [":--", ":--", *["--:"] * (len(header) - 2)]]
    lines += [[cell.replace("\n", "<br>") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def flat(heading: str) -> str:
    r"""A heading on one line.

    >>> flat("mis-\nlabelled"), flat("TPR at\n1% FPR")
    ('mislabelled', 'TPR at 1% FPR')
    """
    return re.sub(r"-?\n", lambda found: "" if found[0] == "-\n" else " ", heading)


def notes(summaries: Mapping[str, Summary]) -> list[str]:
    """What the table says, under which threat model, in sentences."""
    counts = _records(summaries)[0].counts
    kinds = [counts[f"canaries_{kind}"] for kind in ("mislabelled", "atypical")]
    most = epsilon_of_models([sum(kinds)], [sum(kinds)])
    return [
        f"Canaries: {kinds[0]} records of the pool got another class's label and {kinds[1]} were "
        "mixed with a record of another class; every number of this run is of models trained with "
        "them. Attackers are those of the protocols above: they hold the canaries as they were "
        "trained on, and their attacks are tuned to all records, not to canaries.",
        "Epsilon is a lower bound (95%, pure DP, one record more or less) for training and "
        "answering together, from this attacker's guesses about the canaries of one model at a "
        f"time (Steinke et al. 2023), the median over models. It is at most {most:.2f} with so "
        "many canaries; a small one is no sign of privacy.",
    ]


def _records(summaries: Mapping[str, Summary]) -> list[Result]:
    """Of the attacker's own choice where there were canaries, in the order of the table."""
    return [
        one
        for summary in summaries.values()
        for one in summary.records
        if one.attack == STRONGEST and "canary_epsilon" in one.metrics
    ]


def _cell(metric: Metric | None) -> str:
    """Such as "0.966" above "[.957,.976]"; "-" where too few records resolve it."""
    if metric is None:
        return "-"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.2f}"
    bounds = ",".join(f"{bound:.3f}".replace("0.", ".") for bound in (metric.low, metric.high))
    return f"{metric.value:.3f}\n[{bounds}]"
