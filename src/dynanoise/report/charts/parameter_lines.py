"""The chart of a sweep over one parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dynanoise.attacks.base import title_of
from dynanoise.core.result import Metric, Result
from dynanoise.report.charts.style import (
    PALETTE,
    Look,
    draw_headline,
    draw_legend,
    strip_axes,
    svg,
    threat_line,
)
from dynanoise.report.summary import Summary, summarise

_MEAN, _WORST = PALETTE[1], PALETTE[2]


def sweep_plot(results: Sequence[Result]) -> bytes:
    """Draw attack success, accuracy and MIDPUT against the parameter, with 95% intervals.

    Args:
        results: those of `dynanoise.benchmark.sweep`.

    Returns:
        An SVG file, see `style.svg`.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    return svg(lambda figure: _draw(figure, summarise(results)), (10.0, 4.2))


def _draw(figure: Any, summary: Summary) -> None:
    baseline, *rows = summary.methods
    parameter = rows[0].partition("=")[0]
    rows.sort(key=_value)
    success, accuracy, midput = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
    values = [_value(row) for row in rows]
    # The undefended level stands to the left of the smallest value, as a point of its own.
    none = values[0] - 0.12 * max(values[-1] - values[0], 1e-3)
    for index, attack in enumerate(summary.attacks):
        look = PALETTE[index % len(PALETTE)]
        metrics = [summary.spread(row, attack, "asr").interval for row in rows]
        _line(success, values, metrics, look, title_of(attack))
        before = summary.spread(baseline, attack, "asr").mean
        success.plot([none], [before], look[1], color=look[0], fillstyle="none")
    success.axhline(0.5, color="#999999", linewidth=1, zorder=0)
    success.set_xticks([none, *values], ["none", *(f"{value:g}" for value in values)])
    success.set_title("attack success (balanced accuracy)", fontsize=10, loc="left")
    metrics = [summary.spread(row, None, "accuracy").interval for row in rows]
    _line(accuracy, values, metrics, _MEAN, "", banded=True)
    undefended = summary.spread(baseline, None, "accuracy").mean
    accuracy.axhline(undefended, color="#444444", linewidth=1, linestyle="--", zorder=0)
    accuracy.set_title("test accuracy (dashed: none)", fontsize=10, loc="left")
    for metric, look, label in (
        ("midput", _MEAN, "mean"),
        ("midput_worst_case", _WORST, "worst case"),
    ):
        metrics = [summary.spread(row, None, metric).interval for row in rows]
        _line(midput, values, metrics, look, label, banded=True)
    midput.axhline(0, color="#999999", linewidth=1, zorder=0)
    midput.set_title("MIDPUT", fontsize=10, loc="left")
    midput.legend(frameon=False, fontsize=9)
    for axes in (success, accuracy, midput):
        axes.set_xlabel(parameter)
        strip_axes(axes)
    count = len(summary.seeds)
    seeds = f"mean over {count} seeds (shaded: 95% interval)" if count > 1 else "one seed"
    result = summary.results[0]
    title = f"DynaNoise on {result.preset}, {seeds}; {result.protocol} protocol: "
    draw_headline(figure, f"{title}{threat_line(summary)}")
    draw_legend(figure, success)


def _value(method: str) -> float:
    """The number in a method's name.

    >>> _value("temperature=2.5")
    2.5
    """
    return float(method.partition("=")[2])


def _line(
    axes: Any,
    values: Sequence[float],
    metrics: Sequence[Metric],
    look: Look,
    label: str,
    *,
    banded: bool = False,
) -> None:
    colour, marker = look
    means = [metric.value for metric in metrics]
    axes.plot(values, means, marker=marker, color=colour, markersize=5, linewidth=1.4, label=label)
    if banded:  # six bands over each other would hide everything
        low = [metric.value if metric.low is None else metric.low for metric in metrics]
        high = [metric.value if metric.high is None else metric.high for metric in metrics]
        axes.fill_between(values, low, high, color=colour, alpha=0.12, linewidth=0)
