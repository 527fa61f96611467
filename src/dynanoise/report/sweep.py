"""A sweep over one parameter, as CSV and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from dynanoise.attacks.title import title_of
from dynanoise.core.result import Metric, Result
from dynanoise.report.charts.plots import (
    LOOKS,
    bare,
    headline,
    legend_below,
    svg,
    threat_line,
)
from dynanoise.report.summary import Summary, summarise

_UTILITY = ("accuracy", "label_flips", "midput", "midput_leakage", "midput_worst_case")


def sweep_csv(records: Sequence[Result]) -> str:
    """One line for each method and seed.

    Columns: ``method`` ("none" or "dynanoise"), ``parameter`` and its ``value`` (empty for
    none), ``seed``, utility and MIDPUT, then ``asr_`` and ``auc_`` of each attack.

    Args:
        records: of `audit.sweep`.
    """
    summary = summarise(records)
    columns = [f"{metric}_{attack}" for attack in summary.attacks for metric in ("asr", "auc")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "parameter", "value", "seed", *_UTILITY, *columns])
    for method in summary.methods:
        parameter, _, value = method.partition("=")
        name = [method, "", ""] if not value else ["dynanoise", parameter, value]
        for index, seed in enumerate(summary.seeds):
            row: list[Any] = [*name, seed]
            row += [summary.spread(method, None, metric).values[index] for metric in _UTILITY]
            for attack in summary.attacks:
                for metric in ("asr", "auc"):
                    row.append(summary.spread(method, attack, metric).values[index])
            writer.writerow(row)
    return text.getvalue()


def sweep_plot(records: Sequence[Result]) -> bytes:
    """Attack success, accuracy and MIDPUT against the parameter, with 95% intervals over seeds.

    Returns:
        An SVG file, the same bytes for the same results and matplotlib version.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    return svg(lambda figure: _draw(figure, summarise(records)), (10.0, 4.2))


def _draw(figure: Any, summary: Summary) -> None:
    baseline, *rows = summary.methods
    parameter = rows[0].partition("=")[0]
    rows.sort(key=_value)
    success, accuracy, midput = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
    values = [_value(row) for row in rows]
    # The undefended level stands to the left of the smallest value, as a point of its own.
    none = values[0] - 0.12 * max(values[-1] - values[0], 1e-3)
    for index, attack in enumerate(summary.attacks):
        found = [summary.spread(row, attack, "asr").interval for row in rows]
        _line(success, values, found, index, title_of(attack))
        before = summary.spread(baseline, attack, "asr").mean
        success.plot([none], [before], LOOKS[index][1], color=LOOKS[index][0], fillstyle="none")
    success.axhline(0.5, color="#999999", linewidth=1, zorder=0)
    success.set_xticks([none, *values], ["none", *(f"{value:g}" for value in values)])
    success.set_title("attack success (balanced accuracy)", fontsize=10, loc="left")
    found = [summary.spread(row, None, "accuracy").interval for row in rows]
    _line(accuracy, values, found, 6, "", banded=True)
    undefended = summary.spread(baseline, None, "accuracy").mean
    accuracy.axhline(undefended, color="#444444", linewidth=1, linestyle="--", zorder=0)
    accuracy.set_title("test accuracy (dashed: none)", fontsize=10, loc="left")
    for metric, index, label in (("midput", 6, "mean"), ("midput_worst_case", 5, "worst case")):
        found = [summary.spread(row, None, metric).interval for row in rows]
        _line(midput, values, found, index, label, banded=True)
    midput.axhline(0, color="#999999", linewidth=1, zorder=0)
    midput.set_title("MIDPUT", fontsize=10, loc="left")
    midput.legend(frameon=False, fontsize=9)
    for axes in (success, accuracy, midput):
        axes.set_xlabel(parameter)
        bare(axes)
    count = len(summary.seeds)
    seeds = f"mean over {count} seeds (shaded: 95% interval)" if count > 1 else "one seed"
    record = summary.records[0]
    title = f"DynaNoise on {record.preset}, {seeds}; {record.protocol} protocol: "
    headline(figure, f"{title}{threat_line(summary)}")
    legend_below(figure, success, 6)


def _value(method: str) -> float:
    """The number in a method's name.

    >>> _value("temperature=2.5")
    2.5
    """
    return float(method.partition("=")[2])


def _line(
    axes: Any,
    values: Sequence[float],
    found: Sequence[Metric],
    index: int,
    label: str,
    *,
    banded: bool = False,
) -> None:
    colour, marker = LOOKS[index]
    means = [metric.value for metric in found]
    axes.plot(values, means, marker=marker, color=colour, markersize=5, linewidth=1.4, label=label)
    if banded:  # six bands over each other would hide everything
        low = [metric.value if metric.low is None else metric.low for metric in found]
        high = [metric.value if metric.high is None else metric.high for metric in found]
        axes.fill_between(values, low, high, color=colour, alpha=0.12, linewidth=0)
