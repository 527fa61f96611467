"""Published values stand beside ours, and only where the paper's protocol was followed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dynanoise.report.io.published import published
from dynanoise.report.pages import build_page
from dynanoise.report.render.console import table_text
from dynanoise.report.summary import Summary, summarise
from dynanoise.report.tables.paper_table import (
    BRACKETS,
    findings,
    paper_table,
    published_values,
)
from tests.factories.results import record, records, utility


def of(preset: str, protocol: str = "paper") -> Summary:
    return summarise([replace(row, preset=preset, protocol=protocol) for row in records()])


def printed(summary: Summary) -> str:
    return table_text(paper_table(summary, published_values(summary)), 120)


def test_the_check_value_of_midput_follows_from_the_published_row() -> None:
    """PUT of the confidence attack on CIFAR-10: 0.1042 (0.6124 - 0.5014 - accuracy drop)."""
    theirs = published("cifar10")

    def value(method: str, attack: str | None, metric: str) -> float:
        found = theirs.value(method, attack, metric)
        assert found is not None
        return found

    fall = value("none", "confidence", "asr") - value("dynanoise", "confidence", "asr")
    cost = value("none", None, "accuracy") - value("dynanoise", None, "accuracy")
    assert fall - cost == pytest.approx(0.1042, abs=1e-4)
    assert theirs.value("dynanoise", "entropy", "asr") is None  # no published column
    assert theirs.value("dpsgd", "loss", "asr") is None  # no published row
    assert theirs.value("dynanoise", "loss", "auc") is None


def test_published_values_stand_in_brackets() -> None:
    found = printed(of("cifar10"))
    assert "(.787)" in found or "(.788)" in found
    assert ("(.612)" in found and "(.501)" in found and "(+.103)" in found) or "(+.104)" in found
    assert build_page(of("cifar10").results).brackets == BRACKETS
    assert "(0.612)" not in build_page(of("cifar10").results).markdown


@pytest.mark.parametrize(("preset", "protocol"), [("digits", "paper"), ("cifar10", "other")])
def test_nothing_is_beside_what_the_paper_did_not_measure(preset: str, protocol: str) -> None:
    assert "(." not in printed(of(preset, protocol))
    assert build_page(of(preset, protocol).results).brackets == ""


def test_midput_is_put_over_the_best_peers() -> None:
    rows = [replace(row, preset="cifar10") for row in records()]
    for name, midput in (("selena", 0.05), ("hamp", 0.02)):
        for seed in (0, 1, 2):
            peer = [
                record(name, "confidence", seed, asr=0.5, auc=0.5),
                record(name, "loss", seed, asr=0.5, auc=0.5),
                utility(name, seed, 0.9, midput),
            ]
            rows += [replace(row, recipe=name) for row in peer]
    # Keyed noise, other settings of DynaNoise and the project's other defenses are none.
    keyed = [replace(row, method="keyed") for row in rows if row.method == "dynanoise"]
    label = {"name": "CalibratedLabel"}
    rows += keyed
    rows += [replace(row, method="calibrated_label", defense=label) for row in keyed]
    rows += [replace(row, method="out_of_fold", recipe="out_of_fold") for row in keyed]
    rows = [replace(row, preset="cifar10") for row in rows]
    text = " ".join(findings(summarise(rows)))
    assert "MIDPUT is +0.100, 2 times that of the best peer, selena (+0.050)." in text
    assert "Published: +0.103, 1.4 times that of the best peer, selena (+0.073)." in text
    assert "peer" not in " ".join(findings(of("cifar10")))  # no peer was run
