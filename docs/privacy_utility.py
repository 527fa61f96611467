"""Privacy against utility in one picture: attack success by attacker, and test accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynanoise.report.charts.style import FAINT, INK, draw_headline, method_looks, strip_axes, svg
from dynanoise.report.numbers import rate
from dynanoise.report.summary import Summary

TITLES = {
    "none": "no defense",
    "temperature": "temperature alone",
    "dynanoise": "DynaNoise, fresh noise",
    "dynanoise_keyed": "DynaNoise, keyed noise",
    "memguard": "MemGuard",
    "relaxloss": "RelaxLoss",
    "calibrated_label": "calibrated label",
    "hamp": "HAMP",
    "selena": "SELENA",
    "out_of_fold": "out-of-fold answers",
}
"""Rows of the picture."""

_OPEN = {"marker": "o", "linestyle": "", "fillstyle": "none", "markersize": 7}
_FILLED = {"marker": "o", "linestyle": "", "markersize": 7}
_DIAMOND = {"marker": "D", "linestyle": "", "markersize": 6}


def privacy_utility_plot(
    unaware: Mapping[str, Summary],
    adaptive: Mapping[str, Summary],
    chosen: Mapping[str, Summary],
) -> bytes:
    """Draw an arrow for each method, from success of one attacker to that of the strongest.

    Args:
        unaware: results of an attacker who does not know of the defense, by method.
        adaptive: those of an attacker who knows it, on the same data; methods that are here and in
            `TITLES` are drawn.
        chosen: results of an attacker who chooses inputs as well, of some of the methods.

    Returns:
        An SVG file.
    """
    rows = [name for name in TITLES if name in adaptive]
    size = (8.4, 1.5 + 0.36 * len(rows))
    return svg(lambda figure: _draw(figure, rows, unaware, adaptive, chosen), size)


def _draw(
    figure: Any,
    rows: list[str],
    unaware: Mapping[str, Summary],
    adaptive: Mapping[str, Summary],
    chosen: Mapping[str, Summary],
) -> None:
    axes = figure.subplots()
    looks = method_looks(rows)
    axes.axvline(0.5, color="#999999", linewidth=1, zorder=0)
    largest = 0.5
    for height, name in enumerate(rows):
        colour = looks[name][0]
        marks = []
        for attacker, mark in ((unaware, _OPEN), (adaptive, _FILLED), (chosen, _DIAMOND)):
            if name in attacker:
                marks.append(attacker[name].success(name)[1].value)
                axes.plot(marks[-1], height, color=colour, **mark)
        largest = max(largest, *marks)
        style = {"arrowstyle": "->", "color": colour, "linewidth": 1.6, "shrinkA": 5, "shrinkB": 5}
        if name in unaware and max(marks[1:]) - marks[0] > 0.012:
            axes.annotate("", (max(marks[1:]), height), (marks[0], height), arrowprops=style)
    right = largest + 0.07
    for height, name in enumerate(rows):
        accuracy = adaptive[name].spread(name, None, "accuracy").mean
        axes.text(right, height, rate(accuracy), va="center", ha="right", color=INK)
    axes.text(right, -0.9, "test\naccuracy", va="center", ha="right", color=FAINT, fontsize=9)
    axes.text(0.5, -0.9, " guessing", va="center", color=FAINT, fontsize=9)
    repeats, queries = (
        next(iter(attacker.values())).threat.repeats for attacker in (adaptive, chosen)
    )
    labels = (
        "attacker of the paper, 1 query",
        f"attacker who knows the defense, {repeats} queries",
        f"and chooses inputs, {queries} queries",
    )
    for mark, label in zip((_OPEN, _FILLED, _DIAMOND), labels, strict=True):
        axes.plot([], [], color=INK, label=label, **mark)
    axes.set_yticks(range(len(rows)), [TITLES[name] for name in rows])
    axes.set_ylim(len(rows) - 0.4, -1.3)
    axes.set_xlim(0.49, right + 0.005)
    axes.set_xlabel("attack success (balanced accuracy; lower is better)")
    axes.grid(True, axis="x", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    strip_axes(axes)
    draw_headline(figure, "CIFAR-10: the strongest attack on each defense")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
