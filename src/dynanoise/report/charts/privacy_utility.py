"""Privacy against utility in one picture: attack success by attacker, and test accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dynanoise.report.charts.style import FAINT, INK, draw_headline, method_looks, strip_axes, svg
from dynanoise.report.numbers import rate
from dynanoise.report.summary import Summary

DATA = {"cifar10": "CIFAR-10"}
"""Data sets by preset, as their authors write them; others go by the name of their preset."""

TITLES = {
    "none": "no defense",
    "temperature": "temperature alone",
    "dynanoise": "DynaNoise, fresh noise",
    "dynanoise_keyed": "DynaNoise, keyed noise",
    "memguard": "MemGuard",
    "relaxloss": "RelaxLoss",
    "calibrated_label": "calibrated label",
    "hamp": "HAMP",
}
"""Rows of the picture."""


def privacy_utility_plot(
    unaware: Summary,
    adaptive: Summary,
    methods: Sequence[str],
    chosen: Summary | None = None,
) -> bytes:
    """Draw an arrow for each method, from success of one attacker to that of the strongest.

    Args:
        unaware: results of an attacker who does not know of the defense.
        adaptive: those of an attacker who knows it, on the same data.
        methods: rows, of `TITLES`; those with results of both attackers are drawn.
        chosen: results of an attacker who chooses inputs as well, of some of the methods; None for
            none.

    Returns:
        An SVG file.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    rows = [name for name in methods if name in unaware.methods and name in adaptive.methods]
    size = (8.4, 1.5 + 0.36 * len(rows))
    return svg(lambda figure: _draw(figure, rows, unaware, adaptive, chosen), size)


def _draw(
    figure: Any, rows: list[str], unaware: Summary, adaptive: Summary, chosen: Summary | None
) -> None:
    axes = figure.subplots()
    looks = method_looks(rows)
    axes.axvline(0.5, color="#999999", linewidth=1, zorder=0)
    largest = 0.5
    for height, name in enumerate(rows):
        colour = looks[name][0]
        start, end = (summary.success(name)[1].value for summary in (unaware, adaptive))
        axes.plot(start, height, "o", color=colour, fillstyle="none", markersize=7)
        axes.plot(end, height, "o", color=colour, markersize=7)
        if chosen is not None and name in chosen.methods:
            by_choice = chosen.success(name)[1].value
            axes.plot(by_choice, height, "D", color=colour, markersize=6)
            end = max(end, by_choice)
        largest = max(largest, start, end)
        style = {"arrowstyle": "->", "color": colour, "linewidth": 1.6, "shrinkA": 5, "shrinkB": 5}
        if abs(end - start) > 0.012:
            axes.annotate("", (end, height), (start, height), arrowprops=style)
    right = largest + 0.07
    for height, name in enumerate(rows):
        accuracy = adaptive.spread(name, None, "accuracy").mean
        axes.text(right, height, rate(accuracy), va="center", ha="right", color=INK)
    axes.text(right, -0.9, "test\naccuracy", va="center", ha="right", color=FAINT, fontsize=9)
    axes.text(0.5, -0.9, " guessing", va="center", color=FAINT, fontsize=9)
    axes.plot([], [], "o", color=INK, fillstyle="none", label="attacker of the paper, 1 query")
    label = f"attacker who knows the defense, {adaptive.threat.repeats} queries"
    axes.plot([], [], "o", color=INK, label=label)
    if chosen is not None:
        label = f"and chooses inputs, {chosen.threat.repeats} queries"
        axes.plot([], [], "D", color=INK, label=label)
    axes.set_yticks(range(len(rows)), [TITLES[name] for name in rows])
    axes.set_ylim(len(rows) - 0.4, -1.3)
    axes.set_xlim(0.49, right + 0.005)
    axes.set_xlabel("attack success (balanced accuracy; lower is better)")
    axes.grid(True, axis="x", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    strip_axes(axes)
    preset = unaware.results[0].preset
    draw_headline(figure, f"{DATA.get(preset, preset)}: the strongest attack on each defense")
    columns = 2 if chosen is None else 3
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
