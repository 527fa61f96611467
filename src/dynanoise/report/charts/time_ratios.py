"""The chart of times over the undefended model's."""

from __future__ import annotations

from typing import Any

from dynanoise.report.charts.style import (
    PALETTE,
    Look,
    draw_headline,
    draw_legend,
    draw_points,
    offsets_within,
    short,
    strip_axes,
    svg,
)
from dynanoise.report.numbers import ratio
from dynanoise.report.tables.time_table import PUBLISHED, Times

_LOOKS = (PALETTE[1], PALETTE[5], PALETTE[3], PALETTE[4])
_DARK, _PUBLISHED = "#444444", "#D55E00"


def time_plot(times: Times) -> bytes:
    """Draw time over the undefended model's by method, on a logarithmic axis.

    Returns:
        An SVG file with the published values beside ours, see `style.svg`.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    height = 1.5 + 0.42 * len(times.methods)
    return svg(lambda figure: draw_times(figure, times), (9.0, height))


def draw_times(figure: Any, times: Times) -> None:
    """Draw the chart into an empty figure."""
    axes = figure.subplots()
    _grid(axes, times)
    offsets = offsets_within(len(times.batches), 0.36)
    for index, batch in enumerate(times.batches):
        _points(axes, times, batch, offsets[index], _LOOKS[index % len(_LOOKS)])
    _published(axes, times)
    result = times.results[0]
    draw_headline(
        figure, f"Time of an output over the undefended model's: {result.preset}, {result.model}"
    )
    draw_legend(figure, axes)


def _grid(axes: Any, times: Times) -> None:
    """Axes, the line of the undefended model, and faint bands that lead the eye along a row."""
    rows = len(times.methods)
    for row in range(0, rows, 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", linewidth=0, zorder=0)
    low, high = time_span(times)
    axes.set_xscale("log")
    steps = (1, 2, 5) if high / low < 1000 else (1,)
    ticks = [step * 10**power for power in range(7) for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick}×" for tick in ticks])
    for tick in ticks:
        axes.axvline(tick, color="#999999" if tick == 1 else "#E2E2E2", linewidth=1, zorder=1)
    axes.set_xticks([], minor=True)
    axes.set_xlim(low, high)
    axes.set_yticks(range(rows), [short(name, 30) for name in times.methods])
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xlabel("undefended = 1; median and 95% interval over rounds")
    strip_axes(axes)


def _points(axes: Any, times: Times, batch: int, offset: float, look: Look) -> None:
    ratios = [times.metric(name, f"ratio_batch_{batch}") for name in times.methods]
    for row, metric in enumerate(ratios):
        y = row + offset
        axes.annotate(
            f"{ratio(metric.value)}×",
            (max(metric.value, metric.high or 0.0), y),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=_DARK,
        )
    heights = [row + offset for row in range(len(ratios))]
    draw_points(axes, ratios, heights, look, f"batch of {batch}" if batch > 1 else "one record")


def _published(axes: Any, times: Times) -> None:
    points = [
        (PUBLISHED[name], row)
        for row, name in enumerate(times.methods)
        if name in PUBLISHED and row
    ]
    if not points:
        return
    values, rows = zip(*points, strict=True)
    axes.plot(
        values,
        rows,
        "|",
        color=_PUBLISHED,
        markersize=20,
        markeredgewidth=2,
        label="published (arXiv:2505.13362v2)",
        zorder=2,
    )
    for value, row in points:
        axes.annotate(
            f"{ratio(value)}×",
            (value, row),
            xytext=(-5, 0),
            textcoords="offset points",
            va="center",
            ha="right",
            fontsize=8,
            color=_PUBLISHED,
        )


def time_span(times: Times) -> tuple[float, float]:
    """The ends of the axis: every value, with room for the numbers beside the points."""
    names = [f"ratio_batch_{batch}" for batch in times.batches]
    ratios = [times.metric(method, name) for method in times.methods for name in names]
    values = [value for time in ratios for value in (time.value, time.low, time.high) if value]
    values += [PUBLISHED[name] for name in times.methods if name in PUBLISHED]
    low, high = min(values), max(*values, 2.0)
    length = high / low
    return low / length**0.09, high * length**0.12
