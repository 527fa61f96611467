"""The web page for those who print it, have no scripts, choose their own colours, or see no colour."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.site_page import Opened

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
        """[...document.querySelectorAll("thead th")].filter(th => th.innerText.trim() === "").length"""
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
