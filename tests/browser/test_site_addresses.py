"""The web page opened at addresses that nobody made for it: broken, hostile, or of one section."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.site_page import Opened

pytestmark = pytest.mark.process

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
    top = opened.page.evaluate(
        "id => document.getElementById(id).getBoundingClientRect().top", section
    )
    below_the_bar = opened.page.evaluate("document.querySelector('.bar').offsetHeight")
    assert below_the_bar - 1 <= top < below_the_bar + 40
    opened.close()


def test_whoever_reads_already_is_not_taken_to_the_section(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    held: list[Any] = []
    page.route("**/data.json", lambda route: held.insert(0, route))
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


def test_an_empty_value_in_an_address_is_the_default(browser: Any, address: str) -> None:
    opened = Opened(browser, address, "?T=&s0=%20&lambda=&classes=&confidence=&logits=")
    found = {
        name: opened.page.input_value(f"#sim-{name}") for name in ("T", "s0", "lambda", "classes")
    }
    assert found == {"T": "4", "s0": "0.1", "lambda": "3", "classes": "10"}
    assert opened.number("#sim-variance") == pytest.approx(0.3290, abs=1e-4)
    opened.close()


def test_what_a_slider_shows_is_what_is_computed(browser: Any, address: str) -> None:
    opened = Opened(browser, address, "?s0=0.1234567&lambda=0&confidence=0.02&classes=4")
    # Between two steps of the slider there is no setting, and no top class has less than 1/K.
    assert opened.number("#sim-variance") == float(opened.page.input_value("#sim-s0")) == 0.12
    assert opened.text("output[for=sim-confidence]") == "25.0%"
    opened.slide("#sim-classes", 50)
    assert opened.text("output[for=sim-confidence]") == "2.0%"
    assert "base_variance: 0.12\n" in str(opened.page.text_content("#sim-yaml-text"))
    opened.close()


def test_logits_that_are_none_leave_the_sliders_in_force(browser: Any, address: str) -> None:
    opened = Opened(browser, address, "?logits=4.5,<script>alert(1)</script>")
    said = opened.text("#sim-wrong")
    assert "“<script>alert" in said and "sliders" in said
    assert opened.number("#sim-variance") == pytest.approx(0.3290, abs=1e-4)
    opened.slide("#sim-lambda", 0)
    assert opened.number("#sim-variance") == pytest.approx(0.1, abs=1e-4)
    assert opened.page.is_enabled("#sim-confidence")
    # The minus sign of this page and of papers is one, too, and brackets are left out.
    opened.page.fill("#sim-logits", "[2.5, \N{MINUS SIGN}1.5]")
    assert opened.text("#sim-wrong") == "" and "class 1" in opened.text("#sim-bars")
    assert opened.number("#sim-top") == pytest.approx(0.982, abs=1e-3)
    assert opened.said == []
    opened.close()


def test_many_logits_are_refused_before_they_stop_the_page(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    fill = """count => { const box = document.getElementById("sim-logits");
        box.value = Array.from({ length: count }, (_, i) => (i % 7) + ".5").join(" ");
        box.dispatchEvent(new Event("input")); }"""
    opened.page.click("#sim-own summary")
    opened.page.evaluate(fill, 1000)
    assert opened.text("#sim-wrong") == "" and "990 more classes" in opened.text("#sim-note")
    opened.page.evaluate(fill, 200_000)
    assert "200,000 logits" in opened.text("#sim-wrong")
    opened.page.wait_for_timeout(400)
    # An address that no server takes is no link.
    assert len(opened.page.url) < 4_200
    assert opened.said == []
    opened.close()


def test_a_link_is_of_the_setting_that_is_shown(browser: Any, address: str) -> None:
    opened = Opened(browser, address, permissions=["clipboard-read", "clipboard-write"])
    opened.page.evaluate(
        """() => { const slider = document.getElementById("sim-T");
            slider.value = 7; slider.dispatchEvent(new Event("input"));
            document.getElementById("sim-link").click(); }"""
    )
    opened.page.wait_for_function("() => document.getElementById('sim-said').textContent !== ''")
    assert opened.page.evaluate("navigator.clipboard.readText()") == f"{address}?T=7#simulator"
    opened.close()


def test_the_way_back_leads_to_the_setting_of_its_address(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    page.click("nav a[href='#simulator']")
    opened.slide("#sim-T", 9)
    page.wait_for_function("() => location.search === '?T=9'")
    page.click("nav a[href='#audit']")
    opened.slide("#sim-T", 12)
    # On the way before the address was written: the newest setting is not lost.
    page.evaluate("document.querySelector('nav a[href=\"#results\"]').click()")
    page.wait_for_function("() => location.search === '?T=12'")
    assert page.input_value("#sim-T") == "12"
    for search, value in (("?T=9", "9"), ("", "4")):
        for _ in range(10):  # more than the links above
            if page.evaluate("location.search") != search:
                page.go_back()
        page.wait_for_function(f"() => document.getElementById('sim-T').value === '{value}'")
        assert opened.number("#sim-R") > 0
    page.go_forward()
    page.wait_for_function("() => document.getElementById('sim-T').value === '9'")
    assert "temperature: 9.0" in str(page.text_content("#sim-yaml-text"))
    assert opened.said == []
    opened.close()


@pytest.mark.parametrize("rest", ["", "#results"])
@pytest.mark.parametrize("place", ["#adapt-chosen", "#sim-stats", "#faq"])
def test_a_page_that_is_reloaded_is_where_it_was(
    browser: Any, address: str, rest: str, place: str
) -> None:
    opened = Opened(browser, address, rest)
    page = opened.page
    page.evaluate("selector => document.querySelector(selector).scrollIntoView()", place)
    page.wait_for_function("() => history.state?.place === scrollY")
    before = page.evaluate("scrollY")
    assert before > 1000
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert abs(page.evaluate("scrollY") - before) <= 1
    opened.close()


def test_a_link_is_opened_at_its_section_although_the_page_was_read_before(
    browser: Any, address: str
) -> None:
    opened = Opened(browser, address)
    page = opened.page
    page.evaluate("scrollTo(0, 2000)")
    page.wait_for_function("() => history.state?.place === 2000")
    page.goto("about:blank")
    page.goto(f"{address}#audit")
    page.wait_for_selector("html[data-ready]", state="attached")
    assert abs(page.evaluate("document.querySelector('#audit').getBoundingClientRect().top")) < 120
    opened.close()
