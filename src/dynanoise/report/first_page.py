"""The first page of a report: level of the leak, best defense and its price, next steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dynanoise.core.evidence import Origin
from dynanoise.core.result import STRONGEST, Metric, Result
from dynanoise.report.document import Block, Bullets, Finding, Heading, Section, Text
from dynanoise.report.numbers import with_interval
from dynanoise.report.summary import Summary
from dynanoise.report.table import Cell, Column, Row, Table, make_table, number_cell
from dynanoise.report.wording import threats
from dynanoise.report.wording.level import LEVELS_NOTE, Level, level
from dynanoise.report.wording.outputs import method_title


def facts(results: Sequence[Result], origin: Origin) -> tuple[tuple[str, str], ...]:
    """Name what was audited, when and by whom, as pairs of a name and a value.

    Args:
        results: those of one run.
        origin: date, auditor and file; those that are empty are left out.
    """
    first = results[0]
    counts = first.counts
    values = {
        "Audited by": origin.auditor,
        "Date": origin.date,
        "File" if origin.file else "Data": origin.file or first.dataset,
        "SHA-256": origin.sha256,
        "Models": _count(counts.get("models")),
        "Records": _count(counts.get("pool")),
        "Scored": " and ".join(
            f"{counts[key]:,} {title}"
            for key, title in (
                ("scored_members", "members"),
                ("scored_non_members", "non-members"),
            )
            if key in counts
        ),
        "DynaNoise": first.versions.get("dynanoise", ""),
    }
    return tuple((name, value) for name, value in values.items() if value)


def first_page(
    summary: Summary,
    *,
    best: tuple[str, str],
    warnings: Sequence[str],
    attacker: str,
    scope: str,
) -> Section:
    """Write the page for a reader who decides.

    Args:
        summary: results of the attacker with the largest query budget.
        best: name of the best defense (empty if none was measured), and a sentence on its price.
        warnings: sentences that make every number doubtful.
        attacker: description of the attacker, in sentences.
        scope: attackers that were not tested.
    """
    baseline, (defense, price) = summary.methods[0], best
    leaks = {name: Leak(summary, name) for name in (baseline, defense) if name}
    blocks: list[Block] = [Text(warning, "warning") for warning in warnings]
    blocks += [leaks[baseline].finding(), _table(summary, leaks), Text(price, "note")]
    blocks += [Heading("What to do next"), _steps(summary, leaks)]
    blocks += [Text(f"{attacker} {scope}", "faint", led=True)]
    blocks += [Text(LEVELS_NOTE, "faint", led=True)]
    return Section("verdict", "Verdict", tuple(blocks), brief=True)


class Leak:
    """Success of the deciding attack against one method, with its level.

    Args:
        summary: results of one attacker.
        method: its name.
    """

    def __init__(self, summary: Summary, method: str) -> None:
        names = [name for name in summary.attacks if summary.has(method, name, "auc")]
        attack = STRONGEST
        if STRONGEST not in names:
            attack = max(names, key=lambda name: summary.spread(method, name, "auc").mean)
        self.auc = summary.spread(method, attack, "auc").interval
        self.tpr = summary.metric(method, attack, "tpr@0.01")
        self.level, self.low, self.high = level(self.auc, self.tpr)

    @property
    def found(self) -> Cell:
        """Members among 100 that are picked out at one false alarm in 100."""
        if self.tpr is None:
            return Cell("not resolved")
        bounds = (None if b is None else 100 * b for b in (self.tpr.low, self.tpr.high))
        return number_cell(Metric(100 * self.tpr.value, *bounds), _whole)

    def finding(self) -> Finding:
        """The level, and success as a number of people."""
        if self.tpr is None:
            text = (
                f"The attacker's AUC is {with_interval(self.auc)}; 0.5 is guessing. The records "
                "are too few to tell how many members are picked out at one false alarm in 100."
            )
        else:
            text = (
                f"Of 100 members an attacker picks out {' '.join(self.found.lines)} at one false "
                "alarm in 100; guessing picks out 1."
            )
        if self.low != self.high:
            text += f" Over the 95% intervals the level reaches from {self.low} to {self.high}."
        return Finding(self.level, text, None if self.tpr is None else round(100 * self.tpr.value))


def audit_price(summary: Summary) -> tuple[str, str]:
    """Name the defense of an audit, and say what it achieves at which price.

    Args:
        summary: results of the largest query budget.

    Returns:
        Its name, empty if none was measured; and a sentence.
    """
    baseline, *others = summary.methods
    if not others:
        return "", "No defense was measured."
    defense = min(others, key=lambda name: Leak(summary, name).auc.value)
    before, after = Leak(summary, baseline), Leak(summary, defense)
    parts = []
    for metric, title in (("accuracy", "test accuracy"), ("ece", "calibration error")):
        pair = [summary.metric(name, None, metric) for name in (defense, baseline)]
        if pair[0] is not None and pair[1] is not None:
            parts.append(f"{title} {with_interval(pair[0])} instead of {with_interval(pair[1])}")
    flips = summary.metric(defense, None, "label_flips")
    parts += [] if flips is None else [f"{100 * flips.value:.1f}% of labels changed"]
    price = "; ".join(parts) or "not measured, for there are no test data"
    return defense, (
        f"Best defense measured: {defense}, AUC {with_interval(after.auc)} instead of "
        f"{with_interval(before.auc)}, {threats.budget(summary.threat)}. Price: {price}."
    )


def _table(summary: Summary, leaks: Mapping[str, Leak]) -> Table:
    measured = {name: summary.metric(name, None, "accuracy") for name in leaks}
    rows: list[Row] = []
    for name, leak in leaks.items():
        accuracy = [number_cell(measured[name])] if any(measured.values()) else []
        title, area = method_title(name), number_cell(leak.auc)
        rows.append([title, Cell(leak.level, emphasis="strong"), leak.found, area, *accuracy])
    headings: list[str | Column] = [
        "Outputs",
        Column("Level", "left"),
        "Members picked out of 100",
        "AUC",
    ]
    headings += ["Test accuracy"] if any(measured.values()) else []
    caption = f"At one false alarm in 100, {threats.budget(summary.threat)}, 95% intervals"
    return make_table(caption, headings, rows)


def _steps(summary: Summary, leaks: Mapping[str, Leak]) -> Bullets:
    """Steps of docs/what_to_do.md that the level and the measurements call for."""
    baseline, *defended = leaks
    undefended = leaks[baseline].level
    steps = []
    if _leaks(undefended):
        rates = [summary.metric(baseline, None, name) for name in ("train_accuracy", "accuracy")]
        if rates[0] is not None and rates[1] is not None:
            members, others = rates[0].value, rates[1].value
            gap = f"accuracy is {members:.3f} on members and {others:.3f} on test data"
            if members - others > _GAP:
                steps.append(f"Regularise: {gap}. Larger leaves, fewer epochs, weight decay.")
            else:
                steps.append(f"The gap is small: {gap}; regularising will change little.")
        else:
            steps.append("Regularise: larger leaves, fewer epochs, weight decay, fewer features.")
    for name in defended:
        remains = leaks[name].level
        if _leaks(undefended) and not _leaks(remains):
            steps.append(f"Deploy {name}, if its price is acceptable: `dynanoise serve`.")
        elif _leaks(undefended):
            steps.append(
                f"Do not rely on {name} alone: behind it the level is {remains}. Answer out of "
                "fold, or train with differential privacy."
            )
    if _leaks(undefended) and not defended:
        steps.append(
            "Measure a defense on the same outputs: `dynanoise audit OUTPUTS --defense "
            "calibrated_label`."
        )
    if summary.results[0].counts.get("models") == 1:
        steps.append("Audit several models: an attacker with shadow models may find more.")
    steps.append("Audit again after every change of model, data or defense.")
    if _leaks(undefended):
        steps.append("All remedies, with their measured prices: docs/what_to_do.md.")
    return Bullets(tuple((step, "") for step in steps))


_GAP = 0.02
"""Difference of accuracy on members and on other records from which regularising comes first."""


def _leaks(rated: Level) -> bool:
    return rated in {"moderate", "high"}


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _whole(value: float) -> str:
    return f"{value:.0f}"
