"""Pictures of results, by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from dynanoise.attacks.title import title_of
from dynanoise.core.errors import MissingExtraError
from dynanoise.core.result import Metric
from dynanoise.report.summary import Summary

# Okabe & Ito's palette, then Tol's, distinguishable with common colour visions; shapes differ too.
LOOKS = (
    ("#444444", "o"),
    ("#E69F00", "s"),
    ("#56B4E9", "D"),
    ("#009E73", "^"),
    ("#CC79A7", "v"),
    ("#D55E00", "P"),
    ("#0072B2", "X"),
    ("#882255", "<"),
    ("#117733", ">"),
    ("#332288", "p"),
    ("#AA4499", "*"),
)


def success_plot(summary: Summary) -> bytes:
    """Attack success by attack, and test accuracy beside it, with 95% intervals over seeds.

    Returns:
        An SVG file, the same bytes for the same results and matplotlib version.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    row = max(0.6, 0.13 * len(summary.methods))
    size = (9.0, 1.6 + row * len(summary.attacks))
    return svg(lambda figure: _draw(figure, summary), size)


def svg(draw: Callable[[Any], None], size: tuple[float, float]) -> bytes:
    """What ``draw`` puts into an empty figure of a size in inches, as an SVG file.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "Pictures need matplotlib, which is not installed.",
            "Install it with: pip install 'dynanoise[plot]'",
        ) from error
    style: Any = {"svg.hashsalt": "dynanoise", "svg.fonttype": "path", "font.size": 10}
    with rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()


def _draw(figure: Any, summary: Summary) -> None:
    spans = _spans(summary)
    gain, cost = figure.subplots(1, 2, width_ratios=[high - low for low, high in spans])
    _success(gain, summary)
    _accuracy(cost, summary)
    gain.set_xlim(spans[0])
    cost.set_xlim(spans[1])
    record = summary.records[0]
    headline(figure, f"{record.preset}, {record.protocol} protocol: {threat_line(summary)}")
    legend_below(figure, gain, min(5, len(summary.methods)))


def headline(figure: Any, text: str) -> None:
    """A title over everything, from the left edge on."""
    figure.suptitle(text, fontsize=11, x=0.01, ha="left")


def legend_below(figure: Any, axes: Any, columns: int) -> None:
    """The legend of some axes below everything."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def threat_line(summary: Summary) -> str:
    """What the attacker knows, for a title."""
    threat = summary.records[0].threat
    knows = "knows" if threat.knows_defense else "does not know of"
    return f"the attacker {knows} the defense"


def _success(axes: Any, summary: Summary) -> None:
    rows = len(summary.attacks)
    axes.axvline(0.5, color="#999999", linewidth=1, zorder=0)
    axes.text(0.5, -0.62, "chance ", color="#666666", fontsize=9, va="bottom", ha="right")
    heights = offsets_within(len(summary.methods), 0.19)
    for index, method in enumerate(summary.methods):
        found = [summary.spread(method, name, "asr").interval for name in summary.attacks]
        _points(axes, found, [row + heights[index] for row in range(rows)], index, method)
    axes.set_yticks(range(rows), [title_of(name) for name in summary.attacks])
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_xlabel(f"attack success (balanced accuracy){_interval_note(summary)}")
    bare(axes)


def _accuracy(axes: Any, summary: Summary) -> None:
    rows = len(summary.methods)
    for index, method in enumerate(summary.methods):
        found = summary.spread(method, None, "accuracy").interval
        _points(axes, [found], [float(index)], index, method)
    axes.set_yticks(range(rows), summary.methods)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_xlabel("test accuracy")
    bare(axes)


def _points(
    axes: Any, found: Sequence[Metric], heights: Sequence[float], index: int, label: str
) -> None:
    colour, marker = LOOKS[index % len(LOOKS)]
    for metric, y in zip(found, heights, strict=True):
        if metric.low is not None and metric.high is not None:
            axes.plot([metric.low, metric.high], [y, y], color=colour, linewidth=1.4)
    values = [metric.value for metric in found]
    axes.plot(values, heights, marker, color=colour, markersize=6, label=label)


def bare(axes: Any) -> None:
    """Takes away what no reader needs of an axis."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _spans(summary: Summary) -> tuple[tuple[float, float], tuple[float, float]]:
    """What the axes of attack success and of accuracy show: as long as each needs, on one scale.

    MIDPUT subtracts one from the other, so a point must be as long on either axis.
    """
    success = [summary.spread(c, a, "asr") for c in summary.methods for a in summary.attacks]
    accuracy = [summary.spread(c, None, "accuracy") for c in summary.methods]
    needs = []
    for spreads in (success, accuracy):
        found = [spread.interval for spread in spreads]
        low = min(metric.value if metric.low is None else metric.low for metric in found)
        high = max(metric.value if metric.high is None else metric.high for metric in found)
        needs.append((low, high))
    gain = (min(needs[0][0], 0.5), max(needs[0][1], 0.5))
    length = max(gain[1] - gain[0], 0.02)
    # Room for the axis label, so that the narrower panel can be read.
    shortest = 0.35 * max(length, needs[1][1] - needs[1][0])
    return _padded(gain, shortest, 0.06 * length), _padded(needs[1], shortest, 0.06 * length)


def _padded(span: tuple[float, float], shortest: float, margin: float) -> tuple[float, float]:
    """The span with a margin on both sides, and at least so long.

    >>> _padded((0.0, 1.0), 4.0, 0.5)
    (-2.0, 3.0)
    """
    extra = max(0.0, shortest - (span[1] - span[0])) / 2 + margin
    return span[0] - extra, span[1] + extra


def _interval_note(summary: Summary) -> str:
    count = len(summary.seeds)
    return f", mean and 95% interval over {count} seeds" if count > 1 else ", one seed"


def offsets_within(count: int, widest: float) -> list[float]:
    """Heights of so many marks within a row of height 1, centred on 0, at most so far apart.

    >>> offsets_within(3, 0.19), offsets_within(2, 0.36)
    ([-0.19, 0.0, 0.19], [-0.18, 0.18])
    """
    step = min(widest, 0.8 / count)
    return [round(step * (index - (count - 1) / 2), 6) for index in range(count)]
