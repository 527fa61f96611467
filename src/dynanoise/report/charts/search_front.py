"""The chart of a search over settings: all that were tried, and the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dynanoise.report.charts.style import PALETTE, draw_headline, draw_legend, strip_axes, svg
from dynanoise.report.tables.settings_table import MeasuredSetting, lower_limit

Point = tuple[float, float]
"""Negative log-likelihood in nats, worst-case MIDPUT."""

_BLUE, _ORANGE, _GREEN, _RED = (PALETTE[index][0] for index in (1, 5, 3, 2))


@dataclass(frozen=True)
class SearchPoints:
    """The points of the chart.

    Attributes:
        tried: all settings.
        front: settings within the limits that no other one beats in both respects.
        cells: cells without noise, from the finest on.
        floor: the label with its accuracy.
        plain: negative log-likelihood of the undefended model.
        limit: the greatest negative log-likelihood allowed.
        queries: the attacker's budget.
        settings: the best ones, measured on other records.
        recommended: name of the recommended one; None if there is none.
    """

    tried: Sequence[Point]
    front: Sequence[Point]
    cells: Sequence[Point]
    floor: Point
    plain: float
    limit: float
    queries: int
    settings: Sequence[MeasuredSetting]
    recommended: str | None


def search_plot(points: SearchPoints) -> bytes:
    """Draw worst-case MIDPUT against negative log-likelihood.

    Returns:
        An SVG file, see `style.svg`.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    return svg(lambda figure: _draw(figure, points), (8.6, 5.4))


def _draw(figure: Any, points: SearchPoints) -> None:
    axes = figure.subplots()
    _frame(axes, points)
    axes.plot(*zip(*points.tried, strict=True), ".", color="#C8C8C8", markersize=4, label="tried")
    if points.front:
        front = tuple(zip(*points.front, strict=True))
        axes.plot(*front, color=_BLUE, linewidth=1.3, label="best of the search")
    if points.cells:
        cells = tuple(zip(*points.cells, strict=True))
        style = {"color": _ORANGE, "markersize": 5, "linewidth": 1}
        axes.plot(*cells, "^-", label="cells without noise", **style)
    axes.plot(*points.floor, "*", color=_GREEN, markersize=13, label="label and its accuracy")
    axes.plot(points.plain, 0.0, "o", color="#444444", markersize=7, label="undefended")
    for setting in points.settings:
        best = setting.name == points.recommended
        worst, colour = setting.worst, _RED if best else _BLUE
        if worst.low is not None and worst.high is not None:
            axes.plot([setting.nll] * 2, [worst.low, worst.high], color=colour, linewidth=1.4)
        axes.plot(
            setting.nll,
            worst.value,
            "D" if best else "s",
            color=colour,
            markersize=8 if best else 5,
            label="recommended, measured anew" if best else "best, measured anew",
        )
    axes.set_xlabel("negative log-likelihood on test data, nats (less is better)")
    axes.set_ylabel("worst-case MIDPUT (more is better)")
    strip_axes(axes)
    axes.grid(True, color="#EEEEEE", linewidth=0.6)
    axes.set_axisbelow(True)
    draw_legend(figure, axes)
    draw_headline(
        figure,
        "Settings against an attacker who knows them and repeats each query "
        f"{points.queries} times; squares and the diamond: other records, all attacks, the worst "
        "budget, 95% intervals",
    )


def _frame(axes: Any, points: SearchPoints) -> None:
    """Limits of the axes, and the lines of zero gain and of the greatest loss allowed."""
    marked = [
        *points.front,
        *points.cells,
        points.floor,
        (points.plain, 0.0),
        *((setting.nll, setting.worst.value) for setting in points.settings),
    ]
    right = max(*(x for x, _ in marked), points.limit)
    left = min(x for x, _ in marked)
    room = 0.06 * (right - left or 1.0)
    lows = [lower_limit(setting.worst) - 0.01 for setting in points.settings]
    axes.set_xlim(left - room, right + 3 * room)
    axes.set_ylim(max(-0.15, min(-0.03, *lows, 0.0)), 1.12 * max(0.05, *(y for _, y in marked)))
    axes.axhline(0, color="#999999", linewidth=1, zorder=0)
    axes.axvline(points.limit, color="#999999", linewidth=1, linestyle=":", zorder=0)
    axes.annotate(
        "limit",
        (points.limit, 0.0),
        (3, 4),
        textcoords="offset points",
        color="#666666",
        fontsize=8,
    )
