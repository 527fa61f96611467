"""What a summary says, in sentences: the threat model, the gain and the cost."""

from __future__ import annotations

from dynanoise.report.summary import Spread, Summary


def findings(summary: Summary) -> list[str]:
    """Sentences for under the table; those whose rows or columns are missing are left out."""
    sentences = [_threat(summary)]
    if "dynanoise" in summary.contenders and len(summary.contenders) > 1:
        if "confidence" in summary.attacks:
            sentences.append(_confidence(summary))
        sentences.append(_accuracy(summary))
        if "loss" in summary.attacks:
            sentences.append(_beyond_thresholds(summary))
    return sentences


def with_interval(spread: Spread) -> str:
    """Such as "0.566 [0.557, 0.576]", or the mean alone for one seed.

    >>> with_interval(Spread((0.5, 0.6, 0.7)))
    '0.600 [0.352, 0.848]'
    """
    found = spread.interval
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _over(summary: Summary) -> str:
    count = len(summary.seeds)
    return f"mean and 95% interval over {count} seeds" if count > 1 else "one seed, no interval"


def _threat(summary: Summary) -> str:
    threat = summary.records[0].threat
    knows = "knows the defense" if threat.knows_defense else "does not know of the defense"
    times = "once" if threat.repeats == 1 else f"up to {threat.repeats} times"
    beyond = "" if threat.knows_defense else " It says nothing about an attacker who knows it."
    return (
        f"Threat model '{threat.name}': the attacker {knows} and asks each query {times}; "
        f"0.5 is chance.{beyond}"
    )


def _confidence(summary: Summary) -> str:
    before = summary.spread(summary.contenders[0], "confidence", "asr")
    after = summary.spread("dynanoise", "confidence", "asr")
    text = (
        f"DynaNoise moves the confidence attack's success from {with_interval(before)} "
        f"({_over(summary)}) to {with_interval(after)}"
    )
    fall = before.mean - after.mean
    if "temperature" not in summary.contenders:
        return f"{text}."
    alone = summary.spread("temperature", "confidence", "asr")
    if fall <= 0:
        return f"{text}; temperature alone, to {with_interval(alone)}."
    share = (before.mean - alone.mean) / fall
    return f"{text}; temperature alone, without any noise, gives {share:.0%} of that fall."


def _accuracy(summary: Summary) -> str:
    baseline = summary.spread(summary.contenders[0], None, "accuracy")
    parts = [
        f"{_signed(summary.change(name, None, 'accuracy'))} with {_with(name)}"
        for name in summary.contenders[1:]
    ]
    return f"Test accuracy is {baseline.mean:.3f} undefended; it changes by {', '.join(parts)}."


def _signed(spread: Spread) -> str:
    """Such as "-0.010 [-0.013, -0.007]", or "exactly 0"."""
    if all(value == 0 for value in spread.values):
        return "exactly 0"
    found = spread.interval
    if found.low is None or found.high is None:
        return f"{found.value:+.3f}"
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _with(contender: str) -> str:
    names = {
        "temperature": "temperature alone",
        "static": "static noise",
        "dynanoise": "DynaNoise",
    }
    return names.get(contender, contender)


def _beyond_thresholds(summary: Summary) -> str:
    parts = [
        f"{with_interval(summary.spread(name, 'loss', 'auc'))} with {_with(name)}"
        for name in summary.contenders[1:]
    ]
    undefended = with_interval(summary.spread(summary.contenders[0], "loss", "auc"))
    return (
        "These attacks see less than there is: their thresholds are fixed beforehand or learned on "
        "undefended models, so success near 0.5 shows that they no longer fit, not that nothing "
        f"leaks. Without a threshold, the loss has AUC {undefended} undefended, "
        f"{', '.join(parts)}; attacks fitted to each record are stronger and not part of this "
        "protocol."
    )
