"""The paper's table of one protocol: accuracy, each attack and MIDPUT, and its findings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dynanoise.core.result import Result
from dynanoise.report.io.published import Published, published
from dynanoise.report.numbers import Write, change, interval, rate, with_interval
from dynanoise.report.summary import Spread, Summary, attack_title
from dynanoise.report.table import MISSING, Cell, Column, Row, Table, make_table
from dynanoise.report.wording import threats

MIDPUT_NOTE = (
    "MIDPUT is the mean fall in attack success minus the fall in accuracy: above 0 a defense "
    "gains more than it costs. Leak counts distance from 0.5 on either side; worst compares the "
    "attacker's choice before and after, or the best attack where there is no choice."
)

BRACKETS = "In brackets the published value."
"""Below a table with published values."""

_TRADE_OFF = {
    "midput": "MIDPUT",
    "midput_leakage": "MIDPUT leak",
    "midput_worst_case": "MIDPUT worst",
}

_SHORT = {"Confidence": "Conf.", "Entropy": "Entr.", "Mod. entropy": "Mod. entr."}
"""Headings for a terminal of 80 columns."""

_SEEDS_FOR_INTERVALS = 3
"""Student's interval over two seeds is wider than the scale."""

_NAMES = {
    "temperature": "temperature alone",
    "static": "static noise",
    "dynanoise": "DynaNoise",
}

_OURS = ("Temperature", "Static", "DynaNoise", "CalibratedLabel")
"""Classes of DynaNoise, its parts and its alternatives here, which are not its peers."""


def paper_table(summary: Summary, beside: Published | None = None) -> Table:
    """Tabulate accuracy, each attack's success and MIDPUT of every method.

    Args:
        summary: results of one protocol.
        beside: published values to stand in brackets below ours; None for none.

    Returns:
        A table of means over seeds with their standard deviations.
    """
    theirs = published("") if beside is None else beside
    titles = ["Test acc.", *map(attack_title, summary.attacks), *_TRADE_OFF.values()]
    headings = [Column(title, short=_SHORT.get(title, "")) for title in titles]
    rows: list[Row] = []
    for method in summary.methods:
        columns = [(None, "accuracy"), *((name, "asr") for name in summary.attacks)]
        cells = [
            _cell(summary.spread(method, attack, metric), theirs.value(method, attack, metric))
            for attack, metric in columns
        ]
        for name in _TRADE_OFF:
            if method == summary.methods[0]:
                cells.append(Cell(MISSING))
                continue
            spread = summary.spread(method, None, name)
            cells.append(_cell(spread, theirs.value(method, None, name), change))
        rows.append([method, *cells])
    result = summary.results[0]
    caption = f"{result.preset}: {result.model}, {result.protocol} protocol"
    return make_table(caption, ["Method", *headings], rows)


def _cell(spread: Spread, published_value: float | None, write: Write = rate) -> Cell:
    deviation = "" if spread.sd is None else f"± {rate(spread.sd)}"
    note = "" if published_value is None else f"({write(published_value)})"
    number = spread.interval
    return Cell(write(spread.mean), deviation, note, number)


def published_values(summary: Summary) -> Published:
    """The paper's values for the same data and protocol; empty for others.

    Empty as well for a model that has learned nothing of its members.
    """
    result = summary.results[0]
    beside = result.protocol == "paper" and not learned_nothing(summary)
    return published(result.preset if beside else "")


def learned_nothing(summary: Summary) -> str:
    """Explain that the undefended model is no better on its members than on test data.

    Args:
        summary: results of one preset and protocol.

    Returns:
        A sentence, if the difference of the accuracies is within its 95% interval of 0 or below,
        and so is every attack's success of 0.5; or "".
    """
    baseline = summary.methods[0]
    gaps, errors = [], []
    for result in summary.select(baseline, None):
        inside, outside = result.metrics["train_accuracy"], result.metrics["accuracy"]
        if inside.low is None or outside.high is None:
            return ""
        gaps.append(inside.value - outside.value)
        # Newcombe 1998, method 10: the lower limit of a difference of proportions.
        errors.append(math.hypot(inside.value - inside.low, outside.high - outside.value))
    attacks = [summary.spread(baseline, attack, "asr").interval for attack in summary.attacks]
    leaks = any(success.low is not None and success.low > 0.5 for success in attacks)
    if leaks or sum(gaps) > math.hypot(*errors):
        return ""
    accuracy, members = (
        summary.spread(baseline, None, name).mean for name in ("accuracy", "train_accuracy")
    )
    return (
        f"There is nothing to protect yet: the undefended model is right on {rate(members)} of its "
        f"members and on {rate(accuracy)} of the test data, a difference within its 95% interval "
        "of 0, and no attack on it is beyond chance. Gains and costs of a defense say nothing "
        "here: train longer, or measure more records, such as with another --size."
    )


def paper_caption(summary: Summary) -> str:
    """Explain the cells of the table, in sentences."""
    several = len(summary.seeds) > 1
    seeds = f"{len(summary.seeds)} seeds: mean over ± standard deviation" if several else "One seed"
    scored = summary.results[0].counts.get("scored", "equal numbers of")
    members = summary.spread(summary.methods[0], None, "train_accuracy").mean
    return (
        f"{seeds}. Attack success is balanced accuracy on {scored} records, half of them members. "
        f"The undefended model's accuracy on its members is {members:.3f}."
    )


def findings(summary: Summary) -> list[str]:
    """Write sentences about threat model, gain and cost.

    Sentences whose rows or columns are missing are left out.
    """
    sentences = [threats.attacker_sentence(summary)]
    nothing = learned_nothing(summary)
    if nothing:
        return [*sentences, nothing]
    if "dynanoise" in summary.methods and len(summary.methods) > 1:
        if "confidence" in summary.attacks:
            sentences.append(_confidence(summary))
        sentences.append(_accuracy(summary))
        sentences += best_peer(summary)
        if "loss" in summary.attacks and not summary.threat.knows_defense:
            sentences.append(_beyond_thresholds(summary))
    return sentences


def guarantees(results: Sequence[Result]) -> list[str]:
    """Write a sentence with the epsilon of each method trained with differential privacy.

    Args:
        results: results of any protocols; epsilon is the largest of a method's.
    """
    bounds: dict[str, tuple[float, float]] = {}
    for result in results:
        if epsilon := result.training.get("epsilon"):
            bound = (epsilon, result.training["delta"])
            bounds[result.method] = max(bounds.get(result.method, bound), bound)
    return [
        f"{name} has epsilon {epsilon:.3g} at delta 1 / {1 / delta:,.0f} for adding or removing "
        "one record, by the accountant of Renyi differential privacy, for one training."
        if epsilon < 100
        else f"{name} has an epsilon of {epsilon:,.0f}, which bounds nothing."
        for name, (epsilon, delta) in bounds.items()
    ]


def _rate(spread: Spread) -> str:
    """A rate from 0 to 1; its interval only with three seeds or more that differ.

    >>> _rate(Spread((0.5, 0.6, 0.7))), _rate(Spread((0.5, 0.5, 0.5))), _rate(Spread((0.5, 0.6)))
    ('0.600 [0.352, 0.848]', '0.500 (in every seed)', '0.550')
    """
    metric = spread.interval
    if not interval(metric) or len(spread.values) < _SEEDS_FOR_INTERVALS:
        return rate(metric.value)
    if len(set(spread.values)) == 1:
        return f"{rate(metric.value)} (in every seed)"
    low, high = max(metric.low or 0.0, 0.0), min(metric.high or 0.0, 1.0)
    return with_interval(replace(metric, low=low, high=high))


def _change(spread: Spread) -> str:
    """A difference; its interval only with three seeds or more.

    >>> _change(Spread((0.0, 0.0))), _change(Spread((-0.01, -0.02, -0.03)))
    ('exactly 0', '-0.020 [-0.045, +0.005]')
    """
    if all(value == 0 for value in spread.values):
        return "exactly 0"
    if len(spread.values) < _SEEDS_FOR_INTERVALS:
        return change(spread.interval.value)
    return with_interval(spread.interval, change)


def _over(summary: Summary) -> str:
    count = len(summary.seeds)
    if count < _SEEDS_FOR_INTERVALS:
        return "too few seeds for an interval"
    return f"mean and 95% interval over {count} seeds"


def _confidence(summary: Summary) -> str:
    baseline = summary.methods[0]
    before = summary.spread(baseline, "confidence", "asr")
    after = summary.spread("dynanoise", "confidence", "asr")
    text = (
        f"DynaNoise moves the confidence attack's success from {_rate(before)} "
        f"({_over(summary)}) to {_rate(after)}"
    )
    if "temperature" not in summary.methods:
        return f"{text}."
    control = summary.spread("temperature", "confidence", "asr")
    fall = summary.change("dynanoise", "confidence", "asr").interval
    # A share of a fall that may be none would be a large number about nothing.
    if fall.high is None or fall.high >= 0:
        return f"{text}; temperature alone, without any noise, to {_rate(control)}."
    share = (before.mean - control.mean) / (before.mean - after.mean)
    return f"{text}; temperature alone, without any noise, gives {share:.0%} of that fall."


def _accuracy(summary: Summary) -> str:
    baseline = summary.spread(summary.methods[0], None, "accuracy")
    parts = [
        f"{_change(summary.change(name, None, 'accuracy'))} with {_NAMES.get(name, name)}"
        for name in summary.methods[1:]
    ]
    return f"Test accuracy is {baseline.mean:.3f} undefended; it changes by {', '.join(parts)}."


def best_peer(summary: Summary) -> list[str]:
    """DynaNoise's MIDPUT over the best peer's; nothing without DynaNoise or a peer."""
    peers = [name for name in summary.methods[1:] if _is_peer(summary, name)]
    if not peers or "dynanoise" not in summary.methods:
        return []
    ours = {name: summary.spread(name, None, "midput").mean for name in (*peers, "dynanoise")}
    text = f"DynaNoise's MIDPUT is {_over_best(ours, 'peer' if len(peers) == 1 else 'best peer')}"
    theirs = published_values(summary).midput
    if theirs:
        text += f". Published: {_over_best(theirs, 'best peer')}"
    return [f"{text}."]


def _is_peer(summary: Summary, method: str) -> bool:
    """False for DynaNoise with fresh or keyed noise, and for this project's other defenses."""
    result = summary.select(method, None)[0]
    baseline = summary.select(summary.methods[0], None)[0]
    if result.recipe == baseline.recipe:
        return result.defense["name"] not in _OURS
    return result.recipe != "out_of_fold"


def _over_best(midput: Mapping[str, float], peer: str) -> str:
    """DynaNoise's MIDPUT as a multiple of the best peer's, where both are above 0.

    >>> _over_best({"selena": 0.073, "hamp": 0.066, "dynanoise": 0.104}, "best peer")
    '+0.104, 1.4 times that of the best peer, selena (+0.073)'
    >>> _over_best({"hamp": -0.01, "dynanoise": 0.1}, "peer")
    '+0.100; that of the peer, hamp, is -0.010'
    """
    ours = midput["dynanoise"]
    best = max((name for name in midput if name != "dynanoise"), key=lambda name: midput[name])
    if midput[best] <= 0 or ours <= 0:  # a ratio would mean nothing
        return f"{change(ours)}; that of the {peer}, {best}, is {change(midput[best])}"
    times = ours / midput[best]
    return f"{change(ours)}, {times:.2g} times that of the {peer}, {best} ({change(midput[best])})"


def _beyond_thresholds(summary: Summary) -> str:
    parts = [
        f"{_rate(summary.spread(name, 'loss', 'auc'))} with {_NAMES.get(name, name)}"
        for name in summary.methods[1:]
    ]
    undefended = _rate(summary.spread(summary.methods[0], "loss", "auc"))
    return (
        "These attacks see less than there is: their thresholds are fixed beforehand or learned on "
        "undefended models, so success near 0.5 shows that they no longer fit, not that nothing "
        f"leaks. Without a threshold, the loss has AUC {undefended} undefended, "
        f"{', '.join(parts)}. Attacks fitted to each record (Carlini et al. 2022) are not part of "
        "this protocol."
    )
