"""The sections of the HTML report that are words and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dynanoise.core.result import Result
from dynanoise.report.render.markup import Markup, join, table, tag
from dynanoise.report.wording import audit
from dynanoise.report.wording.verdict import NET_GAIN_NOTE, Verdict


def verdict_section(found: Verdict) -> Markup:
    """What leaks, to whom, what a defense changes and costs, and what was not tested."""
    warning = tag("p", found.warning, class_="warning", role="note") if found.warning else ""
    return join(
        warning,
        tag("h3", "What leaks"),
        *(tag("p", _led(said), class_="lead") for said in found.leaks[:1]),
        *(tag("p", _led(said)) for said in found.leaks[1:]),
        tag("h3", "To whom"),
        tag("ul", *(tag("li", _led(said)) for said in found.whom)),
        tag("h3", "What it would cost to fix"),
        tag("p", found.fix, class_="note lead"),
        tag("ul", *(_defense(*said) for said in found.defenses.values())),
        tag("p", NET_GAIN_NOTE, class_="faint"),
        tag("h3", "What this does not cover"),
        tag("p", found.scope),
    )


def audit_section(records: Sequence[Result], notes: Sequence[str]) -> Markup:
    """What an audit found, under which threat model, what was not tested, and notes."""
    first, *others = audit.verdicts(records)
    utilities = audit.utilities(records)
    return join(
        tag("h3", "What leaks"),
        tag("p", _led(first), class_="lead"),
        *(tag("p", _led(said)) for said in others),
        _list("What answers are worth", utilities),
        tag("h3", "What this does not cover"),
        tag("p", audit.OUT_OF_SCOPE),
        _list("Notes", notes),
    )


def _list(heading: str, sentences: Sequence[str]) -> Markup:
    """Nothing where there are none."""
    if not sentences:
        return join()
    return join(tag("h3", heading), tag("ul", *(tag("li", _led(said)) for said in sentences)))


def _defense(gain: str, cost: str) -> Markup:
    return tag("li", _led(gain), tag("p", cost, class_="faint") if cost else "")


def _led(sentence: str) -> Markup:
    """Its beginning, up to the colon, in bold."""
    lead, colon, rest = sentence.partition(": ")
    return join(tag("strong", lead + colon), rest) if colon else join(sentence)


def made_section(records: Sequence[Result], methods: Sequence[str]) -> Markup:
    """Configuration, circumstances and the command."""
    first = records[0]
    rows = []
    for name in methods:
        one = next(record for record in records if record.method == name)
        rows.append([name, one.recipe, _json(one.recipe_parameters), _json(one.defense)])
    facts = {
        "Command": first.command,
        "Data": first.dataset,
        "Model": f"{first.model} {_json(first.model_parameters)}",
        "Seeds": ", ".join(map(str, sorted({record.seed for record in records}))),
        "Splits": ", ".join(dict.fromkeys(record.split for record in records)),
        "Records of data": "; ".join(dict.fromkeys(_json(record.counts) for record in records)),
        "Hardware": _json(first.hardware),
        "Versions": _json(first.versions),
    }
    if any(record.training for record in records):
        facts["Time of training"] = f"{sum(_training(records).values()):,.0f} s"
    header = ("Method", "Training", "Its parameters", "Answers")
    return tag(
        "div",
        table("Methods", header, rows),
        table("Circumstances", ("What", "Value"), list(facts.items())),
        class_="words",
    )


def _training(records: Sequence[Result]) -> dict[tuple[Any, ...], float]:
    """Seconds, once for all results that share models."""
    return {
        (one.protocol == "paper", one.recipe, one.seed): one.training.get("seconds", 0.0)
        for one in records
    }


def _json(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in values.items())
