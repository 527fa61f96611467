"""Describe an attacker's knowledge and query budget, from the fields of its threat model."""

from __future__ import annotations

from collections.abc import Iterable

from dynanoise.core.result import ThreatModel
from dynanoise.report.summary import Summary

_SHADOW_MODELS = {
    "same": "shadow models trained and defended like the target",
    "architecture": "shadow models of another architecture, trained and defended like the target",
    "recipe": "shadow models trained by another recipe, behind the same defense",
    "disjoint": "shadow models trained on other records only, like the target otherwise",
}
_UNLIKE = {
    "architecture": "models of another architecture",
    "recipe": "models trained otherwise",
    "disjoint": "models of other records",
}
_LIKENESS = {
    "architecture": "shadow models of another architecture",
    "recipe": "shadow models trained by another recipe",
    "disjoint": "shadow models trained on other records only",
}


def budget(threat: ThreatModel) -> str:
    """Write the query budget.

    >>> budget(ThreatModel("", True)), budget(ThreatModel("", True, 4, augmented=True))
    ('1 query a record', '4 queries a record and of each near-duplicate')
    """
    count = "1 query" if threat.repeats == 1 else f"{threat.repeats} queries"
    if threat.chosen:
        return f"{count} a record, with inputs of the attacker's choice"
    return f"{count} a record" + (" and of each near-duplicate" if threat.augmented else "")


def shadow_models(threat: ThreatModel) -> str:
    """Name the attacker's own models.

    >>> shadow_models(ThreatModel("", True, shadows="recipe"))
    'shadow models trained by another recipe, behind the same defense'
    """
    if not threat.knows_defense:
        return "shadow models of the same kind, undefended"
    return _SHADOW_MODELS[threat.shadows]


def knowledge(threat: ThreatModel) -> str:
    """Say what the attacker knows of the defense, as the end of a sentence about it.

    >>> knowledge(ThreatModel("", False))
    'does not know of the defense'
    >>> knowledge(ThreatModel("", True, key_known=True))
    'knows the defense, its parameters and the secret key of its noise'
    """
    if not threat.knows_defense:
        return "does not know of the defense"
    if threat.key_known:
        return "knows the defense, its parameters and the secret key of its noise"
    return "knows the defense and its parameters (not its random draws)"


def honest(threat: ThreatModel) -> bool:
    """True for an attacker who knows the defense, lacks its key and has models like the target."""
    return threat.knows_defense and threat.shadows == "same" and not threat.key_known


def attacker(threat: ThreatModel, defense: str = "the defense") -> str:
    """Name the attacker in a few words.

    Args:
        threat: its fields decide the words.
        defense: name or pronoun of the defense.

    >>> attacker(ThreatModel("", False), "it")
    'an attacker who does not know of it'
    >>> attacker(ThreatModel("", True, shadows="disjoint"))
    'an attacker who knows the defense and has shadow models trained on other records only'
    """
    if not threat.knows_defense:
        return f"an attacker who does not know of {defense}"
    key = " and the secret key of its noise" if threat.key_known else ""
    models = f" and has {_LIKENESS[threat.shadows]}" if threat.shadows in _LIKENESS else ""
    return f"an attacker who knows {defense}{key}{models}"


def attacker_title(threat: ThreatModel) -> str:
    """Name the attacker in a legend or a heading.

    >>> attacker_title(ThreatModel("paper", False))
    'does not know the defense, 1 query'
    >>> attacker_title(ThreatModel("", True, 64, chosen=True))
    'knows the defense, 64 queries, chooses inputs'
    """
    parts = [f"{'knows' if threat.knows_defense else 'does not know'} the defense"]
    parts[0] += " and the key" if threat.key_known else ""
    parts.append("1 query" if threat.repeats == 1 else f"{threat.repeats} queries")
    parts[1] += " of each near-duplicate" if threat.augmented else ""
    parts += ["chooses inputs"] if threat.chosen else []
    parts += [_UNLIKE[threat.shadows]] if threat.shadows in _UNLIKE else []
    return ", ".join(parts)


def caution(threat: ThreatModel) -> str:
    """Say what the numbers of a threat model do not show; empty for an honest one."""
    if not threat.knows_defense:
        return (
            "Success near 0.5 there shows that thresholds learned elsewhere no longer fit, "
            "not that nothing leaks."
        )
    if threat.shadows != "same":
        return (
            "Success near 0.5 there shows that models unlike the target say little about it, "
            "not that nothing leaks."
        )
    if threat.key_known:
        return "Its success, where it exceeds that of the others, is the cost of a leaked key."
    return ""


def under(threat: ThreatModel) -> str:
    """Name threat model and query budget.

    >>> under(ThreatModel("adaptive_16", True, 16))
    "threat model 'adaptive_16', 16 queries a record"
    """
    return f"threat model '{threat.name}', {budget(threat)}"


def threat_sentence(threat: ThreatModel) -> str:
    """Describe the attacker in a sentence that holds for every data set."""
    begin = (
        f"Threat model '{threat.name}', {budget(threat)}: an attacker with black-box access to all "
        f"output probabilities, who holds the records to be tested, {knowledge(threat)}"
    )
    if not threat.knows_defense:
        return f"{begin}, and has {shadow_models(threat)}."
    averages = ", averages repeated queries" if threat.repeats > 1 else ""
    if threat.chosen:
        averages = (
            ", chooses each input by earlier outputs to find where the label (or the cell of keyed "
            "noise) changes near the record, averages repeated queries where noise is drawn anew"
        )
    return (
        f"{begin}, has {shadow_models(threat)}, inverts the deterministic part of the defense"
        f"{averages}, and chooses attack and threshold on its own models."
    )


def untested(tested: Iterable[ThreatModel]) -> list[str]:
    """List what no attacker of the results has or does.

    Args:
        tested: threat models of the results.

    Returns:
        Phrases for a sentence.

    >>> untested([ThreatModel("adaptive_chosen", True, 64, chosen=True)])[0]
    'white-box access to the weights'
    """
    threats = list(tested)
    chosen = any(threat.chosen for threat in threats)
    near = any(threat.augmented for threat in threats)
    return [
        *([] if chosen else ["inputs chosen by earlier outputs, which undo keyed noise"]),
        *([] if near or chosen else ["queries of near-duplicates of a record"]),
        "white-box access to the weights",
        "observation of the training",
        "extraction of the model and attacks on the copy",
        "comparison with earlier versions of the model",
    ]


def interval_sentence(summary: Summary) -> str:
    """Say what the 95% intervals of a summary are taken over."""
    counts = summary.results[0].counts
    if "models" in counts:
        others = {result.counts["models"] for result in summary.results} - {counts["models"]}
        some = f" ({', '.join(map(str, sorted(others)))} for some methods)" if others else ""
        over = (
            f"over {counts['models']} models{some} and {counts.get('pool', 0):,} records, each "
            "model the target once"
        )
    else:
        seeds = len(summary.seeds)
        over = f"over {seeds} seeds" if seeds > 1 else "of one model at fixed thresholds"
    return f"95% intervals are {over}."


def attacker_sentence(summary: Summary) -> str:
    """Describe the attacker of a protocol, its intervals, and what its numbers do not show."""
    parts = [threat_sentence(summary.threat), interval_sentence(summary), caution(summary.threat)]
    return " ".join(filter(None, parts))
