"""Protocols stand beside each other, with their threat models."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dynanoise.core.result import Metric, Result
from dynanoise.evaluation.protocols import ADAPTIVE
from dynanoise.report.pages import build_page
from dynanoise.report.render.markdown import table_markdown
from dynanoise.report.summary import by_protocol
from dynanoise.report.tables.comparison import comparison_notes, comparison_table
from tests.factories.results import record, records, utility


def pool_records(absent: str = "") -> list[Result]:
    """One seed, three methods; the attacker chose LiRA against most targets."""
    rows = []
    for name, asr in (("none", 0.70), ("temperature", 0.70), ("dynanoise", 0.69)):
        if name == absent:
            continue
        own = Metric(asr, asr - 0.02, asr + 0.02)
        chosen = {"chosen lira": Metric(14), "chosen gap": Metric(2)}
        choice = replace(record(name, "strongest", 0, auc=0.8), metrics={
            "asr": own, "auc": Metric(0.8, 0.7, 0.9), **chosen,
        })  # fmt: skip
        cost = utility(name, 0, 0.9, 0.01)
        metrics = {
            **cost.metrics,
            "accuracy": Metric(0.81),
            "midput_worst_case": Metric(-0.004, -0.01, 0.002),
        }
        rows += [record(name, "lira", 0, asr=asr + 0.01, auc=0.8), choice]
        rows.append(replace(cost, metrics=metrics))
    counts = {"models": 16, "pool": 600}
    return [
        replace(row, protocol="adaptive", threat=ADAPTIVE.threat, counts=counts) for row in rows
    ]


def test_the_attackers_own_choice_is_named_with_its_interval() -> None:
    judged = by_protocol([*records(), *pool_records()])
    assert list(judged) == ["paper", "adaptive"]
    name, found = judged["adaptive"].success("dynanoise")
    assert (name, found.value) == ("LiRA", 0.69)  # not the 0.70 of hindsight
    assert [found.low, found.high] == pytest.approx([0.67, 0.71])
    name, found = judged["paper"].success("none")
    assert name == "Confidence" and found.value == pytest.approx(0.61)


def test_the_table_has_both_and_what_was_not_run() -> None:
    judged = by_protocol([*records(), *pool_records(absent="dynanoise")])
    lines = table_markdown(comparison_table(judged)).splitlines()
    paper = "paper: best attack | MIDPUT | worst"
    adaptive = "adaptive: attacker's choice | MIDPUT | worst"
    assert lines[0] == f"| Method | Test acc. | {paper} | Test acc. | {adaptive} |"
    cells = {line.split(" | ")[0].strip("| "): line for line in lines[2:]}
    assert "0.700 [0.680, 0.720]<br>LiRA" in cells["temperature"]
    assert "-0.004 [-0.010, +0.002]" in cells["temperature"]
    # Each protocol has the accuracy of the models that it attacks.
    assert [cells["temperature"].split(" | ")[at] for at in (1, 5)] == ["0.900", "0.810"]
    assert cells["dynanoise"].endswith("|  | not run |  |  |")
    assert any(
        "Not run under every protocol: dynanoise" in note for note in comparison_notes(judged)
    )


def test_markdown_has_a_table_for_each_of_several_protocols() -> None:
    further = [
        replace(row, protocol=f"adaptive_{queries}")
        for queries in (4, 16)
        for row in pool_records()
    ]
    parts = table_markdown(comparison_table(by_protocol([*pool_records(), *further]))).split("\n\n")
    headings = [part.splitlines()[0] for part in parts]
    assert headings == [
        f"| Method | Test acc. | {name}: attacker's choice | MIDPUT | worst |"
        for name in ("adaptive", "adaptive_4", "adaptive_16")
    ]
    assert all(part.count("| dynanoise |") == 1 for part in parts)


def test_every_protocol_comes_with_its_threat_model() -> None:
    page = build_page([*records(), *pool_records()])
    text = " ".join(page.sentences)
    assert text.count("Threat model 'paper', 1 query a record: an attacker with") == 1
    assert "does not know of the defense, and has shadow models of the same kind" in text
    assert text.count("Threat model 'adaptive', 1 query a record: an attacker with") == 1
    assert "16 models and 600 records, each model the target once" in text
    assert page.markdown.count("| none |") == 2
    only = build_page(pool_records())
    assert only.markdown.count("| none |") == 1 and "does not know" not in " ".join(only.sentences)
