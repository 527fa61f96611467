"""What a search over settings found: a table of the best, and a picture of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from dynanoise.core.result import Metric
from dynanoise.report.charts.plots import LOOKS, bare, headline, svg

Point = tuple[float, float]
"""Negative log-likelihood in nats, worst-case MIDPUT."""


@dataclass(frozen=True)
class Row:
    """One of the best settings, judged on records that the search did not use.

    Attributes:
        name: as in the results.
        setting: its parameters by what they are called.
        gains: worst-case MIDPUT by protocol.
        drop: of accuracy.
        nll: negative log-likelihood, nats.
        ece: expected calibration error.
    """

    name: str
    setting: Mapping[str, str]
    gains: Mapping[str, Metric]
    drop: float
    nll: float
    ece: float

    @property
    def worst(self) -> Metric:
        """The gain with the lowest lower limit."""
        return min(self.gains.values(), key=low)


@dataclass(frozen=True)
class Search:
    """What a picture of it needs.

    Attributes:
        tried: all settings.
        front: those of them that keep to the limits and that none of these beats in both.
        cells: cells without noise, from the finest on.
        floor: the label with its accuracy.
        plain: negative log-likelihood of the undefended model.
        limit: of the negative log-likelihood.
        queries: the attacker's budget.
        rows: the best settings, judged anew.
        chosen: the name of the recommended one; None if there is none.
    """

    tried: Sequence[Point]
    front: Sequence[Point]
    cells: Sequence[Point]
    floor: Point
    plain: float
    limit: float
    queries: int
    rows: Sequence[Row]
    chosen: str | None


def low(metric: Metric) -> float:
    """The lower end of the interval; the value where there is none."""
    return metric.value if metric.low is None else metric.low


def front_table(rows: Sequence[Row], chosen: str | None) -> Table:
    """The best settings, one a row, the recommended one marked."""
    protocols = list(rows[0].gains) if rows else []
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1), title_justify="left")
    for heading in ("", "Setting", *protocols, "Acc. drop", "NLL", "ECE"):
        table.add_column(
            heading.replace("_", "\n"), justify="left" if heading in ("", "Setting") else "right"
        )
    for row in rows:
        said = ", ".join(f"{name} {value}".strip() for name, value in row.setting.items())
        marked = f"> {row.name}" if row.name == chosen else row.name
        gains = [_signed(row.gains[name]) for name in protocols]
        table.add_row(marked, said, *gains, f"{row.drop:+.3f}", f"{row.nll:.3f}", f"{row.ece:.3f}")
    return table


def _signed(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return f"{metric.value:+.3f}"
    return f"{metric.value:+.3f}\n[{metric.low:+.3f}, {metric.high:+.3f}]"


def search_plot(search: Search) -> bytes:
    """Worst-case MIDPUT against negative log-likelihood, an SVG file.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    return svg(lambda figure: _draw(figure, search), (8.6, 5.4))


def _draw(figure: Any, search: Search) -> None:
    axes = figure.subplots()
    marked = [
        *search.front,
        *search.cells,
        search.floor,
        (search.plain, 0.0),
        *((row.nll, row.worst.value) for row in search.rows),
    ]
    right = max(*(x for x, _ in marked), search.limit)
    left = min(x for x, _ in marked)
    room = 0.06 * (right - left or 1.0)
    lowest = min(-0.03, *(low(row.worst) - 0.01 for row in search.rows)) if search.rows else -0.03
    axes.set_xlim(left - room, right + 3 * room)
    axes.set_ylim(max(-0.15, lowest), 1.12 * max(0.05, *(y for _, y in marked)))
    axes.axhline(0, color="#999999", linewidth=1, zorder=0)
    axes.axvline(search.limit, color="#999999", linewidth=1, linestyle=":", zorder=0)
    axes.annotate(
        "limit",
        (search.limit, 0.0),
        (3, 4),
        textcoords="offset points",
        color="#666666",
        fontsize=8,
    )
    axes.plot(*zip(*search.tried, strict=True), ".", color="#C8C8C8", markersize=4, label="tried")
    blue, orange, green, red = (LOOKS[index][0] for index in (6, 1, 3, 5))
    if search.front:
        axes.plot(
            *zip(*search.front, strict=True), color=blue, linewidth=1.3, label="best of the search"
        )
    if search.cells:
        axes.plot(
            *zip(*search.cells, strict=True),
            "^-",
            color=orange,
            markersize=5,
            linewidth=1,
            label="cells without noise",
        )
    axes.plot(*search.floor, "*", color=green, markersize=13, label="label and its accuracy")
    axes.plot(search.plain, 0.0, "o", color="#444444", markersize=7, label="undefended")
    for row in search.rows:
        best = row.name == search.chosen
        found, colour = row.worst, red if best else blue
        if found.low is not None and found.high is not None:
            axes.plot([row.nll] * 2, [found.low, found.high], color=colour, linewidth=1.4)
        label = "recommended, judged anew" if best else "best, judged anew"
        axes.plot(
            row.nll,
            found.value,
            "D" if best else "s",
            color=colour,
            markersize=8 if best else 5,
            label=label,
        )
    axes.set_xlabel("negative log-likelihood on test data, nats (less is better)")
    axes.set_ylabel("worst-case MIDPUT (more is better)")
    bare(axes)
    axes.grid(True, color="#EEEEEE", linewidth=0.6)
    axes.set_axisbelow(True)
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    figure.legend(
        named.values(), named.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=9
    )
    headline(
        figure,
        f"Settings against an attacker who knows them and asks {search.queries} times;\n"
        "squares and the diamond: other records, all attacks, the worst budget, 95% intervals",
    )
