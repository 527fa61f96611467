"""Charts of the HTML report, by matplotlib: what all share, and those of results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dynanoise.core.result import Metric
from dynanoise.report.charts.plots import LOOKS, bare, offsets_within, svg
from dynanoise.report.side_by_side import strongest
from dynanoise.report.summary import Summary
from dynanoise.report.wording.threats import budget
from dynanoise.report.wording.verdict import with_interval

INK, FAINT, GRID = "#222222", "#595959", "#DDDDDD"
"""Colours of text, lesser text and lines."""

WIDE, SMALL = (4.8, 3.6), (3.6, 3.0)
"""Inches; at a phone's width a wide chart shrinks by a quarter and stays readable."""


@dataclass(frozen=True)
class Chart:
    """A picture and what it says to those who do not see it.

    Attributes:
        title: heading.
        alternative: what is shown, in a sentence.
        picture: SVG file.
        header, rows: the numbers as a table.
    """

    title: str
    alternative: str
    picture: bytes
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def looks_of(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each method, the same in all charts."""
    return {name: LOOKS[index % len(LOOKS)] for index, name in enumerate(methods)}


def success(summaries: Mapping[str, Summary], methods: Sequence[str]) -> Chart:
    """The strongest attack's success on every method, by protocol."""
    rows = [
        (name, protocol, *strongest(summary, name))
        for name in methods
        for protocol, summary in summaries.items()
        if name in summary.methods
    ]
    names = list(summaries)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.axvline(0.5, color=FAINT, linewidth=1)
        offsets = offsets_within(len(names), 0.2)
        for index, protocol in enumerate(names):
            colour, marker = LOOKS[(0, 6, 5, 3, 4)[index % 5]]
            mine = [row for row in rows if row[1] == protocol]
            heights = [methods.index(row[0]) + offsets[index] for row in mine]
            dots(axes, [row[3] for row in mine], heights, colour, marker, protocol)
        axes.set_yticks(range(len(methods)), [short(name) for name in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel("balanced accuracy of the strongest attack (0.5: guessing)")
        bare(axes)
        finish(figure, axes)

    height = 1.5 + 0.42 * len(methods)
    return Chart(
        "Strongest attack by method",
        f"Dots with 95% intervals: balanced accuracy of the strongest attack on {len(methods)} "
        f"methods under the protocols {', '.join(names)}; lower is better, 0.5 is guessing.",
        svg(draw, (WIDE[0], height)),
        ("method", "protocol", "attack", "balanced accuracy"),
        tuple(
            (name, protocol, title, with_interval(found)) for name, protocol, title, found in rows
        ),
    )


def budgets(summaries: Mapping[str, Summary], methods: Sequence[str]) -> Chart:
    """Attack strength against repeats of a query, a line for each method."""
    summaries = {
        name: one for name, one in summaries.items() if not one.records[0].threat.augmented
    }
    asked = [one.records[0].threat.repeats for one in summaries.values()]
    lines = {
        name: [
            (one.records[0].threat.repeats, strongest(one, name)[1])
            for one in summaries.values()
            if name in one.methods
        ]
        for name in methods
    }
    lines = {name: line for name, line in lines.items() if line}
    looks = looks_of(methods)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.set_xscale("log", base=2)
        axes.axhline(0.5, color=FAINT, linewidth=1)
        for index, (name, line) in enumerate(lines.items()):
            colour, marker = looks[name]
            # Intervals side by side, not on top of each other.
            aside = 2 ** (0.07 * (index - (len(lines) - 1) / 2))
            queries = [repeats * aside for repeats, _ in line]
            axes.plot(
                queries,
                [found.value for _, found in line],
                marker=marker,
                color=colour,
                label=short(name),
                linewidth=1.4,
            )
            for x, (_, found) in zip(queries, line, strict=True):
                if found.low is not None and found.high is not None:
                    axes.plot([x, x], [found.low, found.high], color=colour, linewidth=1)
        axes.set_xticks(asked, [str(repeats) for repeats in asked])
        axes.set_xlim(min(asked) / 1.6, max(asked) * 1.6)
        axes.minorticks_off()
        axes.set_xlabel("queries a record, averaged")
        axes.set_ylabel("balanced accuracy of the strongest")
        finish(figure, axes)

    return Chart(
        "Attack strength against query budget",
        "Lines with 95% intervals: balanced accuracy of the strongest attack at "
        f"{', '.join(map(str, asked))} queries a record, for {', '.join(lines)}.",
        svg(draw, WIDE),
        ("method", *(budget(one.records[0].threat) for one in summaries.values())),
        tuple((name, *(with_interval(found) for _, found in line)) for name, line in lines.items()),
    )


def short(text: str, most: int = 18) -> str:
    r"""Names come from users' files: no markup of matplotlib, and no wider than the chart.

    >>> short("a" * 30, 8), short("$x$")
    ('aaaaaaa…', '\\$x\\$')
    """
    kept = text if len(text) <= most else text[: most - 1] + "…"
    return kept.replace("$", r"\$").lstrip("_")


def dots(
    axes: Any,
    found: Sequence[Metric],
    heights: Sequence[float],
    colour: str,
    marker: str,
    label: str,
) -> None:
    """Values with their intervals, at heights."""
    for metric, y in zip(found, heights, strict=True):
        if metric.low is not None and metric.high is not None:
            axes.plot([metric.low, metric.high], [y, y], color=colour, linewidth=1.4)
    values = [metric.value for metric in found]
    axes.plot(values, heights, marker, color=colour, markersize=5, label=short(label))


def finish(figure: Any, *panels: Any) -> None:
    """Grid and legend, as in all charts."""
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
    handles, labels = panels[0].get_legend_handles_labels()
    most = 4 if figure.get_figwidth() > SMALL[0] else 2
    if max(map(len, labels)) > 18:
        most //= 2
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), most),
        frameon=False,
        fontsize=9,
        handlelength=1.6,
        columnspacing=1.0,
    )
