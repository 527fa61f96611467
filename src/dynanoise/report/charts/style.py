"""The style that all charts share: colours, markers, axes, legends, and the SVG file itself."""

from __future__ import annotations

import hashlib
import io
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from dynanoise.core.extras import require
from dynanoise.core.result import Metric
from dynanoise.report.summary import Summary

Look = tuple[str, str]
"""Colour and marker."""

# Okabe & Ito's palette, then Tol's, distinguishable with common colour visions; shapes differ too.
PALETTE: tuple[Look, ...] = (
    ("#444444", "o"),
    ("#0072B2", "X"),
    ("#D55E00", "P"),
    ("#009E73", "^"),
    ("#CC79A7", "v"),
    ("#E69F00", "s"),
    ("#56B4E9", "D"),
    ("#882255", "<"),
    ("#117733", ">"),
    ("#332288", "p"),
    ("#AA4499", "*"),
    ("#999933", "d"),
    ("#661100", "h"),
    ("#44AA99", "8"),
    ("#AAAA00", "H"),
)
"""Looks of attacks and of protocols, by position; those of methods are in `METHODS`."""

METHODS: dict[str, Look] = {
    "none": PALETTE[0],
    "temperature": PALETTE[5],
    "static": PALETTE[6],
    "dynanoise": PALETTE[3],
    "dynanoise_keyed": PALETTE[4],
    "cells": PALETTE[2],
    "calibrated_label": PALETTE[1],
    "dynanoise_tuned": PALETTE[13],
    "advreg": PALETTE[7],
    "memguard": PALETTE[8],
    "relaxloss": PALETTE[9],
    "selena": PALETTE[10],
    "hamp": PALETTE[11],
    "dpsgd": PALETTE[12],
    "out_of_fold": PALETTE[14],
}
"""The look of each method of the presets, in every figure."""

_OTHER_COLOURS = ("#EE8866", "#004488", "#997700", "#BB5566", "#66CCEE", "#8844AA", "#225522")
"""Colours of methods that are not in `METHODS`."""

INK, FAINT, GRID = "#222222", "#595959", "#DDDDDD"
"""Colours of text, lesser text and lines."""

WIDE, SMALL = (4.8, 3.6), (3.6, 3.0)
"""Inches; at a phone's width a wide chart shrinks by a quarter and stays readable."""


def method_looks(methods: Sequence[str]) -> dict[str, Look]:
    """Choose a look for each method, the same in all figures and never one look for two methods.

    Args:
        methods: names. Those of other packages and of users' files get a look by a hash of the
            name; where two of them would share a colour, the later one takes the next.

    Raises:
        ValueError: if there are more of the other methods than looks (98).
    """
    looks = {name: METHODS[name] for name in methods if name in METHODS}
    others = [(colour, marker) for _, marker in PALETTE for colour in _OTHER_COLOURS]
    for name in dict.fromkeys(methods):
        if name in looks:
            continue
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
        order = [others[(start + step) % len(others)] for step in range(len(others))]
        free = [look for look in order if look not in looks.values()]
        if not free:
            raise ValueError(f"{len(looks)} methods have all the looks that there are")
        colours = {colour for colour, _ in looks.values()}
        looks[name] = next((look for look in free if look[0] not in colours), free[0])
    return looks


def svg(draw: Callable[[Any], None], size: tuple[float, float]) -> bytes:
    """Draw into an empty figure.

    Args:
        draw: gets the matplotlib figure.
        size: width and height in inches.

    Returns:
        An SVG file, the same bytes for the same drawing and matplotlib version.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    require("matplotlib", "Drawing charts")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {"svg.hashsalt": "dynanoise", "svg.fonttype": "path", "font.size": 10}
    with rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()


def draw_points(
    axes: Any,
    metrics: Sequence[Metric],
    heights: Sequence[float],
    look: Look,
    label: str,
    size: float = 6,
) -> None:
    """Draw values at heights, with their intervals as lines."""
    colour, marker = look
    for metric, y in zip(metrics, heights, strict=True):
        if metric.low is not None and metric.high is not None:
            axes.plot([metric.low, metric.high], [y, y], color=colour, linewidth=1.4)
    values = [metric.value for metric in metrics]
    axes.plot(values, heights, marker, color=colour, markersize=size, label=label)


def draw_headline(figure: Any, text: str) -> None:
    """Draw a title over all panels, from the left edge on, in as many lines as it needs."""
    letters = int(figure.get_figwidth() / 0.086)  # inches a letter of 11 points
    figure.suptitle(textwrap.fill(text, letters), fontsize=11, x=0.01, ha="left")


def draw_legend(figure: Any, axes: Any) -> None:
    """Draw the legend of some axes below all panels, as many entries a row as fit.

    Entries of one label are drawn once.
    """
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    entry = 0.45 + 0.07 * max(map(len, labels))  # inches: handle and gap, and letters of 9 points
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=max(1, min(len(entries), int(figure.get_figwidth() / entry))),
        frameon=False,
        fontsize=9,
        handlelength=1.6,
        columnspacing=1.0,
    )


def strip_axes(axes: Any) -> None:
    """Remove the frame and ticks of an axis with names."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def finish_chart(figure: Any, *panels: Any) -> None:
    """Draw grid and legend of a chart of the report."""
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
    draw_legend(figure, panels[0])


def threat_line(summary: Summary) -> str:
    """The attacker's knowledge, for a title."""
    knows = "knows" if summary.threat.knows_defense else "does not know of"
    return f"the attacker {knows} the defense"


def short(text: str, most: int = 18) -> str:
    r"""Shorten a name from a user's file, and escape matplotlib's markup in it.

    >>> short("a" * 30, 8), short("$x$")
    ('aaaaaaa…', '\\$x\\$')
    """
    kept = text if len(text) <= most else text[: most - 1] + "…"
    return kept.replace("$", r"\$").lstrip("_")


def offsets_within(count: int, widest: float) -> list[float]:
    """Heights of some marks within a row of height 1, centred on 0, at most so far apart.

    >>> offsets_within(3, 0.19), offsets_within(2, 0.36)
    ([-0.19, 0.0, 0.19], [-0.18, 0.18])
    """
    step = min(widest, 0.8 / count)
    return [round(step * (index - (count - 1) / 2), 6) for index in range(count)]
