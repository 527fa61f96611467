"""The picture of results of time."""

from __future__ import annotations

from typing import Any

from dynanoise.report.charts.plots import bare, headline, legend_below, offsets_within, svg
from dynanoise.report.overhead import PUBLISHED, Overhead, times

_LOOKS = (("#0072B2", "o"), ("#E69F00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))
_INK, _PUBLISHED = "#444444", "#D55E00"


def overhead_plot(summary: Overhead) -> bytes:
    """Time over the undefended model's by method, on a logarithmic axis, published beside it.

    Returns:
        An SVG file, see `plots.svg`.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        _grid(axes, summary)
        offsets = offsets_within(len(summary.batches), 0.36)
        for index, batch in enumerate(summary.batches):
            _points(axes, summary, batch, offsets[index], _LOOKS[index % len(_LOOKS)])
        _published(axes, summary)
        record = summary.records[0]
        headline(
            figure,
            f"Time of an answer over the undefended model's: {record.preset}, {record.model}",
        )
        legend_below(figure, axes, 4)

    return svg(draw, (9.0, 1.5 + 0.42 * len(summary.methods)))


def _grid(axes: Any, summary: Overhead) -> None:
    """Axes, the line of the undefended model, and faint bands that lead the eye along a row."""
    rows = len(summary.methods)
    for row in range(0, rows, 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", linewidth=0, zorder=0)
    low, high = _span(summary)
    axes.set_xscale("log")
    steps = (1, 2, 5) if high / low < 1000 else (1,)
    ticks = [step * 10**power for power in range(7) for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick}×" for tick in ticks])
    for tick in ticks:
        axes.axvline(tick, color="#999999" if tick == 1 else "#E2E2E2", linewidth=1, zorder=1)
    axes.set_xticks([], minor=True)
    axes.set_xlim(low, high)
    axes.set_yticks(range(rows), summary.methods)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xlabel("undefended = 1; median and 95% interval over rounds")
    bare(axes)


def _points(axes: Any, summary: Overhead, batch: int, offset: float, look: tuple[str, str]) -> None:
    colour, marker = look
    found = [summary.metric(name, f"ratio_batch_{batch}") for name in summary.methods]
    for row, ratio in enumerate(found):
        y = row + offset
        if ratio.low is not None and ratio.high is not None:
            axes.plot([ratio.low, ratio.high], [y, y], color=colour, linewidth=1.6, zorder=2)
        axes.annotate(
            f"{times(ratio.value)}×",
            (max(ratio.value, ratio.high or 0.0), y),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=_INK,
        )
    values = [ratio.value for ratio in found]
    heights = [row + offset for row in range(len(found))]
    label = f"batch of {batch}" if batch > 1 else "one record"
    axes.plot(values, heights, marker, color=colour, markersize=6, label=label, zorder=3)


def _published(axes: Any, summary: Overhead) -> None:
    known = [
        (PUBLISHED[name], row)
        for row, name in enumerate(summary.methods)
        if name in PUBLISHED and row
    ]
    if not known:
        return
    values, rows = zip(*known, strict=True)
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
    for value, row in known:
        axes.annotate(
            f"{times(value)}×",
            (value, row),
            xytext=(-5, 0),
            textcoords="offset points",
            va="center",
            ha="right",
            fontsize=8,
            color=_PUBLISHED,
        )


def _span(summary: Overhead) -> tuple[float, float]:
    """What the axis shows: everything, with room for the numbers beside the points."""
    names = [f"ratio_batch_{batch}" for batch in summary.batches]
    found = [summary.metric(method, name) for method in summary.methods for name in names]
    values = [value for ratio in found for value in (ratio.value, ratio.low, ratio.high) if value]
    values += [PUBLISHED[name] for name in summary.methods if name in PUBLISHED]
    low, high = min(values), max(*values, 2.0)
    length = high / low
    return low / length**0.09, high * length**0.12
