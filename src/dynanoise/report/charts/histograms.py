"""Histograms of the HTML report: scores, reliability, and success by record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dynanoise.attacks.title import title_of
from dynanoise.core.evidence import AttackSample, Reliability, Risk
from dynanoise.report.charts.charts import FAINT, INK, SMALL, WIDE, Chart, finish, short
from dynanoise.report.charts.plots import bare, svg

MEMBERS, OTHERS = "#D55E00", "#0072B2"


def scores(panels: Mapping[str, AttackSample], said: str) -> Chart:
    """Histograms of one attack's scores of members and of non-members, on one scale.

    Args:
        panels: by what they are of, with the same edges; undefended first.
        said: for the title.
    """
    first = next(iter(panels.values()))
    title = title_of(first.attack)

    def draw(figure: Any) -> None:
        rows = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, (name, one) in zip(rows, panels.items(), strict=True):
            for side, counts, colour, style in (
                ("members", one.members, MEMBERS, "-"),
                ("non-members", one.others, OTHERS, "--"),
            ):
                share = counts / max(1, counts.sum())
                axes.stairs(share, one.edges, color=colour, fill=True, alpha=0.18)
                axes.stairs(
                    share, one.edges, color=colour, linewidth=1.3, linestyle=style, label=side
                )
            axes.set_title(short(name, 40), fontsize=9, loc="left", color=INK)
            axes.set_ylabel("share")
        rows[-1].set_xlabel(f"score of {short(title, 24)}")
        finish(figure, *rows)

    apart = [f"{name} {overlap(one):.0%}" for name, one in panels.items()]
    return Chart(
        f"{said}: scores of {title}",
        f"Histograms of scores of members and non-members; overlap of the two: {', '.join(apart)}.",
        svg(draw, (SMALL[0], 1.2 + 1.25 * len(panels))),
        ("score from", "to", *(f"{n}: {side}" for n in panels for side in ("members", "others"))),
        tuple(
            (
                f"{first.edges[b]:.3g}",
                f"{first.edges[b + 1]:.3g}",
                *(str(n[b]) for one in panels.values() for n in (one.members, one.others)),
            )
            for b in range(len(first.members))
        ),
    )


def overlap(sample: AttackSample) -> float:
    """The area that the two histograms share, 0 to 1."""
    sides = [counts / max(1, counts.sum()) for counts in (sample.members, sample.others)]
    return float(np.minimum(*sides).sum())


def reliability(found: Reliability) -> Chart:
    """Accuracy against confidence; on the diagonal an answer means what it says."""
    seen = found.count > 0
    count = found.count[seen]
    confidence, accuracy = found.confidence[seen] / count, found.right[seen] / count
    bins = np.flatnonzero(seen)
    total = len(found.count)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
        axes.bar(
            (bins + 0.5) / total, accuracy, 0.9 / total, color="#56B4E9", label="accuracy in bin"
        )
        axes.plot(confidence, accuracy, "o", color=INK, markersize=3.5, label="at mean confidence")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        finish(figure, axes)

    error = float(np.abs(found.right - found.confidence).sum() / max(1, found.count.sum()))
    return Chart(
        f"{found.method}: reliability",
        f"Accuracy by confidence in {total} bins over {found.count.sum():,} answers; "
        f"calibration error {error:.3f}. On the dotted diagonal confidence is accuracy.",
        svg(draw, SMALL),
        ("confidence from", "to", "answers", "mean confidence", "accuracy"),
        tuple(
            (f"{b / total:.2f}", f"{(b + 1) / total:.2f}", str(n), f"{c:.3f}", f"{a:.3f}")
            for b, n, c, a in zip(bins, count, confidence, accuracy, strict=True)
        ),
    )


def risks(found: Sequence[Risk], said: str) -> Chart:
    """Records by how often the attack is right about them, and what equal records would show."""
    shown = list(found)

    def draw(figure: Any) -> None:
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axes, one in zip(panels, shown, strict=True):
            edges = np.linspace(0, 1, len(one.counts) + 1)
            axes.stairs(one.counts, edges, fill=True, color="#56B4E9", label="records")
            axes.stairs(one.expected, edges, color=INK, linestyle="--", label="if all were alike")
            axes.set_title(short(one.method), fontsize=10, loc="left", color=INK)
            axes.set_ylabel("records")
            bare(axes)
        panels[-1].set_xlabel("success: how often the attack is right (0.5: guessing)")
        finish(figure, *panels)

    return Chart(
        f"Success by record, {said}",
        "Histograms of records by how often the strongest attack is right about them over the "
        f"models, for {', '.join(one.method for one in shown)}; dashed: what would be seen if "
        "it were as good at every record.",
        svg(draw, (WIDE[0], 1.1 + 1.5 * len(shown))),
        ("success from", "to", *(f"{one.method}{s}" for one in shown for s in ("", ", alike"))),
        tuple(_risk_rows(shown)),
    )


def _risk_rows(shown: Sequence[Risk]) -> list[tuple[str, ...]]:
    bins = len(shown[0].counts)
    return [
        (
            f"{b / bins:.2f}",
            f"{(b + 1) / bins:.2f}",
            *(text for one in shown for text in (str(one.counts[b]), f"{one.expected[b]:.1f}")),
        )
        for b in range(bins)
    ]
