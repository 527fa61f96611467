"""What the web page says in words: no claim without its attacker, none that its results deny."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from docs.generate import ROOT
from dynanoise.report.io.results import read_results
from dynanoise.report.io.samples import read_evidence
from dynanoise.web.data import citation_of
from tests.browser.site_page import Opened

pytestmark = pytest.mark.process

DATA = ROOT / "src" / "dynanoise" / "web" / "data.json"


def test_an_attacker_who_asks_near_duplicates_is_not_said_to_ask_once(visit: Opened) -> None:
    visit.choose("#res-data", "breast_cancer")
    visit.choose("#res-view", "summary")
    said = visit.text("#res-out")
    assert (
        said.count("near-duplicates, 1 query") == said.count("near-duplicates, 1 query of each") > 0
    )


def test_every_protocol_has_a_name_in_words(visit: Opened) -> None:
    visit.choose("#res-data", "digits")
    said = visit.text("#res-out thead")
    for words in (
        "models of other records",
        "models of another architecture",
        "models trained otherwise",
    ):
        assert words in said
    visit.choose("#res-data", "cifar10")


def test_the_title_promises_nothing_that_the_records_deny(visit: Opened) -> None:
    """An attacker who knows DynaNoise and asks sixteen times has what it has undefended."""
    assert "fail" not in visit.page.title() and "DynaNoise" in visit.page.title()


@pytest.mark.parametrize("method", ["none", "dynanoise_keyed", "calibrated_label"])
def test_the_live_picture_says_what_it_shows(visit: Opened, method: str) -> None:
    """The upper half of the scores; a tie across the middle is called as a whole, or not at all."""
    evidence = read_evidence(ROOT / "results" / "cifar10_pool")
    assert evidence.rows is not None
    scores = next(
        one.scores for one in evidence.attacks_on("adaptive", method) if one.attack == "lira"
    )
    there = ~np.isnan(scores)
    scores, members = scores[there], evidence.rows.members[there]
    called = stats.rankdata(-scores, method="max") <= len(scores) // 2
    if not visit.page.locator(f"#stage-defense input[value={method}]").count():
        visit.page.click("#stage-defense button")
    visit.choose("#stage-defense", method)
    said = visit.text("#stage-verdict")
    assert f"finds {(called & members).sum()} of {members.sum()} members" in said
    assert f"accuses {(called & ~members).sum()} of {(~members).sum()} others" in said
    visit.choose("#stage-defense", "none")


def test_the_authors_are_those_of_the_citation_file(visit: Opened) -> None:
    paper = citation_of(ROOT / "CITATION.cff")
    assert visit.text("#byline") == (
        f"{' and '.join(paper['authors'])}, {paper['affiliation']} · PoPETs {paper['year']}"
    )
    assert visit.page.get_attribute("#door-paper", "href") == paper["url"]


def test_keyed_noise_is_never_without_what_it_does_not_claim(visit: Opened) -> None:
    for method in ("dynanoise_keyed", "cells", "dynanoise_tuned"):
        if not visit.page.locator(f"#stage-defense input[value={method}]").count():
            visit.page.click("#stage-defense button")
        visit.choose("#stage-defense", method)
        said = visit.text("#stage-note")
        assert "not its key" in said and "no near-duplicates" in said
    visit.choose("#stage-defense", "dynanoise")
    assert "key" not in visit.text("#stage-note")
    visit.choose("#stage-defense", "none")
    assert "not chosen by earlier outputs" in visit.text("#attacker")
    visit.choose("#res-view", "summary")
    notes = str(visit.page.text_content(".notes"))
    assert "tuned on records of these networks" in notes


def test_what_an_address_holds_is_said(visit: Opened) -> None:
    """Who opens it again sends it to the page's host; dropped files are never in it."""
    answer = visit.page.locator("#faq details", has_text="leave my browser").text_content()
    assert "address" in str(answer) and "Files you drop" in str(answer)
    assert "address" in str(visit.page.locator("label[for=sim-logits]").text_content())


def test_the_risk_label_is_no_claim_about_an_attacker(visit: Opened) -> None:
    assert "not what an attacker finds" in visit.text("#sim-note")


def test_a_mean_of_seeds_is_said_of_those_protocols_that_have_one(visit: Opened) -> None:
    compared = set()
    for run in json.loads(DATA.read_text())["runs"]:
        records = read_results(ROOT / "results" / run["folder"] / "results.json")
        for body in run["protocols"]:
            protocol, method = body["name"], next(iter(body["rows"]))
            seeds = len({one.seed for one in records if one.protocol == protocol})
            link = f"#record/{run['folder']}/{protocol}/{method}/-/accuracy"
            visit.page.evaluate("link => { location.hash = link; }", link)
            visit.page.wait_for_function(
                "said => document.getElementById('source-body').textContent.includes(said)",
                arg=f"{run['folder']}/results.json · protocol {protocol}, method {method}",
            )
            said = visit.text("#source-body")
            assert ("mean of" in said) == (seeds > 1), link
            assert seeds == 1 or f"mean of {seeds} seeds" in said, link
            compared.add((run["folder"], seeds))
    assert {("digits", 20), ("digits", 1), ("cifar10", 3)} <= compared
    visit.page.keyboard.press("Escape")


def test_every_attack_and_defense_of_the_tables_is_explained(visit: Opened) -> None:
    visit.page.evaluate(
        "document.querySelectorAll('#faq details').forEach(d => { d.open = true; })"
    )
    said = visit.text("#faq").lower().replace("’", "'")
    names = visit.page.evaluate(
        """fetch("data.json").then(answer => answer.json())
            .then(data => Object.values(data.titles))"""
    )
    assert len(names) > 12
    for name in names:
        for part in name.lower().replace("mod. ", "modified ").split(", "):
            assert part in said, part
    visit.choose("#res-view", "summary")
    for name in visit.page.locator("#res-out tbody th").all_inner_texts():
        assert name.lower().split(", ")[0] in said and name.lower().split(", ")[-1] in said, name


def test_what_is_asked_in_the_game_is_said_before_it_is_asked(visit: Opened) -> None:
    visit.choose("#att-question", "near")
    assert "modelled" in visit.text("#att-verdict") and "deviation 2.0" in visit.text(
        "#att-verdict"
    )
    visit.choose("#att-question", "pairs")
    assert "can move the logits at will" in visit.text("#att-verdict")
    visit.choose("#att-question", "same")
    assert "modelled" not in visit.text("#att-verdict")
