"""The plain-language verdict: numbers come from results, and every claim has its conditions."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dynanoise.core.errors import InputError
from dynanoise.core.result import OVERHEAD, AttackProtocol, Metric, Result
from dynanoise.evaluation.protocols import KEY_KNOWN, PAPER, adaptive, mismatched
from dynanoise.report.wording.verdict import Verdict, rank_protocols, verdict
from tests.factories.evidence import paper_records, pool_records


def judged(records: list[Result]) -> Verdict:
    return verdict(rank_protocols(records))


def sentences(found: Verdict) -> list[str]:
    gains = [text for pair in found.defenses.values() for text in pair if text]
    return [*found.leaks, found.best, *gains]


def with_net(records: list[Result], protocol: str, low: float, high: float) -> list[Result]:
    """The same with another net gain behind the defense."""
    net = Metric((low + high) / 2, low, high)
    return [
        replace(row, metrics={**row.metrics, "midput_worst_case": net})
        if (row.protocol, row.method, row.attack) == (protocol, "noise", None)
        else row
        for row in records
    ]


BOTH = [*paper_records(), *pool_records(1), *pool_records(16)]


@pytest.mark.parametrize(
    "records", [BOTH, paper_records(), pool_records(16), paper_records(seeds=1)]
)
def test_every_sentence_names_threat_budget_and_interval(records: list[Result]) -> None:
    found = judged(records)
    for sentence in sentences(found):
        assert re.search(r"threat model '(paper|adaptive|adaptive_16)', \d+ quer", sentence), (
            sentence
        )
        assert re.search(r"\[[-+.\d]+, [-+.\d]+\]|no interval", sentence), sentence
    for sentence in found.attackers:
        assert re.search(r"^Threat model '\w+', \d+ quer.*95% intervals are", sentence), sentence


@pytest.mark.parametrize("records", [BOTH, paper_records()])
def test_no_promise_is_made(records: list[Result]) -> None:
    found = judged(records)
    text = " ".join([*sentences(found), *found.attackers, found.scope, found.warning])
    assert not re.search(r"\b(secure|safe|guarantee|anonym|impossible)", text, re.IGNORECASE)
    for said in (
        "white-box",
        "observation of the training",
        "extraction of the model",
        "earlier versions",
    ):
        assert said in found.scope
    assert "near-duplicates" in found.scope


def test_near_duplicates_that_were_asked_are_not_said_to_be_untested() -> None:
    near = adaptive(near=True)
    asked = [
        replace(one, protocol=near.name, threat=near.threat)
        for one in BOTH
        if one.protocol == "adaptive"
    ]
    found = judged([*BOTH, *asked])
    assert "near-duplicates" not in found.scope
    assert "1 query a record and of each near-duplicate" in found.attackers[-1]


def test_what_leaks_is_said_with_its_numbers() -> None:
    leak = judged(pool_records(1)).leaks[0]
    assert leak == (
        "Undefended, outputs reveal which records were in the training data: the attacker's choice "
        "(LiRA) tells members from non-members with balanced accuracy 0.620 [0.610, 0.630], where "
        "0.5 is guessing; AUC 0.680 [0.670, 0.690], 0.100 [0.090, 0.110] of members at 1% FPR "
        "(threat model 'adaptive', 1 query a record; 95% intervals)."
    )


def test_no_leak_is_claimed_where_guessing_is_in_the_interval() -> None:
    rows = [
        replace(row, metrics={**row.metrics, "asr": Metric(0.51, 0.49, 0.53)})
        if row.attack == "strongest"
        else row
        for row in pool_records(1)
    ]
    assert judged(rows).leaks[0].startswith("Undefended, no leak was measured: ")


def test_what_is_the_same_for_two_attackers_is_said_once() -> None:
    found = judged([*pool_records(1), *pool_records(16)])
    assert len(found.leaks) == 1
    assert "'adaptive', 1 query a record; threat model 'adaptive_16', 16 queries" in found.leaks[0]


@pytest.mark.parametrize(
    ("once", "often", "lead"),
    [
        ((0.02, 0.06), (0.01, 0.03), "noise gains more than it costs: "),
        (
            (0.02, 0.06),
            (-0.02, 0.01),
            "noise gains more than it costs at 1 query a record, but not at 16 queries a record: ",
        ),
        ((-0.02, 0.06), (-0.02, 0.01), "noise has no measurable net gain: "),
        ((-0.06, -0.01), (-0.05, -0.02), "noise costs more than it gains: "),
        ((0.0, 0.0), (0.0, 0.0), "noise changes nothing for this attacker: "),
    ],
)  # fmt: skip
def test_the_lead_follows_from_the_intervals(
    once: tuple[float, float], often: tuple[float, float], lead: str
) -> None:
    rows = with_net([*pool_records(1), *pool_records(16)], "adaptive", *once)
    gain, cost = judged(with_net(rows, "adaptive_16", *often)).defenses["noise"]
    assert gain.startswith(lead)
    assert cost.startswith("Cost: test accuracy 0.890 [0.885, 0.895] instead of 0.900 [")
    assert "calibration error 0.120" in cost and "changed labels 0.010" in cost


def test_the_best_defense_is_named_or_none_is() -> None:
    rows = [*pool_records(1), *pool_records(16)]
    gained = judged(with_net(rows, "adaptive_16", 0.01, 0.05)).best
    assert gained.startswith("Of one defense measured, noise gains most: a net gain of +0.030")
    assert "accuracy 0.890" in gained and gained.endswith("it does not end it.")
    nothing = judged(with_net(rows, "adaptive_16", -0.01, 0.02)).best
    assert "none gains more than it costs against this attacker" in nothing


def test_the_attacker_who_asks_most_decides() -> None:
    """A defense that only helps against one query fixes nothing."""
    rows = with_net([*pool_records(16), *pool_records(1)], "adaptive", 0.05, 0.09)
    assert "none gains" in judged(with_net(rows, "adaptive_16", -0.03, 0.0)).best


def test_the_paper_alone_is_warned_of_and_qualified() -> None:
    found = judged(paper_records())
    assert found.warning.startswith("The honest protocol was not run.")
    gain, _ = found.defenses["noise"]
    assert gain.startswith("noise gains more than it costs against an attacker who does not know")
    assert "against an attacker who does not know of it" in found.best
    assert judged(BOTH).warning == ""


def test_beside_honest_attackers_the_papers_proves_nothing() -> None:
    found = judged(BOTH)
    assert "0.500" in found.leaks[-1] and found.leaks[-1].endswith("not that nothing leaks.")
    assert "'paper'" not in found.best


def under(protocol: AttackProtocol) -> list[Result]:
    """The same results under another protocol, whose design decides what is counted."""
    rows = pool_records(1) if protocol.design == "pool" else paper_records()
    return [replace(row, protocol=protocol.name, threat=protocol.threat) for row in rows]


OTHERS = {
    PAPER: "an attacker who does not know of it",
    KEY_KNOWN: "an attacker who knows it and the secret key of its noise",
    mismatched("architecture"): (
        "an attacker who knows it and has shadow models of another architecture"
    ),
    mismatched(
        "recipe"
    ): "an attacker who knows it and has shadow models trained by another recipe",
    mismatched("disjoint"): (
        "an attacker who knows it and has shadow models trained on other records only"
    ),
}


@pytest.mark.parametrize("protocol", OTHERS, ids=lambda protocol: protocol.name)
def test_every_other_attacker_is_named_by_its_threat_model(protocol: AttackProtocol) -> None:
    attacker = OTHERS[protocol]
    alone = judged(under(protocol))
    gain, _ = alone.defenses["noise"]
    assert gain.startswith(f"noise gains more than it costs against {attacker}: ")
    assert f"gains most against {attacker}: " in alone.best
    defense = attacker.replace(" it", " the defense", 1)
    assert f"Everything below is about {defense}; it says nothing" in alone.warning
    beside = judged([*under(protocol), *pool_records(16)])
    assert beside.warning == "" and protocol.name not in beside.best
    other = beside.leaks[-1]
    assert other.startswith(f"A{defense[1:]} reaches ") and f"'{protocol.name}'" in other
    aware = protocol.threat.knows_defense
    assert ("does not know" in " ".join([*beside.leaks, beside.attackers[0]])) != aware
    assert ("hindsight" in other) == (protocol.design == "paper_split")


@pytest.mark.parametrize(
    "protocol", [adaptive(), adaptive(64), adaptive(near=True)], ids=lambda protocol: protocol.name
)
def test_an_honest_attacker_needs_no_qualification(protocol: AttackProtocol) -> None:
    found = judged(under(protocol))
    text = " ".join([*sentences(found), *found.attackers])
    assert found.warning == "" and "does not know" not in text
    assert found.defenses["noise"][0].startswith("noise gains more than it costs: ")
    assert "knows the defense and its parameters (not its random draws)" in found.attackers[0]


def test_one_seed_is_too_few_for_a_judgement() -> None:
    found = judged(paper_records(seeds=1))
    assert found.defenses["noise"][0].startswith("noise was run too few times for a judgement: ")
    assert "one seed is too few" in found.best


def test_who_was_not_run_on_the_pool_has_no_verdict() -> None:
    found = judged([*paper_records(("none", "noise", "selena")), *pool_records(1)])
    assert found.defenses["selena"] == (
        "selena was not run here (threat model 'adaptive', 1 query a record): no interval and no "
        "verdict on it.",
        "",
    )


def test_times_have_no_verdict() -> None:
    with pytest.raises(InputError, match="they measure no attack"):
        rank_protocols([replace(row, protocol=OVERHEAD) for row in paper_records()])
