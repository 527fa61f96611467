"""The report in a browser: offline, on a desk and on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dynanoise.report.evidence_report import build_report
from dynanoise.report.render.html import render_html
from tests.factories.evidence import evidence, served_evidence

pytest.importorskip("matplotlib", reason="pictures need: pip install 'dynanoise[plot]'")

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    methods = ("none", "noise", "a-name-of-somebody-who-likes-long-names-in-their-files")
    path.write_text(render_html(build_report(evidence(methods=methods))), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_offline_and_everything_is_drawn(browser: Any, file: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_load_state("networkidle")

    assert asked == [file.as_uri()] and said == []
    charts = page.evaluate(
        """() => [...document.querySelectorAll("figure > svg")].map(svg => {
            const box = svg.getBoundingClientRect();
            const drawn = [...svg.querySelectorAll("path")].filter(path => {
                const size = path.getBBox(); return size.width + size.height > 20; });
            return [box.width, box.height, drawn.length,
                    svg.querySelector("title").textContent, svg.querySelector("desc").textContent];
        })"""
    )
    assert len(charts) == 4 + 3 * 3 + 1
    for wide, high, drawn, title, alternative in charts:
        assert wide >= 250 and high >= 150 and drawn >= 4, title
        assert title and len(alternative) > 20
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert page.evaluate(
        """[...document.querySelectorAll("table")].every(table =>
            table.querySelector("caption").textContent &&
            table.querySelectorAll("thead th[scope=col]").length > 1 &&
            [...table.querySelectorAll("tbody tr")].every(row =>
                row.cells[0].matches("th[scope=row]")))"""
    )
    context.close()


def test_numbers_behind_a_chart_open(browser: Any, file: Path) -> None:
    page = browser.new_page()
    page.goto(file.as_uri())
    first = page.locator("figure details").first
    assert not first.locator("table").is_visible()
    first.locator("summary").click()
    assert first.locator("table").is_visible()
    page.close()


PRINTED = {"benchmark": evidence(queries=(1,)), "audit": served_evidence(configured=False)}


@pytest.mark.parametrize("kind", PRINTED)
def test_on_paper_every_heading_has_something_below_it(
    browser: Any, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "report.html").write_text(render_html(build_report(PRINTED[kind])), "utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    page.locator("#print-all").check()
    page.emulate_media(media="print")
    shown = page.evaluate(
        """[...document.querySelectorAll("section")].filter(s => s.checkVisibility())
            .map(s => [s.id, [...s.children].filter(n => n.checkVisibility()).length])"""
    )
    assert len(shown) > 4 and all(count > 1 for _, count in shown), shown
    table = page.locator("section > .scroll table").filter(has_text="LiRA").first
    assert table.is_visible() and "0.620" in table.inner_text()
    assert page.locator("#attacks table").is_visible() == (kind == "audit")
    page.close()


def test_the_verdict_prints_on_one_page_and_all_sections_on_few(browser: Any, file: Path) -> None:
    page = browser.new_page()
    page.goto(file.as_uri())
    printed = page.pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") == 1
    page.locator("#print-all").check()
    assert 4 <= page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n") <= 16
    page.close()
