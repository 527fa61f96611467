"""What hands do with the web page: drop beside the box, choose twice, press what is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.site_page import Opened

pytestmark = pytest.mark.process

FEW = "p0,p1,label,member\n0.5,0.5,0,1\n0.5,0.5,0,0\n"


def test_a_file_that_is_dropped_beside_the_box_does_not_replace_the_page(visit: Opened) -> None:
    kept = visit.page.evaluate(
        """["#results", "#drop", "body"].map(place => ["dragover", "drop"].map(kind => {
            const carried = new DataTransfer();
            carried.items.add(new File(["x"], "mine.txt"));
            const about = { bubbles: true, cancelable: true, dataTransfer: carried };
            const event = new DragEvent(kind, about);
            document.querySelector(place).dispatchEvent(event);
            return event.defaultPrevented;
        }))"""
    )
    assert kept == [[True, True]] * 3
    # Text may be dragged into the field for logits as anywhere.
    text = visit.page.evaluate(
        """(() => { const carried = new DataTransfer(); carried.setData("text/plain", "1, 2");
            const about = { bubbles: true, cancelable: true, dataTransfer: carried };
            const event = new DragEvent("dragover", about);
            document.querySelector("#sim-logits").dispatchEvent(event);
            return event.defaultPrevented; })()"""
    )
    assert not text


def test_a_mended_file_can_be_chosen_again(visit: Opened, tmp_path: Path) -> None:
    page, path = visit.page, tmp_path / "mine.csv"
    path.write_text(FEW)
    for records, selector in ((1, "#audit-wrong:not(:empty)"), (80, "#audit-out table")):
        rows = [f"0.{5 + i % 4},0.{5 - i % 4},{i % 2},{i // 2 % 2}" for i in range(2 * records)]
        path.write_text("\n".join(["p0,p1,label,member", *rows]))
        with page.expect_file_chooser() as chooser:
            page.click("#file")
        # A browser that is asked for the same file says that nothing changed.
        assert page.evaluate("document.getElementById('file').value") == ""
        chooser.value.set_files(path)
        page.wait_for_selector(selector)


def test_the_focus_is_never_lost_and_the_end_is_said(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    page.locator("#att-hundred").focus()
    for _ in range(50):
        page.keyboard.press("Enter")
    assert "After 5,000 queries" in opened.text("#att-verdict")
    assert "no further" in opened.text("#att-verdict")
    assert page.evaluate("document.activeElement.id") == "att-hundred"
    page.keyboard.press("Enter")
    assert "After 5,000 queries" in opened.text("#att-verdict")
    assert page.get_attribute("#att-hundred", "aria-disabled") == "true"
    page.click("#att-again")
    page.click("#att-one")
    assert "After 1 query" in opened.text("#att-verdict")
    assert opened.said == []
    opened.close()


def test_a_button_that_changes_its_name_is_no_switch(browser: Any, address: str) -> None:
    """ "Play, pressed" says two things at once to who hears the page."""
    opened = Opened(browser, address, reduced_motion="no-preference")
    for name in ("stage-pause", "sweep-pause"):
        button = opened.page.locator(f"#{name}")
        assert button.inner_text() == "Pause"
        button.click()
        assert button.inner_text() == "Play"
        assert button.get_attribute("aria-pressed") is None
    opened.close()


@pytest.mark.parametrize(
    ("logits", "said"),
    [("5,0", "<0.01%"), ("400,0", "0.00%"), ("0,0", "50.00%")],
)
def test_a_small_chance_is_not_called_none(
    browser: Any, address: str, logits: str, said: str
) -> None:
    opened = Opened(browser, address, f"?s0=0.1&lambda=3&logits={logits}")
    assert opened.text("#sim-flips") == said
    opened.close()


def test_the_number_of_queries_under_the_pointer_is_whole(visit: Opened) -> None:
    page = visit.page
    page.click("#att-again")
    for _ in range(12):
        page.click("#att-hundred")
    chart = page.locator("#att-error svg[role=img]")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    shown = set()
    for share in np.linspace(0.6, 0.85, 40):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 90)
        tip = page.locator("#att-error .tip").inner_text().splitlines()[0]
        shown.add(int(tip.removeprefix("queries asked ").replace(",", "")))
    assert max(shown) == 1200
    assert any(count > 1000 and count % 10 for count in shown), "rounded to what was not asked"


def test_the_last_file_that_was_chosen_is_the_one_that_is_shown(visit: Opened) -> None:
    visit.page.evaluate(
        """() => {
            const row = i => `0.5,0.5,${i % 2},${(i >> 1) % 2}`;
            const rows = Array.from({ length: 400 }, (_, i) => row(i));
            const carried = new DataTransfer();
            carried.items.add(new File([["p0,p1,label,member", ...rows].join("\\n")], "slow.csv"));
            const late = carried.files[0].arrayBuffer.bind(carried.files[0]);
            File.prototype.arrayBuffer = () => new Promise(done =>
                setTimeout(() => { late().then(done); window.came = true; }, 600));
            const file = document.getElementById("file");
            file.files = carried.files;
            file.dispatchEvent(new Event("change"));
            document.getElementById("audit-example").click();
        }"""
    )
    visit.page.wait_for_function("() => window.came")
    visit.page.wait_for_timeout(500)
    visit.page.evaluate("delete File.prototype.arrayBuffer")
    assert "sample" in visit.text("#audit-out h3")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_sliders_that_pasted_logits_replace_look_disabled(
    browser: Any, address: str, scheme: str
) -> None:
    opened = Opened(browser, address, color_scheme=scheme)
    page = opened.page
    look = """id => { const node = document.querySelector(id);
        const [own, label] = [node, node.parentElement].map(each => getComputedStyle(each));
        return [node.disabled, own.opacity, own.cursor, label.color]; }"""
    ready = page.evaluate(look, "#sim-confidence")
    assert ready[:3] == [False, "1", "pointer"]
    page.evaluate("document.querySelector('#sim-own').open = true")
    page.fill("#sim-logits", "3, 1, 0")
    for name in ("#sim-confidence", "#sim-classes"):
        disabled, opacity, cursor, colour = page.evaluate(look, name)
        assert disabled and float(opacity) < 0.6 and cursor == "not-allowed"
        assert colour != ready[3]
    assert page.evaluate(look, "#sim-T") == ready
    page.fill("#sim-logits", "")
    assert page.evaluate(look, "#sim-confidence") == ready
    opened.close()
