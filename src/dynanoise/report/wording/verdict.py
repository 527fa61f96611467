"""The verdict of a benchmark in plain words: leak, attackers, gain and cost of each defense.

Every sentence with a number names its threat model, its query budget and its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynanoise.core.errors import InputError
from dynanoise.core.result import OVERHEAD, STRONGEST, Metric, Result
from dynanoise.report import numbers
from dynanoise.report.numbers import change
from dynanoise.report.summary import Summary, by_protocol, method_names
from dynanoise.report.wording import threats
from dynanoise.report.wording.threats import budget, under

NET_GAIN_NOTE = (
    "Net gain is MIDPUT's worst case: the fall in balanced accuracy of the attacker's choice, or "
    "of the best attack where there is no choice, minus the fall in test accuracy."
)

_TPRS = {"tpr@0.001": "0.1%", "tpr@0.01": "1%"}

_COSTS = {
    "accuracy": "test accuracy",
    "ece": "calibration error",
    "nll": "negative log-likelihood (nats)",
    "label_flips": "changed labels",
}


@dataclass(frozen=True)
class Verdict:
    """The plain-language part of a report.

    Attributes:
        warning: a sentence if the honest protocol was not run; empty if it was.
        leaks: the leak of the undefended model, a sentence for each protocol.
        attackers: their descriptions, likewise.
        best: the defense that gains most, in a sentence.
        best_defense: its name; empty if no defense was measured.
        defenses: by name, the change by each defense, and its cost (empty where it was not run).
        scope: attackers that were not tested.
    """

    warning: str
    leaks: tuple[str, ...]
    attackers: tuple[str, ...]
    best: str
    best_defense: str
    defenses: Mapping[str, tuple[str, str]]
    scope: str


def rank_protocols(results: Sequence[Result]) -> dict[str, Summary]:
    """Summarise each protocol: those of other attackers first, then honest ones by query budget.

    Raises:
        InputError: if the results are of time and memory, or not all those of one run.
    """
    if any(result.protocol == OVERHEAD for result in results):
        raise InputError(
            "These results are of time and memory; they measure no attack.",
            "Pass results of attacks, or print these with `dynanoise show`.",
        )
    summaries = by_protocol(results)

    def rank(name: str) -> tuple[bool, bool, bool, int]:
        threat = summaries[name].threat
        return threats.honest(threat), threat.chosen, threat.augmented, threat.repeats

    return {name: summaries[name] for name in sorted(summaries, key=rank)}


def honest(summaries: Mapping[str, Summary]) -> dict[str, Summary]:
    """Select protocols whose attacker knows the defense and has models like the target."""
    return {name: s for name, s in summaries.items() if threats.honest(s.threat)}


def verdict(summaries: Mapping[str, Summary]) -> Verdict:
    """Write the verdict of summaries as `rank_protocols` orders them."""
    main = honest(summaries) or dict(summaries)
    baseline = next(iter(summaries.values())).methods[0]
    methods = method_names(summaries.values())
    defenses = {name: _defense(name, main, baseline) for name in methods if name != baseline}
    leaks = _merged([(_leak(summary, baseline), summary) for summary in main.values()])
    leaks += [_other(summary, baseline) for name, summary in summaries.items() if name not in main]
    attackers = [
        f"{threats.threat_sentence(summary.threat)} {threats.interval_sentence(summary)}"
        for summary in summaries.values()
    ]
    warning, scope = _warning(summaries), _scope(summaries)
    best, name = _best(main, baseline)
    return Verdict(warning, tuple(leaks), tuple(attackers), best, name, defenses, scope)


def _warning(summaries: Mapping[str, Summary]) -> str:
    if honest(summaries):
        return ""
    attackers = dict.fromkeys(threats.attacker(summary.threat) for summary in summaries.values())
    return (
        f"The honest protocol was not run. Everything below is about {', and '.join(attackers)}; "
        "it says nothing about an attacker who knows the defense, lacks its key, has shadow models "
        "like the target and repeats queries. Run `dynanoise bench` with --protocol adaptive "
        "before relying on any of it."
    )


def _scope(summaries: Mapping[str, Summary]) -> str:
    phrases = threats.untested(summary.threat for summary in summaries.values())
    phrases.append("data other than these")
    return f"Not tested, so not covered by any sentence here: {', '.join(phrases)}."


def _leak(summary: Summary, baseline: str) -> str:
    """The leak of the undefended model to one attacker."""
    title, success = summary.success(baseline)
    more = _better(summary, baseline)
    if STRONGEST in summary.attacks:
        auc = summary.metric(baseline, STRONGEST, "auc")
        more += [] if auc is None else [f"AUC {_text(auc)}"]
        for name, rate in _TPRS.items():
            tpr = summary.metric(baseline, STRONGEST, name)
            more += [] if tpr is None else [f"{_text(tpr)} of members at {rate} FPR"]
    lead = "Undefended, outputs reveal which records were in the training data"
    if success.low is None:
        lead = "Undefended, attacks were measured once"
    elif success.low <= 0.5:
        lead = "Undefended, no leak was measured"
    return (
        f"{lead}: the {summary.deciding} ({title}) tells members from non-members with balanced "
        f"accuracy {_text(success)}, where 0.5 is guessing{'; ' if more else ''}{', '.join(more)}"
    )


def _better(summary: Summary, method: str) -> list[str]:
    """The best single attack, where it has more success than the attacker's choice."""
    better = summary.better(method)
    return [] if better is None else [f"the best single attack ({better[0]}) {_text(better[1])}"]


def _text(metric: Metric, write: numbers.Write = numbers.rate) -> str:
    return numbers.with_interval(metric, write, "(no interval)")


def _merged(sentences: Sequence[tuple[str, Summary]]) -> list[str]:
    """Sentences with their threat models; equal ones are merged into one."""
    by_text: dict[str, list[str]] = {}
    for text, summary in sentences:
        by_text.setdefault(text, []).append(under(summary.threat))
    return [f"{text} ({'; '.join(names)}; 95% intervals)." for text, names in by_text.items()]


def _other(summary: Summary, baseline: str) -> str:
    """The success of an attacker who is not an honest one, beside those who are."""
    parts = []
    for name in summary.methods:
        _, success = summary.success(name)
        parts.append(f"{_text(success)} {'undefended' if name == baseline else f'with {name}'}")
    attacker = threats.attacker(summary.threat)
    hindsight = "" if STRONGEST in summary.attacks else " in hindsight"
    return (
        f"{attacker[0].upper()}{attacker[1:]} reaches {', '.join(parts)} "
        f"({under(summary.threat)}, {summary.deciding}{hindsight}, 95% intervals). "
        f"{threats.caution(summary.threat)}"
    )


def _net(summary: Summary, name: str) -> Metric:
    return summary.spread(name, None, "midput_worst_case").interval


def _sign(metric: Metric) -> int | None:
    """1 for a clear gain, -1 for a clear loss, 0 for neither; None without an interval."""
    if metric.low is None or metric.high is None:
        return None
    return (metric.low > 0) - (metric.high < 0)


def _defense(name: str, summaries: Mapping[str, Summary], baseline: str) -> tuple[str, str]:
    """The change by one defense against each attacker, and its cost."""
    run = [summary for summary in summaries.values() if name in summary.methods]
    if not run:
        models = "; ".join(under(summary.threat) for summary in summaries.values())
        return f"{name} was not run here ({models}): no interval and no verdict on it.", ""
    gains = []
    for summary in run:
        title, after = summary.success(name)
        _, before = summary.success(baseline)
        better = "".join(f"; {text}" for text in _better(summary, name))
        gains.append(
            (
                f"the {summary.deciding} ({title}) has {_text(after)} instead of {_text(before)}, "
                f"a net gain of {_text(_net(summary, name), change)}{better}",
                summary,
            )
        )
    sentences = " ".join(text[0].upper() + text[1:] for text in _merged(gains))
    return f"{_lead(name, run)}: {sentences}", _cost(run[-1], name, baseline)


def _lead(name: str, run: Sequence[Summary]) -> str:
    """The judgement that the intervals of the net gain allow."""
    nets = [_net(summary, name) for summary in run]
    signs = [_sign(net) for net in nets]
    if None in signs:
        return f"{name} was run too few times for a judgement"
    if all(net.low == net.high == 0 for net in nets):
        return f"{name} changes nothing for this attacker"
    if all(sign == 1 for sign in signs):
        return f"{name} gains more than it costs{_against(run)}"
    if 1 not in signs:
        worse = all(sign == -1 for sign in signs)
        return f"{name} costs more than it gains" if worse else f"{name} has no measurable net gain"
    good = [summary for summary, sign in zip(run, signs, strict=True) if sign == 1]
    bad = [summary for summary, sign in zip(run, signs, strict=True) if sign != 1]
    at, not_at = (", ".join(budget(run.threat) for run in part) for part in (good, bad))
    return f"{name} gains more than it costs at {at}, but not at {not_at}"


def _against(summaries: Sequence[Summary]) -> str:
    """The attackers' names beside a gain, where they are not honest ones."""
    others = [s.threat for s in summaries if not threats.honest(s.threat)]
    names = dict.fromkeys(threats.attacker(threat, "it") for threat in others)
    return "".join(f" against {name}" for name in names)


def _cost(summary: Summary, name: str, baseline: str) -> str:
    """Accuracy, calibration and labels, before and after."""
    parts = []
    for metric, title in _COSTS.items():
        after, before = (summary.metric(method, None, metric) for method in (name, baseline))
        if after is None or before is None:
            continue
        if metric != "label_flips" or after.value > 0:
            parts.append(f"{title} {_text(after)} instead of {_text(before)}")
    return f"Cost: {', '.join(parts)} ({under(summary.threat)}, 95% intervals)."


def _best(summaries: Mapping[str, Summary], baseline: str) -> tuple[str, str]:
    """The defense that gains most against the largest query budget: a sentence, and its name."""
    summary = list(summaries.values())[-1]
    nets = {name: _net(summary, name) for name in summary.methods if name != baseline}
    against = f"{under(summary.threat)}, 95% intervals"
    if not nets:
        return f"No defense was measured against this attacker ({under(summary.threat)}).", ""
    best = max(nets, key=lambda name: nets[name].value)
    count = f"{len(nets)} defenses" if len(nets) > 1 else "one defense"
    net = _text(nets[best], change)
    sign = _sign(nets[best])
    if sign == 1:
        accuracy, before = (
            summary.spread(name, None, "accuracy").interval for name in (best, baseline)
        )
        _, after = summary.success(best)
        remains = after.low is not None and after.low > 0.5
        left = " It reduces the leak; it does not end it." if remains else ""
        return (
            f"Of {count} measured, {best} gains most{_against([summary])}: a net gain of {net}, "
            f"with test accuracy {_text(accuracy)} instead of {_text(before)} ({against}).{left}"
        ), best
    if sign is None:
        return (
            f"Of {count} measured, {best} has the largest net gain, {net}; one seed is too few to "
            f"tell that from chance ({against})."
        ), best
    return (
        f"Of {count} measured, none gains more than it costs against this attacker; the best net "
        f"gain is that of {best}, {net} ({against})."
    ), best
