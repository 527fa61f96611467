"""ROC curves of the HTML report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dynanoise.attacks.title import title_of
from dynanoise.core.evidence import AttackSample, Evidence
from dynanoise.core.result import STRONGEST
from dynanoise.metrics.roc import RESOLVING_NON_MEMBERS
from dynanoise.report.charts.charts import FAINT, SMALL, WIDE, Chart, finish, looks_of, short
from dynanoise.report.charts.plots import LOOKS, svg

NOTE = (
    "In ROC curves the dotted line is guessing; at the false positive rates in grey, fewer than "
    f"{RESOLVING_NON_MEMBERS} non-members decide, and nothing should be read off."
)


def roc_of_all(evidence: Evidence, protocol: str, methods: Sequence[str], said: str) -> Chart:
    """Log-log ROC of the strongest attack on every method."""
    looks = looks_of(methods)
    found = {
        one.method: one
        for one in evidence.attacks
        if (one.protocol, one.attack) == (protocol, STRONGEST)
    }
    lines = {name: (found[name], looks[name][0]) for name in methods if name in found}
    return _roc(lines, f"ROC of the strongest attack, {said}", WIDE)


def roc_of_one(samples: Sequence[AttackSample], said: str) -> Chart:
    """Log-log ROC of every attack on one method."""
    colours = [look[0] for look in (LOOKS[0], LOOKS[6], LOOKS[5], *LOOKS[1:5], *LOOKS[7:])]
    ordered = sorted(samples, key=lambda one: one.attack != STRONGEST)
    lines = {
        title_of(one.attack): (one, colours[index % len(colours)])
        for index, one in enumerate(ordered)
    }
    return _roc(lines, f"{said}: ROC by attack", SMALL)


def _roc(lines: Mapping[str, tuple[AttackSample, str]], title: str, size: Any) -> Chart:
    first = next(iter(lines.values()))[0]
    lowest = 1 / max(one.non_members for one, _ in lines.values())
    resolved = RESOLVING_NON_MEMBERS / first.non_members

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.axvspan(lowest / 2, resolved, color="#EEEEEE", linewidth=0)
        guessing = np.geomspace(lowest, 1, 50)
        axes.plot(guessing, guessing, color=FAINT, linewidth=1, linestyle=":")
        for index, (name, (one, colour)) in enumerate(lines.items()):
            seen = one.tpr > 0
            axes.plot(
                one.fpr[seen],
                one.tpr[seen],
                color=colour,
                linewidth=1.6,
                linestyle=("-", "--", "-.")[index % 3],
                label=short(name, 26),  # attacks may have parameters
            )
        axes.set_xlim(lowest, 1)
        axes.set_ylim(max(lowest, 1e-4), 1.1)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.minorticks_off()
        finish(figure, axes)

    rates = [rate for rate in (0.001, 0.01, 0.1, 0.5) if rate >= resolved - 1e-12]
    return Chart(
        title,
        f"Log-log ROC curves of {', '.join(lines)}. Dotted: guessing. Grey: false positive rates "
        f"below {resolved:.2g}, which fewer than {RESOLVING_NON_MEMBERS} non-members resolve.",
        svg(draw, size),
        ("curve", *(f"TPR at {rate:.1%} FPR" for rate in rates)),
        tuple(
            (name, *(f"{_tpr_at(one, rate):.3f}" for rate in rates))
            for name, (one, _) in lines.items()
        ),
    )


def _tpr_at(one: AttackSample, rate: float) -> float:
    below = one.tpr[one.fpr <= rate + 1e-12]
    return float(below.max()) if len(below) else 0.0
