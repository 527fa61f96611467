"""Pictures of Records, by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from dynanoise.errors import MissingExtraError
from dynanoise.report.summary import Summary
from dynanoise.report.table import attack_title

# Okabe & Ito's palette, distinguishable with every common colour vision; shapes differ as well.
_LOOKS = (
    ("#444444", "o"),
    ("#E69F00", "s"),
    ("#56B4E9", "D"),
    ("#009E73", "^"),
    ("#CC79A7", "v"),
    ("#D55E00", "P"),
    ("#0072B2", "X"),
)


def success_plot(summary: Summary) -> bytes:
    """Attack success of each contender under each attack, with 95% intervals over seeds, as SVG.

    Returns:
        An SVG file, the same bytes for the same Records and matplotlib version.

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
    style = {"svg.hashsalt": "dynanoise", "svg.fonttype": "path", "font.size": 10}
    with rc_context(style):
        rows = len(summary.attacks)
        figure = Figure(figsize=(7.2, 1.5 + 0.62 * rows), layout="constrained")
        axes = figure.add_subplot()
        _points(axes, summary)
        axes.axvline(0.5, color="#999999", linewidth=1, zorder=0)
        axes.text(0.5, rows - 0.42, " chance", color="#666666", fontsize=9, va="center")
        axes.set_yticks(range(rows), [attack_title(name) for name in summary.attacks])
        axes.set_ylim(rows - 0.3, -0.6)
        axes.set_xlabel("attack success (balanced accuracy), mean and 95% interval over seeds")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
        record = summary.records[0]
        figure.suptitle(
            f"{record.preset}, {record.protocol} protocol: {_threat_line(summary)}",
            fontsize=10,
            x=0.02,
            ha="left",
        )
        figure.legend(loc="outside lower center", ncols=len(summary.contenders), frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()


def _threat_line(summary: Summary) -> str:
    threat = summary.records[0].threat
    knows = "knows" if threat.knows_defense else "does not know of"
    return f"the attacker {knows} the defense"


def _points(axes: Any, summary: Summary) -> None:
    offsets = _offsets(len(summary.contenders))
    for index, contender in enumerate(summary.contenders):
        colour, marker = _LOOKS[index % len(_LOOKS)]
        found = [
            summary.spread(contender, name, "asr").interval for name in summary.attacks
        ]
        for row, metric in enumerate(found):
            if metric.low is not None and metric.high is not None:
                y = row + offsets[index]
                axes.plot([metric.low, metric.high], [y, y], color=colour, linewidth=1.4)
        axes.plot(
            [metric.value for metric in found],
            [row + offsets[index] for row in range(len(found))],
            linestyle="none",
            marker=marker,
            color=colour,
            markersize=6,
            label=contender,
        )


def _offsets(count: int) -> Sequence[float]:
    """Heights within a row, centred on 0.

    >>> _offsets(3)
    [-0.14, 0.0, 0.14]
    """
    return [round(0.14 * (index - (count - 1) / 2), 6) for index in range(count)]
