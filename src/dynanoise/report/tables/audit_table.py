"""Audits of the user's models: a table of attacks, and sentences on verdicts and utility."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from dynanoise.attacks.base import title_of
from dynanoise.core.result import AUDIT, SERVED, STRONGEST, Result
from dynanoise.report.numbers import change, rate, with_interval
from dynanoise.report.summary import Summary, attack_title, chosen_attacks
from dynanoise.report.table import Column, Row, Table, make_table, number_cell
from dynanoise.report.tables.measures_table import (
    blind_sentences,
    blind_warning,
    choices,
    measure_sentences,
)
from dynanoise.report.wording.level import NO_LEAK, Level, level
from dynanoise.report.wording.outputs import method_title, noise_name, outputs_title
from dynanoise.report.wording.threats import untested


def audit_caption(results: Sequence[Result]) -> str:
    """Explain the columns of the table of attacks.

    Args:
        results: those of one audit.
    """
    tpr = "TPR is the share of members found at a false positive rate."
    if not _tpr_names(results):
        tpr = "The records are too few for the share of members found at few false positives."
    return (
        f"Balanced accuracy is that of the attack's decisions, 0.5 is chance. {tpr} In brackets "
        "95% intervals. The attacker's choice is made on records of known membership, before it "
        "scores the target's."
    )


def out_of_scope(results: Sequence[Result]) -> str:
    """Write the sentence on what an audit does not cover.

    Args:
        results: those of the audit.
    """
    phrases = untested(result.threat for result in results)
    return f"Not covered by this audit: {', '.join(phrases)}."


def is_audit(results: Sequence[Result]) -> bool:
    """True for results of models that the user brought."""
    return bool(results) and all(result.preset == AUDIT for result in results)


def audit_title(result: Result) -> str:
    """The title of a page about the audit."""
    return f"Audit of {result.dataset}"


def audit_subject(result: Result) -> str:
    """Model, number of models and number of records."""
    count, records = result.counts["models"], result.counts["pool"]
    return f"{result.model}, {count} model{'' if count == 1 else 's'}, {records:,} records"


def audit_summaries(results: Sequence[Result]) -> dict[str, Summary]:
    """Summarise each query budget, with the attacks that were run on all outputs.

    Undefended outputs are the same for every query, so they are part of every summary. There is no
    utility where no test data were given.
    """
    baseline = [result for result in results if result.method == results[0].method]
    summaries = {}
    for name in dict.fromkeys(result.protocol for result in results):
        rows = [result for result in results if result.protocol == name]
        if rows[0].method != baseline[0].method:
            threat = rows[0].threat
            rows = [*(replace(row, protocol=name, threat=threat) for row in baseline), *rows]
        methods = tuple(dict.fromkeys(row.method for row in rows))
        run = [{row.attack for row in rows if row.method == method} for method in methods]
        attacks = dict.fromkeys(row.attack for row in rows if row.attack is not None)
        common = tuple(attack for attack in attacks if all(attack in names for names in run))
        summaries[name] = Summary(tuple(rows), methods, common, (results[0].seed,))
    return summaries


def audit_table(results: Sequence[Result]) -> Table:
    """Tabulate every attack; the attacker's choice for each kind of outputs and budget comes last.

    Args:
        results: those of one audit.
    """
    budgets = _budgets(results)
    attacks = [row for row in _of_attacks(results) if (row.method, row.protocol) in budgets]
    tpr_names = _tpr_names(results)
    rows: list[Row] = [
        [
            method_title(result.method),
            ", ".join(map(str, budgets[result.method, result.protocol])),
            _title(result),
            *(number_cell(result.metrics.get(name)) for name in ("asr", "auc", *tpr_names)),
        ]
        for result in attacks
    ]
    tprs = [f"TPR at {_percent(name)} FPR" for name in tpr_names]
    headings: list[str | Column] = [
        "Outputs",
        Column("Query budget", short="Queries"),
        Column("Attack", "left"),
        Column("Balanced accuracy", short="Bal. acc."),
        "AUC",
        *tprs,
    ]
    caption = f"{results[0].dataset}: {audit_subject(results[0])}"
    last = {index for index, result in enumerate(attacks) if result.attack == STRONGEST}
    return replace(make_table(caption, headings, rows, names=3), group_ends=frozenset(last))


def audit_sentences(results: Sequence[Result]) -> list[str]:
    """Write verdicts, utility, and the attackers that the audit does not cover.

    Args:
        results: those of one audit.
    """
    measured = [text for choice in choices(results) for text in measure_sentences(choice)]
    warning = blind_warning(results)
    return [
        *([warning] if warning else []),
        *audit_verdicts(results),
        *audit_utilities(results),
        *blind_sentences(results),
        *measured,
        out_of_scope(results),
    ]


def audit_headline(results: Sequence[Result]) -> str:
    """Write the finding in one line: the attacker's choice, undefended and behind a defense.

    Args:
        results: those of one audit.

    Returns:
        A sentence on each kind of outputs, at its largest query budget.
    """
    choices = {row.method: row for row in results if row.attack == STRONGEST}
    if not choices:
        return "Verdict: no attack was run."
    first, *others = choices.values()
    rated, count = _level(first), _found(first)
    finds = f"; of 100 members an attacker finds {count} at 1 false alarm in 100" if count else ""
    guessing = "non-members (guessing: 1; " if count else "("
    finding = "no leak was measured" if rated == NO_LEAK else f"membership leaks, level {rated}"
    area = f"AUC {with_interval(first.metrics['auc'])}"
    sentences = [f"Verdict: {finding}{finds} {guessing}{area})."]
    for result in others:
        queries, count = result.threat.repeats, _found(result)
        repeated = f", {queries} queries a record" if queries > 1 else ""
        rated, area = _level(result), f"AUC {with_interval(result.metrics['auc'])}"
        finding = NO_LEAK if rated == NO_LEAK else f"level {rated}"
        finds = f", it finds {count} ({area})" if count else f" ({area})"
        sentences.append(f"Behind {outputs_title(result)}{repeated}: {finding}{finds}.")
    return " ".join(sentences)


def _level(result: Result) -> Level:
    """Level of the leak, as on the first page of the report."""
    return level(result.metrics["auc"], result.metrics.get("tpr@0.01"))[0]


def _found(result: Result) -> str:
    """Members among 100 that are found at one false alarm in 100; empty where it is unresolved."""
    tpr = result.metrics.get("tpr@0.01")
    return "" if tpr is None else with_interval(tpr, lambda share: f"{100 * share:.0f}")


def audit_verdicts(results: Sequence[Result]) -> list[str]:
    """Write a sentence on the attacker's choice for each kind of outputs and query budget."""
    sentences, budgets = [], _budgets(results)
    for result in results:
        if result.attack != STRONGEST or (result.method, result.protocol) not in budgets:
            continue
        counts = budgets[result.method, result.protocol]
        metrics = result.metrics
        tprs = [
            f"{with_interval(metrics[name])} of the members at {_percent(name)} false positives"
            for name in _tpr_names([result])
        ]
        finds = f", and finds {' and '.join(tprs)}" if tprs else ""
        sentences.append(
            f"{_outputs(result)}, {_queries(result, counts)}: {_choice(result)}, the attacker's "
            f"choice, has balanced accuracy {with_interval(metrics['asr'])} (0.5 is chance) and "
            f"AUC {with_interval(metrics['auc'])}{finds}{_better(results, result)}. "
            f"{audit_threat(result)}"
        )
    return sentences


def audit_utilities(results: Sequence[Result]) -> list[str]:
    """Write the utility of outputs, and the gain of a defense beyond its cost."""
    rows = {result.method: result for result in results if result.attack is None}
    sentences = []
    for method, result in rows.items():
        metrics = result.metrics
        outputs = "undefended" if method == "none" else f"behind {method}"
        text = (
            f"Accuracy {outputs}: {with_interval(metrics['accuracy'])} on "
            f"{result.counts['test']:,} test records, {rate(metrics['train_accuracy'].value)} on "
            "members"
        )
        if method != "none":
            flips = rate(metrics["label_flips"].value)
            text += f"; {flips} of the labels are not the model's own{_trade(results, method)}"
        sentences.append(f"{text}.")
    return sentences


def _budgets(results: Sequence[Result]) -> dict[tuple[str, str], list[int]]:
    """Query budgets by method and protocol.

    Budgets at which every attack has the same success stand with the first of them: outputs that
    repeat are the same at every budget, and a reader should not have to compare two tables.
    """
    blocks: dict[tuple[str, str], list[object]] = {}
    for row in _of_attacks(results):
        block = blocks.setdefault((row.method, row.protocol), [row.threat.chosen])
        block.append((row.attack, row.metrics))
    threats = {(row.method, row.protocol): row.threat for row in results}
    budgets: dict[tuple[str, str], list[int]] = {}
    for place, block in blocks.items():
        first = next(
            each for each, other in blocks.items() if each[0] == place[0] and other == block
        )
        budgets.setdefault(first, []).append(threats[place].repeats)
    return budgets


def _of_attacks(results: Iterable[Result]) -> list[Result]:
    return [result for result in results if result.attack is not None]


def _tpr_names(results: Sequence[Result]) -> list[str]:
    names = {name for row in _of_attacks(results) for name in row.metrics if name[:4] == "tpr@"}
    return sorted(names, key=lambda name: float(name[4:]))


def _percent(name: str) -> str:
    return f"{100 * float(name[4:]):g}%"


def _title(result: Result) -> str:
    title = attack_title(str(result.attack))
    return f"{title}: {_choice(result)}" if result.attack == STRONGEST else title


def _choice(result: Result) -> str:
    """The chosen attacks with their counts, such as "LiRA (14 of 16), Gap (2 of 16)"."""
    counts = chosen_attacks(result)
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    if len(ranked) == 1:
        return title_of(ranked[0][0])
    return ", ".join(f"{title_of(name)} ({count} of {total})" for name, count in ranked)


def _better(results: Sequence[Result], choice: Result) -> str:
    """The best single attack on the same outputs, where it has more success than the choice."""
    same = (choice.method, choice.protocol)
    rows = [row for row in _of_attacks(results) if (row.method, row.protocol) == same]
    best = max(rows, key=lambda row: row.metrics["asr"].value)
    success = best.metrics["asr"]
    if rate(success.value) <= rate(choice.metrics["asr"].value):
        return ""
    title = attack_title(str(best.attack))
    return f"; the best single attack, {title}, has balanced accuracy {with_interval(success)}"


def _outputs(result: Result) -> str:
    if result.method == "none":
        return "Undefended outputs"
    if result.method == SERVED:
        return "Outputs of the server"
    plain = {k: v for k, v in result.defense.items() if isinstance(v, int | float | str)}
    values = [f"{name}={value}" for name, value in plain.items() if name != "name"]
    noise = noise_name(result.defense)
    drawn = f" with {noise} noise" if noise else ""
    return f"Outputs behind {result.method}({', '.join(values)}){drawn}"


def _queries(result: Result, budgets: Sequence[int]) -> str:
    """The query budget of a result, or those that have the same results."""
    if list(budgets) == [1]:
        return "1 query a record"
    counts = f"{' or '.join(map(str, budgets))} queries a record"
    if result.threat.chosen:
        return f"{counts}, with inputs of the attacker's choice"
    return counts if len(budgets) > 1 else f"{counts}, averaged"


def audit_threat(result: Result) -> str:
    """Describe the threat model of a result of an audit, and the sample of its intervals."""
    knows = ""
    if result.method == SERVED and not result.threat.knows_defense:
        knows = "does not know the server's defense, "
    elif result.method != "none":
        knows = "knows the defense and its parameters (not its random draws), "
    models = result.counts["models"]
    if "shadow_models" in result.counts:
        return (
            f"Threat model: an attacker who sees all probabilities, {knows}chooses each input by "
            f"earlier outputs, and has {result.counts['shadow_models']} shadow models trained here "
            "on random halves of the same records. 95% intervals over the records of this one "
            "model."
        )
    if models == 1:
        return (
            f"Threat model: an attacker who sees all probabilities, {knows}knows of half of the "
            "records whether they are members, and has no shadow models; an attacker with shadow "
            "models may find more. 95% intervals over the records of this one model."
        )
    return (
        f"Threat model: an attacker who sees all probabilities, {knows}and has {models - 1} shadow "
        "models trained on random parts of the same records, here the other models. "
        "95% intervals over models and records."
    )


def _trade(results: Sequence[Result], method: str) -> str:
    budgets = _budgets(results)
    values = [
        f"{with_interval(row.metrics['midput'], change)} at "
        f"{_queries(row, budgets[method, row.protocol]).removesuffix(', averaged')}"
        for row in results
        if row.attack is None and row.method == method and (method, row.protocol) in budgets
    ]
    return f"; MIDPUT {', '.join(values)}"
