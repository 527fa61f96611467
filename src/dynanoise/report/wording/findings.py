"""What a summary says, in sentences: the threat model, the gain and the cost."""

from __future__ import annotations

from collections.abc import Mapping

from dynanoise.report.render.table import published_of
from dynanoise.report.summary import Spread, Summary
from dynanoise.report.wording.threats import asks

_SEEDS_FOR_INTERVALS = 3
"""Student's interval over two seeds is wider than the scale."""

MIDPUT_NOTE = (
    "MIDPUT is the mean fall in attack success minus the fall in accuracy: above 0 a defense "
    "gains more than it costs. Leak counts distance from 0.5 on either side; worst compares the "
    "strongest attack before with the strongest after."
)


def findings(summary: Summary) -> list[str]:
    """Sentences for under the table; those whose rows or columns are missing are left out."""
    sentences = [_threat(summary)]
    if "dynanoise" in summary.methods and len(summary.methods) > 1:
        if "confidence" in summary.attacks:
            sentences.append(_confidence(summary))
        sentences.append(_accuracy(summary))
        sentences += _best_peer(summary)
        if "loss" in summary.attacks and not summary.records[0].threat.knows_defense:
            sentences.append(_beyond_thresholds(summary))
    return sentences


def rate(spread: Spread) -> str:
    """Such as "0.566 [0.557, 0.576]" for a rate from 0 to 1.

    Without an interval for fewer than three seeds, or where all seeds gave the same.

    >>> rate(Spread((0.5, 0.6, 0.7))), rate(Spread((0.5, 0.5, 0.5))), rate(Spread((0.5, 0.6)))
    ('0.600 [0.352, 0.848]', '0.500 (in every seed)', '0.550')
    """
    found = spread.interval
    if found.low is None or found.high is None or len(spread.values) < _SEEDS_FOR_INTERVALS:
        return f"{found.value:.3f}"
    if len(set(spread.values)) == 1:
        return f"{found.value:.3f} (in every seed)"
    return f"{found.value:.3f} [{max(found.low, 0):.3f}, {min(found.high, 1):.3f}]"


def change(spread: Spread) -> str:
    """Such as "-0.010 [-0.013, -0.007]", or "exactly 0".

    >>> change(Spread((0.0, 0.0))), change(Spread((-0.01, -0.02, -0.03)))
    ('exactly 0', '-0.020 [-0.045, +0.005]')
    """
    if all(value == 0 for value in spread.values):
        return "exactly 0"
    found = spread.interval
    if found.low is None or found.high is None or len(spread.values) < _SEEDS_FOR_INTERVALS:
        return f"{found.value:+.3f}"
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _over(summary: Summary) -> str:
    count = len(summary.seeds)
    if count < _SEEDS_FOR_INTERVALS:
        return "too few seeds for an interval"
    return f"mean and 95% interval over {count} seeds"


def _threat(summary: Summary) -> str:
    threat = summary.records[0].threat
    knows = "knows the defense" if threat.knows_defense else "does not know of the defense"
    beyond = "" if threat.knows_defense else " It says nothing about an attacker who knows it."
    return (
        f"Threat model '{threat.name}': the attacker {knows} and {asks(threat)}; "
        f"0.5 is chance.{beyond}"
    )


def _confidence(summary: Summary) -> str:
    baseline = summary.methods[0]
    before = summary.spread(baseline, "confidence", "asr")
    after = summary.spread("dynanoise", "confidence", "asr")
    text = (
        f"DynaNoise moves the confidence attack's success from {rate(before)} "
        f"({_over(summary)}) to {rate(after)}"
    )
    if "temperature" not in summary.methods:
        return f"{text}."
    alone = summary.spread("temperature", "confidence", "asr")
    fall = summary.change("dynanoise", "confidence", "asr").interval
    # A share of a fall that may be none would be a large number about nothing.
    clear = fall.high is not None and fall.high < 0
    if not clear:
        return f"{text}; temperature alone, without any noise, to {rate(alone)}."
    share = (before.mean - alone.mean) / (before.mean - after.mean)
    return f"{text}; temperature alone, without any noise, gives {share:.0%} of that fall."


def _accuracy(summary: Summary) -> str:
    baseline = summary.spread(summary.methods[0], None, "accuracy")
    parts = [
        f"{change(summary.change(name, None, 'accuracy'))} with {_with(name)}"
        for name in summary.methods[1:]
    ]
    return f"Test accuracy is {baseline.mean:.3f} undefended; it changes by {', '.join(parts)}."


_CONTROLS = ("temperature", "static", "dynanoise")
"""What is no peer of DynaNoise: itself and its parts."""


def _best_peer(summary: Summary) -> list[str]:
    """DynaNoise's MIDPUT over the best peer's; nothing without a peer."""
    peers = [name for name in summary.methods[1:] if name not in _CONTROLS]
    if not peers:
        return []
    ours = {name: summary.spread(name, None, "midput").mean for name in (*peers, "dynanoise")}
    text = f"DynaNoise's MIDPUT is {_over_best(ours, 'peer' if len(peers) == 1 else 'best peer')}"
    theirs = published_of(summary).midput
    if theirs:
        text += f". Published: {_over_best(theirs, 'best peer')}"
    return [f"{text}."]


def _over_best(midput: Mapping[str, float], peer: str) -> str:
    """Such as "+0.104, 1.4 times that of the best peer, selena (+0.073)".

    >>> _over_best({"selena": 0.073, "hamp": 0.066, "dynanoise": 0.104}, "best peer")
    '+0.104, 1.4 times that of the best peer, selena (+0.073)'
    >>> _over_best({"hamp": -0.01, "dynanoise": 0.1}, "peer")
    '+0.100; that of the peer, hamp, is -0.010'
    """
    own = midput["dynanoise"]
    best = max((name for name in midput if name != "dynanoise"), key=lambda name: midput[name])
    if midput[best] <= 0 or own <= 0:  # a ratio would mean nothing
        return f"{own:+.3f}; that of the {peer}, {best}, is {midput[best]:+.3f}"
    ratio = own / midput[best]
    return f"{own:+.3f}, {ratio:.2g} times that of the {peer}, {best} ({midput[best]:+.3f})"


def _with(method: str) -> str:
    names = {
        "temperature": "temperature alone",
        "static": "static noise",
        "dynanoise": "DynaNoise",
    }
    return names.get(method, method)


def _beyond_thresholds(summary: Summary) -> str:
    parts = [
        f"{rate(summary.spread(name, 'loss', 'auc'))} with {_with(name)}"
        for name in summary.methods[1:]
    ]
    undefended = rate(summary.spread(summary.methods[0], "loss", "auc"))
    return (
        "These attacks see less than there is: their thresholds are fixed beforehand or learned on "
        "undefended models, so success near 0.5 shows that they no longer fit, not that nothing "
        f"leaks. Without a threshold, the loss has AUC {undefended} undefended, "
        f"{', '.join(parts)}. Attacks fitted to each record (Carlini et al. 2022) are not part of "
        "this protocol."
    )
