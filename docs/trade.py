"""Accuracy against leakage of out-of-fold answers: docs/out_of_fold.svg and its table.

``make docs`` writes both from `results/benchmarks/out_of_fold_trade.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from dynanoise.report.charts.style import FAINT, PALETTE, draw_headline, strip_axes, svg

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "out_of_fold.svg"
_RESULTS = ROOT / "results" / "benchmarks" / "out_of_fold_trade.json"
_PANELS = {
    "direct": "the record itself",
    "all": "any query: the record, near-duplicates, indirect",
}


class Setting(NamedTuple):
    """A measured setting.

    Attributes:
        models: K; 1 for the undefended model.
        width, noise: width of the cells, and radius of the neighbourhood.
        accuracy: test accuracy.
        kept: share of the training records that a model sees.
        strongest: by queries, the attack of the greatest AUC and that AUC; "all" is over all.
    """

    models: int
    width: float
    noise: float
    accuracy: float
    kept: float
    strongest: dict[str, tuple[str, float]]


def settings() -> list[Setting]:
    """The measured settings, the undefended model first, then by width, radius and K."""
    measured = [_setting(row) for row in json.loads(_RESULTS.read_text())["rows"]]
    return sorted(measured, key=lambda each: (each.models > 1, each.width, each.noise, each.models))


def _setting(row: dict[str, Any]) -> Setting:
    strongest = {
        queries: max(
            ((name, auc[0]) for name, auc in attacks.items()),
            key=lambda each: each[1],
        )
        for queries, attacks in row["attacks"].items()
    }
    strongest["all"] = max(strongest.values(), key=lambda each: each[1])
    return Setting(
        int(row.get("models", 1)),
        row.get("width", 0),
        row.get("noise", 0),
        row["accuracy"],
        row["kept"],
        strongest,
    )


def picture() -> str:
    """Accuracy against the AUC of the strongest attack, by a direct query and by any query."""
    return svg(_draw, (8.6, 4.6)).decode()


def _draw(figure: Any) -> None:
    measured = settings()
    counts = sorted({each.models for each in measured if each.models > 1})
    shapes = sorted({(each.width, each.noise) for each in measured if each.models > 1})
    colours = {count: PALETTE[1 + at][0] for at, count in enumerate(counts)}
    markers = dict(zip(shapes, "ospDv^X", strict=False))
    panels = figure.subplots(1, len(_PANELS), sharex=True, sharey=True)
    for axes, (queries, title) in zip(panels, _PANELS.items(), strict=True):
        axes.axhline(0.5, color="#999999", linewidth=1, zorder=0)
        for each in measured:
            colour, marker = "#444444", "*"
            if each.models > 1:
                colour, marker = colours[each.models], markers[each.width, each.noise]
            place = each.accuracy, each.strongest[queries][1]
            axes.plot(*place, marker, color=colour, markersize=8 if each.models > 1 else 13)
        axes.set_title(title, fontsize=10, color=FAINT)
        axes.set_xlabel("test accuracy")
        axes.grid(True, color="#EEEEEE", linewidth=0.8)
        axes.set_axisbelow(True)
        strip_axes(axes)
    panels[0].set_ylabel("AUC of the strongest attack (lower is better)")
    handle = panels[0].plot
    handle([], [], "*", color="#444444", markersize=12, label="undefended")
    for count, colour in colours.items():
        handle([], [], "o", color=colour, label=f"K = {count}")
    for (width, noise), marker in markers.items():
        name = "cells of one record" if not width else f"width {width:g}, radius {noise:g}"
        handle([], [], marker, color="#888888", label=name)
    draw_headline(figure, "forests on digits: accuracy against leakage of out-of-fold answers")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)


def table() -> str:
    """The settings as a Markdown table."""
    columns = ["direct", "near", "records", "points"]
    lines = [
        "| cells | K | accuracy | kept | " + " | ".join(columns) + " |",
        "| :-- | --: | --: | --: |" + " --: |" * len(columns),
    ]
    for each in settings():
        name = "one record" if not each.width else f"width {each.width:g}, radius {each.noise:g}"
        name = "none" if each.models == 1 else name
        aucs = [
            f"{auc:.3f} {attack}"
            for attack, auc in (each.strongest[queries] for queries in columns)
        ]
        count = "" if each.models == 1 else str(each.models)
        cells = [name, count, f"{each.accuracy:.3f}", f"{each.kept:.2f}", *aucs]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
