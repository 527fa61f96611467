"""Charts of attack success: of one protocol, by protocol, and by query budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dynanoise.report.charts.style import (
    FAINT,
    PALETTE,
    WIDE,
    draw_headline,
    draw_legend,
    draw_points,
    finish_chart,
    method_looks,
    offsets_within,
    short,
    strip_axes,
    svg,
    threat_line,
)
from dynanoise.report.document import Chart
from dynanoise.report.summary import Summary, attack_title
from dynanoise.report.table import Column, Row, make_table, number_cell
from dynanoise.report.wording.outputs import method_title
from dynanoise.report.wording.threats import attacker_title, budget


def success_plot(summary: Summary) -> bytes:
    """Draw attack success by attack, and test accuracy beside it, with 95% intervals.

    Returns:
        An SVG file, see `style.svg`.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    row = max(0.6, 0.13 * len(summary.methods))
    size = (9.0, 1.6 + row * len(summary.attacks))
    return svg(lambda figure: _draw_success(figure, summary), size)


def _draw_success(figure: Any, summary: Summary) -> None:
    spans = _spans(summary)
    gain, cost = figure.subplots(1, 2, width_ratios=[high - low for low, high in spans])
    looks = method_looks(summary.methods)
    rows = len(summary.attacks)
    gain.axvline(0.5, color="#999999", linewidth=1, zorder=0)
    gain.text(0.5, -0.62, "chance ", color="#666666", fontsize=9, va="bottom", ha="right")
    offsets = offsets_within(len(summary.methods), 0.19)
    for index, method in enumerate(summary.methods):
        success = [summary.spread(method, name, "asr").interval for name in summary.attacks]
        heights = [row + offsets[index] for row in range(rows)]
        draw_points(gain, success, heights, looks[method], short(method, 40))
        accuracy = summary.spread(method, None, "accuracy").interval
        draw_points(cost, [accuracy], [float(index)], looks[method], short(method, 40))
    gain.set_yticks(range(rows), [short(attack_title(name), 40) for name in summary.attacks])
    gain.set_ylim(rows - 0.4, -0.6)
    gain.set_xlabel("attack success (balanced accuracy)")
    gain.set_xlim(spans[0])
    cost.set_yticks(range(len(summary.methods)), [short(name, 40) for name in summary.methods])
    cost.set_ylim(len(summary.methods) - 0.4, -0.6)
    cost.set_xlabel("test accuracy")
    cost.set_xlim(spans[1])
    strip_axes(gain)
    strip_axes(cost)
    result = summary.results[0]
    count = len(summary.seeds)
    draw_headline(
        figure,
        f"{result.preset}, {result.protocol} protocol: {threat_line(summary)}; "
        f"{f'mean and 95% interval over {count} seeds' if count > 1 else 'one seed'}",
    )
    draw_legend(figure, gain)


def _spans(summary: Summary) -> tuple[tuple[float, float], tuple[float, float]]:
    """The axes of attack success and of accuracy: as long as each needs, on one scale.

    MIDPUT subtracts one from the other, so a point must be as long on either axis.
    """
    success = [summary.spread(c, a, "asr") for c in summary.methods for a in summary.attacks]
    accuracy = [summary.spread(c, None, "accuracy") for c in summary.methods]
    needs = []
    for spreads in (success, accuracy):
        metrics = [spread.interval for spread in spreads]
        low = min(metric.value if metric.low is None else metric.low for metric in metrics)
        high = max(metric.value if metric.high is None else metric.high for metric in metrics)
        needs.append((low, high))
    gain = (min(needs[0][0], 0.5), max(needs[0][1], 0.5))
    length = max(gain[1] - gain[0], 0.02)
    # Room for the axis label, so that the narrower panel can be read.
    shortest = 0.35 * max(length, needs[1][1] - needs[1][0])
    return _padded(gain, shortest, 0.06 * length), _padded(needs[1], shortest, 0.06 * length)


def _padded(span: tuple[float, float], shortest: float, margin: float) -> tuple[float, float]:
    """The span with a margin on both sides, and at least so long.

    >>> _padded((0.0, 1.0), 4.0, 0.5)
    (-2.0, 3.0)
    """
    extra = max(0.0, shortest - (span[1] - span[0])) / 2 + margin
    return span[0] - extra, span[1] + extra


def protocol_chart(summaries: Mapping[str, Summary], methods: Sequence[str]) -> Chart:
    """Chart the deciding attack's success on every method, by protocol."""
    attackers = {name: attacker_title(summary.threat) for name, summary in summaries.items()}
    rows = [
        (method, protocol, *summary.success(method))
        for method in methods
        for protocol, summary in summaries.items()
        if method in summary.methods
    ]
    names = list(attackers)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.axvline(0.5, color=FAINT, linewidth=1)
        offsets = offsets_within(len(names), 0.2)
        for index, protocol in enumerate(names):
            points = [(methods.index(row[0]), row[3]) for row in rows if row[1] == protocol]
            heights = [height + offsets[index] for height, _ in points]
            look = PALETTE[index % len(PALETTE)]
            values = [metric for _, metric in points]
            draw_points(axes, values, heights, look, attackers[protocol], 5)
        axes.set_yticks(range(len(methods)), [short(method_title(name)) for name in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel("balanced accuracy (0.5: guessing)")
        strip_axes(axes)
        finish_chart(figure, axes)

    return Chart(
        "Dots with 95% intervals: balanced accuracy of the attacker's choice (or the best attack) "
        f"on {len(methods)} methods, by an attacker who {'; who '.join(attackers.values())}; lower "
        "is better, 0.5 is guessing.",
        "Farther left is safer: at 0.5 the attacker guesses. Lines are 95% intervals.",
        lambda: svg(draw, (WIDE[0], 1.3 + 0.42 * len(methods) + 0.2 * len(names))),
        make_table(
            "Attack success by method",
            [
                "method",
                Column("attacker", "left"),
                Column("attack", "left"),
                "balanced accuracy",
            ],
            [
                [method_title(method), attackers[protocol], attack, number_cell(metric)]
                for method, protocol, attack, metric in rows
            ],
        ),
    )


def with_budgets(summaries: Mapping[str, Summary], chosen: bool) -> list[Summary]:
    """Select the protocols whose attackers differ in their query budget alone, in its order.

    Args:
        summaries: by protocol.
        chosen: True for attackers who choose inputs, False for those who repeat queries; one query
            is common to both.
    """
    return sorted(
        (
            summary
            for summary in summaries.values()
            if not summary.threat.augmented
            and (summary.threat.chosen == chosen or summary.threat.repeats == 1)
        ),
        key=lambda summary: summary.threat.repeats,
    )


def budget_chart(
    summaries: Mapping[str, Summary], methods: Sequence[str], *, chosen: bool = False
) -> Chart:
    """Chart attack strength against queries a record, a line for each method.

    Args:
        summaries: by protocol.
        methods: names in the order of the lines.
        chosen: True for attackers who choose inputs, False for repeated queries.
    """
    selected = with_budgets(summaries, chosen)
    inputs = "of chosen inputs" if chosen else "averaged"
    budgets = [summary.threat.repeats for summary in selected]
    lines = {
        method: [
            (summary.threat.repeats, summary.success(method)[1])
            for summary in selected
            if method in summary.methods
        ]
        for method in methods
    }
    lines = {method: line for method, line in lines.items() if line}
    looks = method_looks(methods)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.set_xscale("log", base=2)
        axes.axhline(0.5, color=FAINT, linewidth=1)
        for index, (method, line) in enumerate(lines.items()):
            colour, marker = looks[method]
            # Intervals side by side, not on top of each other.
            aside = 2 ** (0.07 * (index - (len(lines) - 1) / 2))
            queries = [repeats * aside for repeats, _ in line]
            values = [metric.value for _, metric in line]
            style = {"marker": marker, "color": colour, "linewidth": 1.4}
            axes.plot(queries, values, label=short(method_title(method)), **style)
            for x, (_, metric) in zip(queries, line, strict=True):
                if metric.low is not None and metric.high is not None:
                    axes.plot([x, x], [metric.low, metric.high], color=colour, linewidth=1)
        axes.set_xticks(budgets, [str(repeats) for repeats in budgets])
        axes.set_xlim(min(budgets) / 1.6, max(budgets) * 1.6)
        axes.minorticks_off()
        axes.set_xlabel(f"queries a record, {inputs}")
        axes.set_ylabel("balanced accuracy")
        finish_chart(figure, axes)

    rows: list[Row] = []
    for method, line in lines.items():
        by_budget = dict(line)
        name = method_title(method)
        rows.append([name, *(number_cell(by_budget.get(repeats)) for repeats in budgets)])
    return Chart(
        "Lines with 95% intervals: balanced accuracy of the attacker's choice at "
        f"{', '.join(map(str, budgets))} queries a record, {inputs}, for {', '.join(lines)}.",
        "A line that rises: more queries tell the attacker more. At 0.5 the attacker guesses.",
        lambda: svg(draw, WIDE),
        make_table(
            f"Attack strength against {'chosen' if chosen else 'repeated'} queries",
            ["method", *(budget(summary.threat) for summary in selected)],
            rows,
        ),
    )
