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
