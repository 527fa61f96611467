"""The web page in a browser: what it shows, and that it needs nothing but itself."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from docs.generate import ROOT
from dynanoise.core.result import Result
from dynanoise.report.io.results import read_results
from dynanoise.report.summary import Summary, by_protocol
from tests.browser.site_page import Opened

pytestmark = pytest.mark.process

AXE = Path(__file__).parent / "vendor" / "axe.min.js.gz"
SECTIONS = (
    "overview", "dilemma", "method", "attacker", "game", "simulator",
    "results", "start", "audit", "questions",
)  # fmt: skip
LARGEST = 480_000


@pytest.mark.parametrize(
    ("width", "scheme"),
    [(1440, "light"), (1440, "dark"), (768, "light"), (390, "dark"), (320, "light")],
)
def test_every_section_is_drawn_and_nothing_is_cut(
    browser: Any, address: str, width: int, scheme: str
) -> None:
    # Motion is on here: all that moves must not complain either.
    opened = Opened(
        browser, address, viewport={"width": width, "height": 900}, color_scheme=scheme,
        reduced_motion="no-preference",
    )  # fmt: skip
    page = opened.page
    page.click("#att-ten")
    page.click("#audit-example")
    page.wait_for_selector("#audit-out table")
    for section in SECTIONS:
        page.evaluate("id => document.getElementById(id).scrollIntoView()", section)
        assert len(opened.text(f"#{section}")) > 200
    text = opened.text("main")
    for wrong in ("NaN", "undefined", "Infinity", "[object", "not measured"):
        assert wrong not in text
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    cut = page.evaluate(
        """[...document.querySelectorAll("main :is(p, h1, h2, h3, li, button, label, dd, legend)"),
            ...document.querySelectorAll("main svg")]
            .filter(node => !node.closest(".scroll") && node.getClientRects().length)
            .filter(node => node.getBoundingClientRect().right > innerWidth + 1)
            .map(node => node.outerHTML.slice(0, 80))"""
    )
    assert cut == []
    # Words of a chart lie inside it, and on no other word.
    clashes = page.evaluate(
        """[...document.querySelectorAll("main svg[role=img]")].flatMap(svg => {
            const box = svg.getBoundingClientRect();
            const words = [...svg.querySelectorAll("text")]
                .map(t => [t, t.getBoundingClientRect()]);
            const out = words.filter(([, b]) => b.left < box.left - 1 || b.right > box.right + 1
                || b.top < box.top - 1 || b.bottom > box.bottom + 1);
            const on = words.filter(([t, a], i) => words.some(([u, b], j) => i < j &&
                a.left < b.right - 1 && b.left < a.right - 1 &&
                a.top < b.bottom - 3 && b.top < a.bottom - 3));
            return [...out, ...on].map(([t]) => t.textContent);
        })"""
    )
    assert clashes == []
    assert opened.said == []
    assert opened.hosts() == {urlsplit(address).netloc}
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(251, 250, 247)"
    assert dark == (scheme == "dark")
    opened.close()


def test_it_is_small_and_asks_nobody_else(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    sizes = opened.page.evaluate(
        """["resource", "navigation"].flatMap(kind => performance.getEntriesByType(kind))
            .map(entry => entry.transferSize)"""
    )
    assert len(sizes) > 20 and min(sizes) > 0
    assert sum(sizes) < LARGEST
    # Nor could it: a request elsewhere is stopped by its own policy.
    stopped = opened.page.evaluate(
        "fetch('http://127.0.0.2:9/').then(() => 'went through', error => error.name)"
    )
    assert stopped == "TypeError"
    assert any("Content Security Policy" in said for said in opened.said)
    opened.close()


def test_the_live_picture_moves_and_tells_of_records(browser: Any, address: str) -> None:
    opened = Opened(browser, address, reduced_motion="no-preference")
    page = opened.page

    def picture() -> str:
        return str(page.evaluate("document.getElementById('stage').toDataURL()"))

    before = picture()
    page.wait_for_function(
        "old => document.getElementById('stage').toDataURL() !== old", arg=before
    )
    undefended = opened.number("#stage-verdict a.num")
    opened.choose("#stage-defense", "dynanoise")
    once = opened.number("#stage-verdict a.num")
    opened.choose("#stage-queries", "16")
    sixteen = opened.number("#stage-verdict a.num")
    assert once < sixteen < undefended
    page.click("#stage-pause")
    assert page.inner_text("#stage-pause") == "Play"
    standing = picture()
    page.wait_for_timeout(300)
    assert picture() == standing
    assert opened.said == []
    opened.close()


def test_reduced_motion_stands_still(visit: Opened) -> None:
    page = visit.page
    page.evaluate("window.scrollTo(0, 0)")
    before = page.evaluate("document.getElementById('stage').toDataURL()")
    slider = page.input_value("#sweep")
    page.wait_for_timeout(400)
    assert page.evaluate("document.getElementById('stage').toDataURL()") == before
    assert page.input_value("#sweep") == slider
    assert not page.is_visible("#stage-pause") and not page.is_visible("#sweep-pause")
    # The switch works all the same, at once.
    visit.choose("#stage-defense", "dynanoise")
    assert page.evaluate("document.getElementById('stage').toDataURL()") != before
    visit.choose("#stage-defense", "none")
    assert page.evaluate("document.getElementById('stage').toDataURL()") == before


def _of_records(link: str, summaries: dict[str, dict[str, Summary]]) -> float:
    folder, protocol, method, attack, metric = map(unquote, link.split("#record/")[1].split("/"))
    if folder not in summaries:
        records = read_results(ROOT / "results" / folder / "results.json")
        summaries[folder] = {} if protocol == "overhead" else by_protocol(records)
    if protocol == "overhead":
        rows: list[Result] = read_results(ROOT / "results" / folder / "results.json")
        return next(one.metrics[metric].value for one in rows if one.method == method)
    summary = summaries[folder][protocol]
    if attack == "strongest" and metric == "asr":
        return summary.success(method)[1].value
    return summary.spread(method, None if attack == "-" else attack, metric).interval.value


def test_every_number_is_that_of_its_record(visit: Opened) -> None:
    page = visit.page
    found: dict[str, str] = {}

    def gather() -> None:
        pairs = page.evaluate(
            """[...document.querySelectorAll("a.num")]
                .map(a => [a.getAttribute("href"), a.textContent])"""
        )
        found.update(pairs)

    sets = page.evaluate("[...document.querySelectorAll('#res-data input')].map(i => i.value)")
    assert {"cifar10", "imagenet10", "sst2", "digits", "breast_cancer"} <= set(sets)
    for name in sets:
        visit.choose("#res-data", name)
        for view in ("summary", "attacks"):
            visit.choose("#res-view", view)
            gather()
        for metric in ("auc", "asr"):
            for index in range(page.locator("#res-out select >> nth=0").locator("option").count()):
                page.select_option("#res-out select >> nth=0", index=index)
                page.select_option("#res-out select >> nth=1", metric)
                gather()
    visit.choose("#res-view", "overhead")
    gather()
    visit.choose("#res-data", sets[0])
    visit.choose("#res-view", "summary")

    summaries: dict[str, dict[str, Summary]] = {}
    assert len(found) > 1000
    for link, text in found.items():
        value = _of_records(link, summaries)
        shown = text.replace("\N{MINUS SIGN}", "-").rstrip("×")
        if shown.startswith("<"):
            assert value < float(shown[1:])
        elif "overhead" in link:
            assert float(shown) == pytest.approx(value, rel=0.06, abs=0.006), link
        else:
            # Thousandths, of which a half may be rounded either way.
            assert abs(float(shown) - value) <= 0.0005 + 1e-9, link


def test_both_protocols_and_published_values_stand_side_by_side(visit: Opened) -> None:
    visit.choose("#res-data", "cifar10")
    visit.choose("#res-view", "summary")
    head = visit.text("#res-out thead")
    assert "Paper’s attacker" in head and "Adaptive, 1 query" in head
    assert "published" not in visit.text("#res-out tr[data-key=dynanoise]")
    visit.choose("#res-data", "cifar10_paper")
    assert "published +0.103" in visit.text("#res-out tr[data-key=dynanoise]")
    sets = visit.page.locator("#res-data input").evaluate_all("all => all.map(i => i.value)")
    for name in sets:
        visit.choose("#res-data", name)
        assert "Adaptive" in visit.text("#res-out thead")
        assert "Paper’s attacker" in visit.text("#res-out thead")
    visit.choose("#res-data", "cifar10")


def test_a_single_attack_that_beats_the_choice_is_named(visit: Opened) -> None:
    """And the page says which attackers a data set has results of."""
    visit.choose("#res-data", "breast_cancer")
    visit.choose("#res-view", "summary")
    summaries = by_protocol(read_results(ROOT / "results" / "breast_cancer" / "results.json"))
    count = 0
    for method in summaries["adaptive"].methods:
        row = visit.page.locator(f"#res-out tr[data-key={method}]").inner_text()
        found = [s.better(method) for s in summaries.values() if method in s.methods]
        named = [f"best single: {best[0]} {best[1].value:.3f}" for best in found if best]
        assert all(text in row for text in named) and row.count("best single") == len(named)
        count += len(named)
    assert count > 3
    there = visit.text("#res-there")
    assert there == f"Breast cancer has results of {len(summaries)} attackers."
    visit.choose("#res-data", "imagenet10")
    files = (ROOT / "results").glob("imagenet10*/results.json")
    attackers = {result.protocol for path in files for result in read_results(path)}
    assert visit.text("#res-there") == f"ImageNet-10 has results of {len(attackers)} attackers."
    assert "best attack" in visit.text("#res-out thead")
    visit.choose("#res-data", "cifar10")
    assert "attacker’s choice" in visit.text("#res-out thead")


def test_tables_can_be_sorted(visit: Opened) -> None:
    page = visit.page
    visit.choose("#res-data", "cifar10")
    visit.choose("#res-view", "summary")
    heading = page.locator("#res-out thead tr:last-child th").nth(1)

    def column() -> list[float]:
        texts = page.locator("#res-out tbody td:nth-child(2) a.num").all_inner_texts()
        return [float(text) for text in texts]

    original = column()
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column() == sorted(original, reverse=True) != original
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column() == sorted(original)


def test_a_number_says_where_it_is_from(visit: Opened) -> None:
    page = visit.page
    visit.choose("#res-data", "cifar10")
    link = page.locator("#res-out tr[data-key=dynanoise] a.num").nth(1)
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#source[open]")
    said = visit.text("#source")
    command = read_results(ROOT / "results" / "cifar10" / "results.json")[0].command
    assert f"{command} --out results/cifar10" in said and "results/cifar10/results.json" in said
    assert "does not know of the defense" in said
    asked = page.url
    page.keyboard.press("Escape")
    page.wait_for_selector("#source", state="hidden")
    page.wait_for_function("() => !location.hash.startsWith('#record')")
    assert link.evaluate("node => node === document.activeElement")
    # The address of a number opens it, too.
    page.goto("about:blank")
    page.goto(asked)
    page.wait_for_selector("#source[open]")
    page.keyboard.press("Escape")


def test_axe_finds_nothing(browser: Any, address: str) -> None:
    source = gzip.decompress(AXE.read_bytes()).decode()
    for scheme in ("light", "dark"):
        opened = Opened(browser, address, color_scheme=scheme)
        page = opened.page
        page.click("#att-ten")
        page.click("#audit-example")
        page.wait_for_selector("#audit-out table")
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        page.evaluate(source)
        # What differs in the dark is colours.
        only = "runOnly: ['color-contrast'], " if scheme == "dark" else ""
        found = page.evaluate(
            f"axe.run(document, {{ {only}resultTypes: ['violations', 'incomplete'] }})"
        )
        # A name that nobody hears is left to people to judge; here it is none.
        assert "aria-prohibited-attr" not in [one["id"] for one in found["incomplete"]]
        told = [
            (one["id"], [node["target"] for node in one["nodes"]]) for one in found["violations"]
        ]
        assert told == []
        assert len(found["passes"]) > (0 if only else 20)
        opened.close()


def test_everything_can_be_done_with_the_keyboard(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page, keys = opened.page, opened.page.keyboard
    keys.press("Tab")
    assert opened.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    keys.press("Enter")
    reached: list[str] = []
    for _ in range(70):
        keys.press("Tab")
        name, outline = page.evaluate(
            """(() => { const a = document.activeElement;
                const shown = a.matches("input[type=radio]") ? a.nextElementSibling : a;
                const style = getComputedStyle(shown);
                const name = a.id || a.name || a.className || a.tagName;
                const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
                return [name, seen]; })()"""
        )
        assert outline, f"the focus on {name} cannot be seen"
        reached.append(name)
        if name == "sim-confidence":
            before = opened.text("#sim-R")
            keys.press("ArrowLeft")
            assert opened.text("#sim-R") != before
        if name == "att-one":
            keys.press("Enter")
            assert "After 1 query" in opened.text("#att-verdict")
        if name == "sim-yaml":
            break
    assert {"sweep", "sim-confidence", "sim-T", "sim-link", "sim-yaml", "att-one"} <= set(reached)
    page.locator("#att-noise input").first.focus()
    keys.press("ArrowRight")
    assert page.is_checked("#att-noise input[value=keyed]")
    assert opened.said == []
    opened.close()
