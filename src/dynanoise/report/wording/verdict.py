"""What results say in plain words: what leaks, to whom, what a defense changes, what that costs.

Every sentence with a number names its threat model, its query budget and its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynanoise.core.errors import InputError
from dynanoise.core.result import OVERHEAD, STRONGEST, Metric, Result, ThreatModel
from dynanoise.report.side_by_side import by_protocol, strongest
from dynanoise.report.summary import Summary
from dynanoise.report.wording import threats
from dynanoise.report.wording.threats import budget, who

NOT_RUN = (
    "The honest protocol was not run. Everything below is about an attacker who does not know of "
    "the defense; it says nothing about one who knows it, undoes it and asks again. Run "
    "`dynanoise bench` with --protocol adaptive before relying on any of it."
)
_SCOPE = (
    "Not tested, so not covered by anything said here: an attacker with white-box access to the "
    "weights, one who observed the training, one who extracts the model and attacks the copy, one "
    "who compares with earlier versions of the model, {near}and data other than these."
)

_TPRS = {"tpr@0.001": "0.1%", "tpr@0.01": "1%"}


@dataclass(frozen=True)
class Verdict:
    """The plain-language part of a report.

    Attributes:
        warning: that the honest protocol was not run; "" where it was.
        leaks: what the undefended model gives away, a sentence for each protocol.
        whom: who the attackers are, likewise.
        fix: which defense gains most, in a sentence.
        defenses: by name, what each defense changes, and what it costs ("" where it was not run).
        scope: what was not tested.
    """

    warning: str
    leaks: tuple[str, ...]
    whom: tuple[str, ...]
    fix: str
    defenses: Mapping[str, tuple[str, str]]
    scope: str


def summaries_of(records: Sequence[Result]) -> dict[str, Summary]:
    """A summary for each protocol: the paper's first, then pools by query budget.

    Raises:
        InputError: if nobody attacks in these results.
    """
    if any(record.protocol == OVERHEAD for record in records):
        raise InputError(
            "These results are of time and memory; nobody attacks in them.",
            "Pass results of attacks, or print these with `dynanoise show`.",
        )
    found = by_protocol(records)

    def rank(name: str) -> tuple[bool, bool, int]:
        threat = _threat(found[name])
        return threats.honest(threat), threat.augmented, threat.repeats

    order = sorted(found, key=rank)
    return {name: found[name] for name in order}


def honest(summaries: Mapping[str, Summary]) -> dict[str, Summary]:
    """Those whose attacker knows the defense and has models like the target."""
    return {name: one for name, one in summaries.items() if _honest(one)}


def verdict(summaries: Mapping[str, Summary]) -> Verdict:
    """The verdict of `summaries_of`."""
    judged = honest(summaries)
    warning = "" if judged else NOT_RUN
    main = judged or dict(summaries)
    baseline = next(iter(summaries.values())).methods[0]
    everyone = dict.fromkeys(name for one in summaries.values() for name in one.methods)
    defenses = {name: _defense(name, main, baseline) for name in everyone if name != baseline}
    leaks = _merged([(_leak(one, baseline), one) for one in main.values()])
    leaks += [_beside(one, baseline) for name, one in summaries.items() if name not in main]
    whom = tuple(who(one) for one in summaries.values())
    asked_near = any(_threat(one).augmented for one in summaries.values())
    scope = _SCOPE.format(near="" if asked_near else "one who asks near-duplicates of a record, ")
    return Verdict(warning, tuple(leaks), whom, _fix(main, baseline), defenses, scope)


def with_interval(metric: Metric, sign: str = "") -> str:
    """Such as "0.623 [0.603, 0.644]"; says so where there is no interval.

    >>> with_interval(Metric(0.5, 0.25, 0.75)), with_interval(Metric(0.01), "+")
    ('0.500 [0.250, 0.750]', '+0.010 (no interval)')
    """
    if metric.low is None or metric.high is None:
        return f"{metric.value:{sign}.3f} (no interval)"
    return f"{metric.value:{sign}.3f} [{metric.low:{sign}.3f}, {metric.high:{sign}.3f}]"


def under(threat: ThreatModel) -> str:
    """Such as "threat model 'adaptive_16', 16 queries a record"."""
    return f"threat model '{threat.name}', {budget(threat)}"


def _threat(summary: Summary) -> ThreatModel:
    return summary.records[0].threat


def _honest(summary: Summary) -> bool:
    return threats.honest(_threat(summary))


def _metric(summary: Summary, method: str, attack: str | None, name: str) -> Metric | None:
    """With its interval; None where the results lack it, as too few non-members leave a TPR out."""
    rows = [one for one in summary.records if (one.method, one.attack) == (method, attack)]
    if not rows or any(name not in one.metrics for one in rows):
        return None
    return summary.spread(method, attack, name).interval


def _leak(summary: Summary, baseline: str) -> str:
    """What the undefended model gives away, to one attacker."""
    title, found = strongest(summary, baseline)
    attack = STRONGEST if STRONGEST in summary.attacks else None
    more = []
    if attack is not None:
        auc = _metric(summary, baseline, attack, "auc")
        more += [] if auc is None else [f"AUC {with_interval(auc)}"]
        for name, rate in _TPRS.items():
            tpr = _metric(summary, baseline, attack, name)
            more += [] if tpr is None else [f"{with_interval(tpr)} of members at {rate} FPR"]
    beyond = f"; {', '.join(more)}" if more else ""
    lead = "Undefended, answers give away who was in the training data"
    if found.low is None:
        lead = "Undefended, the strongest attack was measured once"
    elif found.low <= 0.5:
        lead = "Undefended, no leak was measured"
    return (
        f"{lead}: the strongest attack ({title}) tells members from non-members with balanced "
        f"accuracy {with_interval(found)}, where 0.5 is guessing{beyond}"
    )


def _merged(said: Sequence[tuple[str, Summary]]) -> list[str]:
    """Sentences with their threat models; what is the same for several is said once."""
    by_text: dict[str, list[str]] = {}
    for text, summary in said:
        by_text.setdefault(text, []).append(under(_threat(summary)))
    return [f"{text} ({'; '.join(who)}; 95% intervals)." for text, who in by_text.items()]


def _beside(summary: Summary, baseline: str) -> str:
    """What the paper's attacker sees, beside honest ones."""
    parts = []
    for name in summary.methods:
        _, found = strongest(summary, name)
        who = "undefended" if name == baseline else f"with {name}"
        parts.append(f"{with_interval(found)} {who}")
    return (
        f"An attacker who does not know of the defense reaches {', '.join(parts)} "
        f"({under(_threat(summary))}, strongest attack in hindsight, 95% intervals). Success near "
        "0.5 there shows that thresholds learned elsewhere no longer fit, not that nothing leaks."
    )


def _net(summary: Summary, name: str) -> Metric:
    return summary.spread(name, None, "midput_worst_case").interval


def _sign(metric: Metric) -> int | None:
    """1 for a clear gain, -1 for a clear loss, 0 for neither; None without an interval."""
    if metric.low is None or metric.high is None:
        return None
    return (metric.low > 0) - (metric.high < 0)


def _defense(name: str, summaries: Mapping[str, Summary], baseline: str) -> tuple[str, str]:
    """What one defense changes against each attacker, and what it costs."""
    run = [one for one in summaries.values() if name in one.methods]
    if not run:
        asked = "; ".join(under(_threat(one)) for one in summaries.values())
        return f"{name} was not run here ({asked}): no interval and no verdict on it.", ""
    said = []
    for one in run:
        title, found = strongest(one, name)
        _, before = strongest(one, baseline)
        gain = (
            f"the strongest attack ({title}) has {with_interval(found)} instead of "
            f"{with_interval(before)}, a net gain of {with_interval(_net(one, name), '+')}"
        )
        said.append((gain, one))
    gains = " ".join(text[0].upper() + text[1:] for text in _merged(said))
    return f"{_lead(name, run)}: {gains}", _cost(run[-1], name, baseline)


def _lead(name: str, run: Sequence[Summary]) -> str:
    """The judgement: what the intervals of the net gain allow to say."""
    nets = [_net(one, name) for one in run]
    signs = [_sign(net) for net in nets]
    if None in signs:
        return f"{name} was run too few times for a judgement"
    if all(net.low == net.high == 0 for net in nets):
        return f"{name} changes nothing for this attacker"
    if all(sign == 1 for sign in signs):
        return f"{name} gains more than it costs{_unaware(run[0])}"
    if 1 not in signs:
        worse = all(sign == -1 for sign in signs)
        return f"{name} costs more than it gains" if worse else f"{name} has no measurable net gain"
    good = [one for one, sign in zip(run, signs, strict=True) if sign == 1]
    bad = [one for one, sign in zip(run, signs, strict=True) if sign != 1]
    at, not_at = (", ".join(budget(_threat(one)) for one in part) for part in (good, bad))
    return f"{name} gains more than it costs at {at}, but not at {not_at}"


def _unaware(summary: Summary) -> str:
    """Beside every gain against a weaker attacker."""
    if _honest(summary):
        return ""
    if _threat(summary).knows_defense:
        return f" against an attacker who has {threats.own_models(_threat(summary))}"
    return " against an attacker who does not know of it"


def _cost(summary: Summary, name: str, baseline: str) -> str:
    """Accuracy and calibration, before and after."""
    parts = []
    for metric, said in (
        ("accuracy", "test accuracy"),
        ("ece", "calibration error"),
        ("nll", "negative log-likelihood (nats)"),
        ("label_flips", "changed labels"),
    ):
        after, before = (_metric(summary, who, None, metric) for who in (name, baseline))
        if after is None or before is None:
            continue
        if metric != "label_flips" or after.value > 0:
            parts.append(f"{said} {with_interval(after)} instead of {with_interval(before)}")
    return f"Cost: {', '.join(parts)} ({under(_threat(summary))}, 95% intervals)."


def _fix(summaries: Mapping[str, Summary], baseline: str) -> str:
    """The defense that gains most against the attacker who asks most."""
    summary = list(summaries.values())[-1]
    nets = {one: _net(summary, one) for one in summary.methods if one != baseline}
    against = f"{under(_threat(summary))}, 95% intervals"
    if not nets:
        return f"No defense was measured against this attacker ({under(_threat(summary))})."
    best = max(nets, key=lambda one: nets[one].value)
    count = f"{len(nets)} defenses" if len(nets) > 1 else "one defense"
    net = with_interval(nets[best], "+")
    sign = _sign(nets[best])
    if sign == 1:
        accuracy, before = (
            summary.spread(one, None, "accuracy").interval for one in (best, baseline)
        )
        _, after = strongest(summary, best)
        remains = after.low is not None and after.low > 0.5
        left = " It reduces the leak; it does not end it." if remains else ""
        return (
            f"Of {count} measured, {best} gains most{_unaware(summary)}: a net gain of {net}, with "
            f"test accuracy {with_interval(accuracy)} instead of {with_interval(before)} "
            f"({against}).{left}"
        )
    if sign is None:
        return (
            f"Of {count} measured, {best} has the largest net gain, {net}; one seed is too few to "
            f"tell that from chance ({against})."
        )
    return (
        f"Of {count} measured, none gains more than it costs against this attacker; the best net "
        f"gain is that of {best}, {net} ({against})."
    )


NET_GAIN_NOTE = (
    "Net gain is MIDPUT's worst case: the fall in the strongest attack's balanced accuracy minus "
    "the fall in test accuracy."
)
