"""Further measures of an audit: precision, groups, epsilon, and agreement of attacks."""

from __future__ import annotations

from collections.abc import Sequence

from dynanoise.core.result import STRONGEST, Metric, Result
from dynanoise.metrics.epsilon import are_fair_coins
from dynanoise.metrics.groups import GroupMetric
from dynanoise.report.numbers import rate, with_interval
from dynanoise.report.summary import attack_title
from dynanoise.report.table import Column, Row, Table, make_table, number_cell
from dynanoise.report.wording.outputs import method_title, outputs_title
from dynanoise.report.wording.warnings import WARNING

MOST_GROUPS = 20
"""Groups in the table: those with the largest AUC."""

_PRIOR = "ppv@"
_RATES = {"tpr": "TPR", "fpr": "FPR"}
_OF_GROUP = {"asr": "Balanced accuracy", "auc": "AUC", "tpr@0.01": "TPR at 1% FPR"}

PRECISION_NOTE = (
    "Precision is the share of members among the records that an attack calls members, at its "
    "threshold, if the given share of all records that it scores are members."
)
GROUPS_NOTE = (
    "Intervals of groups hold for all of them at once (Bonferroni). Groups of which a model has "
    "fewer than 20 members or non-members are left out."
)
AGREEMENT_NOTE = (
    "Members that each attack finds at 1% false positives, and those that no other attack finds."
)


def precision_table(results: Sequence[Result]) -> Table | None:
    """Tabulate precision at several shares of members; None where it was not measured."""
    rows_of = [result for result in results if any(n.startswith(_PRIOR) for n in result.metrics)]
    if not rows_of:
        return None
    priors = [name for name in rows_of[0].metrics if name.startswith(_PRIOR)]
    rows: list[Row] = [
        [*_names(row), *(number_cell(row.metrics.get(name)) for name in (*_RATES, *priors))]
        for row in rows_of
    ]
    shares = [f"{100 * float(name.removeprefix(_PRIOR)):g}% members" for name in priors]
    headings = [*_HEADINGS, *_RATES.values(), *shares]
    return make_table("Precision, with 95% intervals", headings, rows, names=3)


def group_table(result: Result) -> Table | None:
    """Tabulate the success of the attacker's choice by group; None without groups."""
    groups = _groups(result)
    if not groups:
        return None
    ranked = sorted(groups, key=lambda name: -groups[name]["auc"].value)[:MOST_GROUPS]
    names = [name for name in _OF_GROUP if any(name in of_group for of_group in groups.values())]
    listed = {"all records": result.metrics, **{group: groups[group] for group in ranked}}
    rows: list[Row] = [
        [group, *(number_cell(metrics.get(name)) for name in names)]
        for group, metrics in listed.items()
    ]
    count = f"{len(ranked)} of {len(groups)} groups" if len(ranked) < len(groups) else "groups"
    caption = f"Attacker's choice by group, {outputs_title(result)}: {count}"
    return make_table(caption, ["Group", *(_OF_GROUP[name] for name in names)], rows)


def agreement_table(results: Sequence[Result]) -> Table | None:
    """Tabulate the members that each attack finds, and finds alone; None if it is unknown."""
    rows: list[Row] = [
        [*_names(row), rate(row.metrics["found"].value), rate(row.metrics["found_alone"].value)]
        for row in results
        if "found" in row.metrics
    ]
    if not rows:
        return None
    headings = [*_HEADINGS, "Members found", "by no other attack"]
    return make_table("Members found at 1% false positives", headings, rows, names=3)


def measure_sentences(result: Result) -> list[str]:
    """Write precision, groups, agreement and epsilon of the attacker's choice in sentences.

    Args:
        result: the attacker's choice on outputs of one kind.

    Returns:
        Sentences; none for results without these measures.
    """
    return [*_precision(result), *_group(result), *_agreement(result), *_epsilon(result)]


def choices(results: Sequence[Result]) -> list[Result]:
    """The attacker's choice on each kind of outputs, at the largest query budget."""
    last = {result.method: result for result in results if result.attack == STRONGEST}
    return list(last.values())


def blind_warning(results: Sequence[Result]) -> str:
    """Warn if members and non-members differ without the model; "" if they do not.

    Args:
        results: those of one audit.
    """
    for name, metric in _blind(results):
        if (metric.low or 0) > 0.5:
            return (
                f"{WARNING}members and non-members differ without the model. A classifier that "
                f"sees {_BLIND[name]} alone has AUC {with_interval(metric)}, so every number below "
                "is inflated and epsilon has no bound: draw members and non-members alike."
            )
    return ""


def blind_sentences(results: Sequence[Result]) -> list[str]:
    """Write that members and non-members look alike without the model, where they do."""
    if blind_warning(results):
        return []
    return [
        f"Blind baseline: a classifier that sees {_BLIND[name]} alone does not tell members from "
        f"non-members, AUC {with_interval(metric)}."
        for name, metric in _blind(results)
    ]


_BLIND = {"blind_auc": "inputs and labels", "blind_auc_labels": "labels"}


def _blind(results: Sequence[Result]) -> list[tuple[str, Metric]]:
    """The AUC of the blind baseline, which all results of an audit share."""
    for result in results:
        metrics = [(name, result.metrics[name]) for name in _BLIND if name in result.metrics]
        if metrics:
            return metrics
    return []


_HEADINGS: list[str | Column] = [
    "Outputs",
    Column("Query budget", short="Queries"),
    Column("Attack", "left"),
]


def _names(result: Result) -> list[str]:
    return [
        method_title(result.method),
        str(result.threat.repeats),
        attack_title(str(result.attack)),
    ]


def _groups(result: Result) -> dict[str, dict[str, Metric]]:
    groups: dict[str, dict[str, Metric]] = {}
    for name, metric in result.metrics.items():
        parsed = GroupMetric.parse(name)
        if parsed is not None:
            groups.setdefault(f"{parsed.column}={parsed.value}", {})[parsed.metric] = metric
    return groups


def _precision(result: Result) -> list[str]:
    priors = [name for name in result.metrics if name.startswith(_PRIOR)]
    if not priors:
        return []
    shares = [
        f"{with_interval(result.metrics[name])} where {100 * float(name[len(_PRIOR) :]):g}% are "
        "members"
        for name in priors
    ]
    outputs = outputs_title(result)
    fpr, tpr = result.metrics.get("fpr"), result.metrics.get("tpr@0.01")
    at = "" if fpr is None else f" at its threshold (FPR {rate(fpr.value)})"
    few = ""
    if tpr is not None:
        precision = _precision_at_one_percent(tpr)
        few = f"; at 1% FPR {with_interval(precision)} where 1% are members"
    return [
        f"Precision ({outputs}): of the records that the attacker calls members{at}, the "
        f"share of members is {', '.join(shares)}{few}."
    ]


def _precision_at_one_percent(tpr: Metric) -> Metric:
    """Precision at 1% FPR where 1% of the records are members, from the TPR there.

    >>> round(_precision_at_one_percent(Metric(0.18)).value, 3)  # 0.18 / (0.18 + 0.99)
    0.154
    """
    ends = (
        None if share is None else share / (share + 0.99)
        for share in (tpr.value, tpr.low, tpr.high)
    )
    value, low, high = ends
    return Metric(value or 0.0, low, high)


def _group(result: Result) -> list[str]:
    groups = _groups(result)
    if not groups:
        return []
    overall, outputs = result.metrics["auc"], outputs_title(result)
    above = [
        f"{group} has AUC {with_interval(metrics['auc'])}"
        for group, metrics in groups.items()
        if (metrics["auc"].low or 0) > max(0.5, overall.value)
    ]
    together = f"{len(groups)} groups at once" if len(groups) > 1 else "this group"
    beside = f"all together have {rate(overall.value)}; intervals hold for {together}"
    if above:
        return [f"Groups that leak more ({outputs}): {'; '.join(above)}; {beside}."]
    return [
        f"Groups ({outputs}): none of {len(groups)} leaks more than all together, at "
        "95% for all groups at once."
    ]


def _agreement(result: Result) -> list[str]:
    shares = [name for name in result.metrics if name.startswith("found_by_")]
    if len(shares) < 2:
        return []
    first, second, last = (result.metrics[name].value for name in (*shares[:2], shares[-1]))
    outputs = outputs_title(result)
    every = f", {rate(last)} by all {len(shares)}" if len(shares) > 2 else ""
    return [
        f"Agreement ({outputs}): at 1% false positives {rate(first)} of the members are "
        f"found by at least one attack, {rate(second)} by at least two{every}."
    ]


def _epsilon(result: Result) -> list[str]:
    if "epsilon" not in result.metrics:
        members = result.counts.get("scored_members", 0)
        scored = members + result.counts.get("scored_non_members", 0)
        if "fpr" not in result.metrics or are_fair_coins(members, scored):
            return []  # not measured, or a warning says why
        return [
            f"Epsilon has no bound: {members / scored:.0%} of the scored records, or persons, are "
            "members, and a bound needs a fair coin for each."
        ]
    outputs = outputs_title(result)
    pure, with_delta, gaussian = (
        f"{result.metrics[name].value:.2f}" for name in ("epsilon", "epsilon_delta", "epsilon_f_dp")
    )
    return [
        f"Epsilon ({outputs}) is at least {pure} (95%, pure DP), {with_delta} at delta = "
        f"1e-5, or {gaussian} at delta = 1e-5 for training with a Gaussian's privacy curve, if a "
        "fair coin of its own decided the membership of each record, or person. A small bound "
        "does not show privacy."
    ]
