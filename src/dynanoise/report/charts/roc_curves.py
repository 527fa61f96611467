"""ROC curves of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.core.evidence import AttackSample, Evidence
from dynanoise.core.extras import require
from dynanoise.core.result import STRONGEST
from dynanoise.metrics.roc import RESOLVING_NON_MEMBERS
from dynanoise.report.charts.style import (
    FAINT,
    PALETTE,
    SMALL,
    WIDE,
    Look,
    finish_chart,
    method_looks,
    short,
    svg,
)
from dynanoise.report.document import Chart
from dynanoise.report.summary import attack_title
from dynanoise.report.table import make_table
from dynanoise.report.wording.outputs import method_title

_DASHES = {marker: ("-", "--", "-.")[place % 3] for place, (_, marker) in enumerate(PALETTE)}
"""Curves differ without their colour, too."""

_CAPTION = (
    "The higher a curve on the left, the more members are found with few false alarms. Dotted: "
    f"guessing. Grey: fewer than {RESOLVING_NON_MEMBERS} non-members decide, read no value there."
)


def methods_roc_chart(
    evidence: Evidence, protocol: str, methods: Sequence[str], about: str
) -> Chart:
    """Chart the log-log ROC of the attacker's choice on every method.

    Args:
        evidence: with samples of the protocol.
        protocol: its name.
        methods: names; those without samples are left out.
        about: the end of the title.
    """
    looks = method_looks(methods)
    samples = {
        sample.method: sample
        for sample in evidence.attacks
        if (sample.protocol, sample.attack) == (protocol, STRONGEST)
    }
    lines = {
        method_title(name): (samples[name], looks[name]) for name in methods if name in samples
    }
    return _chart(lines, f"ROC of the attacker's choice, {about}", WIDE)


def attacks_roc_chart(samples: Sequence[AttackSample], about: str) -> Chart:
    """Chart the log-log ROC of every attack on one method.

    Args:
        samples: one for each attack.
        about: the beginning of the title.
    """
    ordered = sorted(samples, key=lambda sample: sample.attack != STRONGEST)
    lines = {
        attack_title(sample.attack): (sample, PALETTE[index % len(PALETTE)])
        for index, sample in enumerate(ordered)
    }
    return _chart(lines, f"{about}: ROC by attack", SMALL)


def _chart(
    lines: Mapping[str, tuple[AttackSample, Look]], title: str, size: tuple[float, float]
) -> Chart:
    first = next(iter(lines.values()))[0]
    resolved = RESOLVING_NON_MEMBERS / first.non_members

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        _draw_curves(axes, lines)
        finish_chart(figure, axes)

    rates = [rate for rate in (0.001, 0.01, 0.1, 0.5) if rate >= resolved - 1e-12]
    return Chart(
        f"Log-log ROC curves of {', '.join(lines)}. Dotted: guessing. Grey: false positive rates "
        f"below {resolved:.2g}, which fewer than {RESOLVING_NON_MEMBERS} non-members resolve.",
        _CAPTION,
        lambda: svg(draw, size),
        make_table(
            title,
            ["curve", *(f"TPR at {rate:.1%} FPR" for rate in rates)],
            [
                [name, *(f"{_tpr_at(sample, rate):.3f}" for rate in rates)]
                for name, (sample, _) in lines.items()
            ],
        ),
    )


def plot_roc(evidence: Evidence, axes: Any = None) -> Any:
    """Draw log-log ROC curves of the attacker's choice at the largest query budget.

    Args:
        evidence: with samples.
        axes: matplotlib axes; None for new ones of a figure of their own.

    Returns:
        The axes.

    Raises:
        InputError: if no samples were kept.
        MissingExtraError: if matplotlib is not installed.
    """
    samples = {sample.method: sample for sample in evidence.attacks if sample.attack == STRONGEST}
    if not samples:
        raise InputError(
            "No scores were kept beside these results.", "Plot the report of an audit."
        )
    if axes is None:
        axes = require("matplotlib.pyplot", "Drawing charts").subplots(layout="constrained")[1]
    looks = method_looks(list(samples))
    lines = {method_title(name): (sample, looks[name]) for name, sample in samples.items()}
    _draw_curves(axes, lines)
    axes.legend(frameon=False)
    return axes


def _draw_curves(axes: Any, lines: Mapping[str, tuple[AttackSample, Look]]) -> None:
    """Draw curves, the line of guessing, and the part that too few non-members resolve."""
    first = next(iter(lines.values()))[0]
    lowest = 1 / max(sample.non_members for sample, _ in lines.values())
    resolved = RESOLVING_NON_MEMBERS / first.non_members
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.axvspan(lowest / 2, resolved, color="#EEEEEE", linewidth=0)
    guessing = np.geomspace(lowest, 1, 50)
    axes.plot(guessing, guessing, color=FAINT, linewidth=1, linestyle=":")
    for name, (sample, (colour, marker)) in lines.items():
        above = sample.tpr > 0
        axes.plot(
            sample.fpr[above],
            sample.tpr[above],
            color=colour,
            linewidth=1.6,
            linestyle=_DASHES[marker],
            label=short(name, 26),  # attacks may have parameters
        )
    axes.set_xlim(lowest, 1)
    axes.set_ylim(max(lowest, 1e-4), 1.1)
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.minorticks_off()


def _tpr_at(sample: AttackSample, rate: float) -> float:
    below = sample.tpr[sample.fpr <= rate + 1e-12]
    return float(below.max()) if len(below) else 0.0
