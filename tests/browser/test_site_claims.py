"""What the web page says in words: no claim without its attacker, none that its Records deny."""

from __future__ import annotations

from dynanoise.report.evidence import load
from tests.browser.site_page import Opened
from tests.generated import ROOT


def test_an_attacker_who_asks_near_duplicates_is_not_said_to_ask_once(visit: Opened) -> None:
    visit.choose("#res-data", "cifar10")
    visit.choose("#res-view", "summary")
    said = visit.text("#res-out")
    assert said.count("near-duplicates, 1 query") == said.count("near-duplicates, 1 query of each") > 0


def test_every_protocol_has_a_name_in_words(visit: Opened) -> None:
    visit.choose("#res-data", "digits")
    said = visit.text("#res-out thead")
    for words in ("models of other records", "models of another architecture", "models trained otherwise"):
        assert words in said
    visit.choose("#res-data", "cifar10")


def test_threat_models_of_several_data_sets_claim_the_size_of_none(visit: Opened) -> None:
    page = visit.page
    page.evaluate("document.querySelectorAll('#faq details').forEach(d => { d.open = true; })")
    said = visit.text("#threats")
    assert "Measured on Breast cancer, CIFAR-10, Digits." in said
    # 400, 10,000 and 600 records: none of them is that of all three.
    assert "95% intervals" not in said and "models and" not in said
