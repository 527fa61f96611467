"""The web page printed, without scripts, in the system's own colours, and without any."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.site_page import Opened

pytestmark = pytest.mark.process

PAPER = {"width": 718, "height": 1046}
"""A4 with margins of 10 mm, in CSS pixels."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_everything_can_be_read(browser: Any, address: str, scheme: str) -> None:
    opened = Opened(browser, address, viewport=PAPER, color_scheme=scheme)
    page = opened.page
    page.click("#audit-example")
    page.wait_for_selector("#audit-out table")
    page.emulate_media(media="print", color_scheme=scheme)
    heads = page.evaluate(
        """[...document.querySelectorAll("thead th")]
            .filter(th => th.innerText.trim() === "").length"""
    )
    assert heads == 0, "columns without a heading"
    for view in ("summary", "attacks", "overhead"):
        page.evaluate(f"document.querySelector('#res-view input[value={view}]').click()")
        cut = page.evaluate(
            "[...document.querySelectorAll('.scroll')].map(n => n.scrollWidth - n.clientWidth)"
        )
        assert max(cut) <= 1, "a table is wider than the paper"
    assert page.evaluate("document.documentElement.scrollWidth") <= PAPER["width"]
    # Dark letters on the paper's white, whatever the screen had.
    ink = page.evaluate("getComputedStyle(document.querySelector('h1')).color")
    assert ink == "rgb(25, 26, 31)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    answers = page.locator("#faq details > :not(summary)")
    assert all(answers.nth(i).is_visible() for i in range(answers.count()))
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#faq details[open]").count() == 1
    opened.close()


def test_without_scripts_there_is_text_and_no_dead_control(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    page.wait_for_timeout(1700)  # the notice waits for a page that is only slow
    assert page.is_visible("#trouble") and "JavaScript" in page.inner_text("#trouble")
    for selector in ("button", "input", "textarea", "summary", "canvas", "select"):
        controls = page.locator(f"main {selector}")
        dead = [
            controls.nth(i).inner_text()
            for i in range(controls.count())
            if controls.nth(i).is_visible()
            and not controls.nth(i).evaluate("n => n.closest('#faq')")
        ]
        assert dead == [], selector
    # Sentences have no holes where their numbers would be.
    first = " ".join(page.inner_text(".hero").split())
    assert "from … to …" in first and "reaches …" in first
    assert page.is_visible("#method math")
    context.close()


def test_in_forced_colours_the_choice_and_the_slider_can_be_seen(
    browser: Any, address: str
) -> None:
    opened = Opened(browser, address, forced_colors="active")
    adjust = "node => getComputedStyle(node).forcedColorAdjust"
    for own in ("#sim-T", "#res-data input:checked + span"):
        assert opened.page.locator(own).evaluate(adjust) == "none"
    assert opened.page.locator("#res-data span").last.evaluate(adjust) == "auto"
    opened.close()


def test_marks_of_a_chart_differ_without_their_colour(visit: Opened) -> None:
    for name in ("cifar10", "digits"):
        visit.choose("#res-data", name)
        visit.choose("#res-view", "summary")
        shapes = visit.page.evaluate(
            """[...document.querySelectorAll(".res-chart .legend svg > *")].map(node =>
                [node.tagName, node.getAttribute("d"), node.classList.contains("ring")].join())"""
        )
        assert len(shapes) >= 5 and len(set(shapes)) == len(shapes)
    visit.choose("#res-data", "cifar10")


@pytest.mark.parametrize("width", [320, 390])
def test_charts_of_a_small_screen_keep_names_and_marks_apart(
    browser: Any, address: str, width: int
) -> None:
    opened = Opened(browser, address, viewport={"width": width, "height": 800})
    outside = opened.page.evaluate(
        """[...document.querySelectorAll("main svg[role=img] text")].filter(text => {
            const [own, panel] = [text, text.closest(".panel")].map(n => n.getBoundingClientRect());
            return own.right > panel.right - 2 || own.left < panel.left;
        }).map(text => text.textContent)"""
    )
    assert outside == []
    on = opened.page.evaluate(
        """(() => { const svg = document.querySelector(".res-chart svg[role=img]");
            const boxes = kind =>
                [...svg.querySelectorAll(kind)].map(n => n.getBoundingClientRect());
            return boxes("text").filter(a => boxes("circle, rect, path, line.thin").some(b =>
                a.left < b.right && b.left < a.right
                && a.top < b.bottom - 2 && b.top < a.bottom - 2)).length;
        })()"""
    )
    assert on == 0, "marks lie on names"
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    opened.close()


def test_an_error_beyond_ten_logits_stays_in_its_chart(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    page.click("#attacker details summary")
    for place, value in ((0, 2), (1, 10), (3, 40), (4, 10)):
        page.locator("#att-settings input").nth(place).evaluate(
            "(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }",
            value,
        )
    opened.choose("#att-noise", "keyed")
    page.click("#att-ten")
    assert opened.number("#att-rms") > 10
    highest = page.evaluate(
        """Math.min(...[...document.querySelectorAll("#att-error path.line")]
            .map(n => n.getBBox().y))"""
    )
    assert highest >= 27  # below the name of the axis
    # Whatever the reach of the logits is, zero is among its ticks.
    ticks = page.locator("#att-estimate svg[role=img] text[text-anchor=end]").all_text_contents()
    assert len(ticks) > 4 and "0" in ticks
    opened.close()
