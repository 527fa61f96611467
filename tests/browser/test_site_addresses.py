"""The web page opened at addresses that nobody made for it: broken, hostile, or of one section."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.site_page import Opened

BROKEN_LINKS = (
    "%",
    "%E0%A4%A/a/b/c/d",
    "cifar10/paper/constructor/-/accuracy",
    "cifar10/paper/__proto__/strongest/asr",
    "cifar10/paper/none/constructor/name",
    "cifar10/paper/none/-/constructor",
    "overhead/overhead/constructor/name",
    "overhead/overhead/none/constructor",
    "nowhere/paper/none/-/accuracy",
    "<img src=x onerror=alert(1)>",
    "",
)


@pytest.mark.parametrize("rest", BROKEN_LINKS)
def test_a_broken_link_to_a_number_gives_a_sentence(browser: Any, address: str, rest: str) -> None:
    opened = Opened(browser, address, f"#record/{rest}")
    assert opened.page.is_visible("#source")
    assert "no such number" in opened.text("#source-body")
    opened.page.keyboard.press("Escape")
    opened.page.wait_for_selector("#source", state="hidden")
    assert opened.number("#sim-R") > 0
    assert opened.said == []
    opened.close()


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
@pytest.mark.parametrize("section", ["simulator", "results", "questions"])
def test_a_link_to_a_section_ends_there(
    browser: Any, address: str, section: str, motion: str
) -> None:
    opened = Opened(browser, address, f"#{section}", reduced_motion=motion)
    opened.page.wait_for_timeout(800)  # whatever still moves has come to rest
    top = opened.page.evaluate("id => document.getElementById(id).getBoundingClientRect().top", section)
    below_the_bar = opened.page.evaluate("document.querySelector('.bar').offsetHeight")
    assert below_the_bar - 1 <= top < below_the_bar + 40
    opened.close()


def test_whoever_reads_already_is_not_taken_to_the_section(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    held: list[Any] = []
    page.route("**/data.json", lambda route: held.append(route))
    page.goto(f"{address}#questions", wait_until="commit")
    page.wait_for_function("() => scrollY > 50")
    page.wait_for_timeout(300)
    page.keyboard.press("Home")
    page.wait_for_function("() => scrollY < 50")
    held[0].continue_()
    page.wait_for_selector("html[data-ready]", state="attached")
    page.wait_for_timeout(500)
    assert page.evaluate("scrollY") < 50
    context.close()
