"""What an attacker knows and may do, in words that every page uses."""

from __future__ import annotations

from dynanoise.core.result import ThreatModel
from dynanoise.report.summary import Summary

_SHADOWS = {
    "same": "models trained and defended like the target",
    "architecture": "models of another architecture, trained and defended like the target",
    "recipe": "models that were trained otherwise, behind the same defense",
    "disjoint": "models of other records only, trained and defended like the target",
}


def budget(threat: ThreatModel) -> str:
    """Such as "16 queries a record".

    >>> budget(ThreatModel("", True)), budget(ThreatModel("", True, 4, augmented=True))
    ('1 query a record', '4 queries a record and of each near-duplicate')
    """
    count = "1 query" if threat.repeats == 1 else f"{threat.repeats} queries"
    return f"{count} a record" + (" and of each near-duplicate" if threat.augmented else "")


def asks(threat: ThreatModel) -> str:
    """Such as "asks each query 16 times and averages".

    >>> asks(ThreatModel("", True, augmented=True))
    'asks about each record and its near-duplicates once'
    """
    what = "about each record and its near-duplicates" if threat.augmented else "each query"
    return f"asks {what} " + (
        "once" if threat.repeats == 1 else f"{threat.repeats} times and averages"
    )


def own_models(threat: ThreatModel) -> str:
    """What the attacker trains, after "has".

    >>> own_models(ThreatModel("", True, shadows="recipe"))
    'models that were trained otherwise, behind the same defense'
    """
    return _SHADOWS[threat.shadows]


def secret(threat: ThreatModel) -> str:
    """What the attacker knows of the noise, after "knows the defense and its parameters,".

    >>> secret(ThreatModel("", True)), secret(ThreatModel("", True, key_known=True))
    ('not its random draws', 'and the secret key of its noise')
    """
    return "and the secret key of its noise" if threat.key_known else "not its random draws"


def honest(threat: ThreatModel) -> bool:
    """True for an attacker who knows the defense, lacks its key and has models like the target."""
    return threat.knows_defense and threat.shadows == "same" and not threat.key_known


def who(summary: Summary) -> str:
    """Who the attacker is, and what the intervals are over, in a sentence or two."""
    return f"{attacker(summary.records[0].threat)} {intervals(summary)}"


def intervals(summary: Summary) -> str:
    """What the intervals are over, in a sentence."""
    counts = summary.records[0].counts
    if "models" in counts:
        over = f"over {counts['models']} models and {counts.get('pool', 0):,} records"
    else:
        seeds = len(summary.seeds)
        over = f"over {seeds} seeds" if seeds > 1 else "of one model at fixed thresholds"
    return f"95% intervals are {over}."


def attacker(threat: ThreatModel) -> str:
    """Who the attacker is, in a sentence that holds for every data set."""
    begin = (
        f"Threat model '{threat.name}', {budget(threat)}: somebody with black-box access to all "
        "probabilities of an answer, who holds the records to be tested"
    )
    if not threat.knows_defense:
        return f"{begin} and models of the same kind, but does not know that there is a defense."
    averages = " and averages the answers" if threat.repeats > 1 else ""
    return (
        f"{begin}, knows the defense and its parameters, {secret(threat)}, has "
        f"{own_models(threat)}, undoes what can be undone{averages}, and chooses attack and "
        "threshold on those models."
    )
