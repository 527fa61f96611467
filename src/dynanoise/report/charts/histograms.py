"""Histograms of the report: scores, reliability, and success by record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dynanoise.attacks.base import title_of
from dynanoise.core.evidence import AttackSample, Reliability, Risk
from dynanoise.report.charts.style import (
    FAINT,
    INK,
    SMALL,
    WIDE,
    finish_chart,
    short,
    strip_axes,
    svg,
)
from dynanoise.report.document import Chart
from dynanoise.report.table import make_table
from dynanoise.report.wording.outputs import method_title

_MEMBERS, _NON_MEMBERS, _BARS = "#D55E00", "#0072B2", "#56B4E9"


def score_chart(panels: Mapping[str, AttackSample], about: str) -> Chart:
    """Chart histograms of one attack's scores of members and of non-members, on one scale.

    Args:
        panels: by title, with the same edges; undefended first.
        about: the beginning of the chart's title.
    """
    first = next(iter(panels.values()))
    attack = title_of(first.attack)

    def draw(figure: Any) -> None:
        rows = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, (name, sample) in zip(rows, panels.items(), strict=True):
            for side, counts, colour, style in (
                ("members", sample.members, _MEMBERS, "-"),
                ("non-members", sample.others, _NON_MEMBERS, "--"),
            ):
                share = counts / max(1, counts.sum())
                axes.stairs(share, sample.edges, color=colour, fill=True, alpha=0.18)
                line = {"color": colour, "linewidth": 1.3, "linestyle": style}
                axes.stairs(share, sample.edges, label=side, **line)
            axes.set_title(short(name, 40), fontsize=9, loc="left", color=INK)
            axes.set_ylabel("share")
        rows[-1].set_xlabel(f"score of {short(attack, 24)}")
        finish_chart(figure, *rows)

    overlaps = [f"{name} {overlap(sample):.0%}" for name, sample in panels.items()]
    sides = [f"{name}: {side}" for name in panels for side in ("members", "non-members")]
    columns = [counts for sample in panels.values() for counts in (sample.members, sample.others)]
    return Chart(
        "Histograms of scores of members and non-members; overlap of the two: "
        f"{', '.join(overlaps)}.",
        "Where the two shapes differ, scores tell members from others; the same shape is safe.",
        lambda: svg(draw, (SMALL[0], 1.2 + 1.25 * len(panels))),
        make_table(
            f"{about}: scores of {attack}",
            ["score from", "to", *sides],
            [
                [f"{low:.3g}", f"{high:.3g}", *(str(counts[b]) for counts in columns)]
                for b, (low, high) in enumerate(zip(first.edges[:-1], first.edges[1:], strict=True))
            ],
        ),
    )


def overlap(sample: AttackSample) -> float:
    """The area that the two histograms share, 0 to 1."""
    sides = [counts / max(1, counts.sum()) for counts in (sample.members, sample.others)]
    return float(np.minimum(*sides).sum())


def reliability_chart(reliability: Reliability) -> Chart:
    """Chart accuracy against confidence; on the diagonal the two agree."""
    filled = reliability.count > 0
    count = reliability.count[filled]
    confidence = reliability.confidence[filled] / count
    accuracy = reliability.right[filled] / count
    bins = np.flatnonzero(filled)
    total = len(reliability.count)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
        axes.bar((bins + 0.5) / total, accuracy, 0.9 / total, color=_BARS, label="accuracy in bin")
        axes.plot(confidence, accuracy, "o", color=INK, markersize=3.5, label="at mean confidence")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        finish_chart(figure, axes)

    outputs = reliability.count.sum()
    error = float(np.abs(reliability.right - reliability.confidence).sum() / max(1, outputs))
    return Chart(
        f"Accuracy by confidence in {total} bins over {outputs:,} outputs; "
        f"calibration error {error:.3f}. On the dotted diagonal confidence is accuracy.",
        "On the dotted line the model is as often right as it says; below it is overconfident.",
        lambda: svg(draw, SMALL),
        make_table(
            f"{method_title(reliability.method)}: reliability",
            ["confidence from", "to", "outputs", "mean confidence", "accuracy"],
            [
                [f"{b / total:.2f}", f"{(b + 1) / total:.2f}", str(n), f"{c:.3f}", f"{a:.3f}"]
                for b, n, c, a in zip(bins, count, confidence, accuracy, strict=True)
            ],
        ),
    )


def risk_chart(risks: Sequence[Risk], about: str) -> Chart:
    """Chart records by the attack's success on them, beside that of equally exposed records.

    Args:
        risks: one for each method.
        about: the end of the title.
    """

    def draw(figure: Any) -> None:
        panels = figure.subplots(len(risks), 1, sharex=True, squeeze=False)[:, 0]
        for axes, risk in zip(panels, risks, strict=True):
            edges = np.linspace(0, 1, len(risk.counts) + 1)
            axes.stairs(risk.counts, edges, fill=True, color=_BARS, label="records")
            axes.stairs(risk.expected, edges, color=INK, linestyle="--", label="if all were alike")
            title = short(method_title(risk.method))
            axes.set_title(title, fontsize=10, loc="left", color=INK)
            axes.set_ylabel("records")
            strip_axes(axes)
        panels[-1].set_xlabel("success: how often the attack is right (0.5: guessing)")
        finish_chart(figure, *panels)

    bins, names = len(risks[0].counts), [method_title(risk.method) for risk in risks]
    return Chart(
        "Histograms of records by how often the attacker's choice is right about them over the "
        f"models, for {', '.join(names)}; dashed: the histogram if it were as good at every "
        "record.",
        "Bars far on the right of the dashed line: records that are found nearly always.",
        lambda: svg(draw, (WIDE[0], 1.1 + 1.5 * len(risks))),
        make_table(
            f"Success by record, {about}",
            [
                "success from",
                "to",
                *(f"{name}{end}" for name in names for end in ("", ", alike")),
            ],
            [
                [
                    f"{b / bins:.2f}",
                    f"{(b + 1) / bins:.2f}",
                    *(
                        text
                        for risk in risks
                        for text in (str(risk.counts[b]), f"{risk.expected[b]:.1f}")
                    ),
                ]
                for b in range(bins)
            ],
        ),
    )
