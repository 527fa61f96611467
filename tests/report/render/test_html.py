"""The HTML report: whole, escaped, complete for what was run, and readable by everybody."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import pytest
from markupsafe import Markup

from dynanoise.core.evidence import Evidence
from dynanoise.evaluation.protocols import NAMES, parse_protocol
from dynanoise.report.charts.style import FAINT, INK, threat_line
from dynanoise.report.document import Chart, Document, Section, Text
from dynanoise.report.evidence_report import build_report
from dynanoise.report.pages import build_page
from dynanoise.report.render.html import Inline, inline_svg, render_html
from dynanoise.report.render.markdown import render_markdown
from dynanoise.report.summary import summarise
from dynanoise.report.table import make_table
from dynanoise.report.wording import threats
from tests.factories.evidence import evidence, paper_records, served_evidence

pytest.importorskip("matplotlib", reason="pictures need: pip install 'dynanoise[plot]'")

EVIL = '<script>alert("$x")</script>|_a_\n&amp;'
VOID = {"meta", "link", "br", "input"}


class Page(HTMLParser):
    """What is in a page: elements by name, ids, headings, and whether all are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, content: str) -> None:
        if self.open:
            self.words.append((self.open[-1], content))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag_name, attributes in self.elements if tag_name == name]

    def said(self, *names: str) -> str:
        return "\n".join(text for name, text in self.words if not names or name in names)


def report_html(evidence: Evidence) -> str:
    return render_html(build_report(evidence))


def report_md(evidence: Evidence) -> str:
    return render_markdown(build_report(evidence))


@pytest.fixture(scope="module")
def both() -> str:
    return report_html(evidence())


@pytest.mark.behaviour
def test_every_part_is_there(both: str) -> None:
    page = Page(both)
    assert page.said("h2").split("\n") == [
        "Verdict",
        "Attack success",
        "Findings in words",
        "The protocols side by side",
        "Method by method",
        "Records most at risk",
        "Every attack",
        "How it was made",
    ]
    captions = page.said("figcaption")
    for chart in (
        "Attack success by",
        "repeated queries",
        "undefended: ROC by attack",
        "noise: scores of",
    ):
        assert chart in captions
    assert "ROC of the attacker's choice, 16 queries a record" in captions
    assert "noise: reliability" in captions and "Success by record" in captions
    assert "knows the defense, 16 queries" in page.said("desc")
    assert "adaptive" not in page.said("desc") + captions
    assert "record 4711, class 1: 0.96" in page.said("td")
    assert "dynanoise bench digits --seeds 3" in page.said("td")
    assert "The honest protocol was not run" not in both


def test_nothing_is_fetched_or_run(both: str) -> None:
    page = Page(both)
    assert not page.all("script") and not page.all("img") and not page.all("iframe")
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert all(str(link["href"]).startswith("#") for link in page.all("a"))
    assert not re.search(r"@import|url\((?!#c\d)", both)
    assert set(re.findall(r"https?://[^\"'\s<]+", both)) <= {
        "http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg",
    }  # fmt: skip


def test_ids_are_unique_and_references_are_met(both: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', both)
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r'(?:href="|url\()#([^")]+)', both))
    for labelled in re.findall(r'aria-labelledby="([^"]+)"', both):
        wanted |= set(labelled.split())
    assert wanted <= set(ids)


def test_charts_and_tables_say_what_they_are(both: str) -> None:
    page = Page(both)
    pictures = page.all("svg")
    assert len(pictures) == len(page.all("figure")) == 4 + 2 * 3 + 1
    assert all(one["role"] == "img" and one["aria-labelledby"] for one in pictures)
    assert len(page.all("desc")) == len(pictures)
    tables, captions = page.all("table"), page.all("caption")
    assert len(tables) == len(captions) > 10
    scopes = {one.get("scope") for one in page.all("th")}
    assert scopes == {"col", "row"}
    assert page.all("html")[0]["lang"] == "en"


@pytest.mark.behaviour
def test_names_cannot_break_the_page() -> None:
    made = evidence(methods=("none", EVIL))
    named = [replace(one, preset=EVIL, command=EVIL, dataset=EVIL) for one in made.results]
    text = report_html(replace(made, results=tuple(named)))
    page = Page(text)
    assert not page.all("script") and 'alert("$x")' in page.said("h1")
    assert "<script" not in text


def test_names_cannot_break_the_markdown() -> None:
    made = evidence(methods=("none", EVIL))
    text = report_md(made)
    assert "<script" not in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 1
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_paper_alone_is_warned_of_first() -> None:
    page = Page(report_html(Evidence(tuple(paper_records()))))
    warning = next(text for name, text in page.words if "honest protocol was not run" in text)
    said = page.said()
    assert said.index(warning) < said.index("What leaks")
    assert "No scores were kept beside these results" in said
    assert "Records most at risk" not in said and len(page.all("svg")) == 1


@pytest.mark.behaviour
def test_pools_alone_and_one_budget() -> None:
    page = Page(report_html(evidence(queries=(1,), paper=False)))
    assert "repeated queries" not in page.said("figcaption")
    assert "paper" not in page.said("th")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts without pictures, which take most of the time."""
    empty = Inline("c", "0 0 1 1", 1, Markup(""))
    monkeypatch.setattr("dynanoise.report.render.html.inline_svg", lambda chart, key: empty)


PROTOCOLS = [name.replace("Q", "4") for name in NAMES]


def under(name: str) -> Evidence:
    """Evidence under one protocol alone, with samples where its design is a pool."""
    protocol = parse_protocol(name)
    assert protocol is not None
    made = evidence(queries=(1,), paper=False)
    results = tuple(replace(r, protocol=name, threat=protocol.threat) for r in made.results)
    if protocol.design != "pool":
        return Evidence(results)
    attacks = tuple(replace(sample, protocol=name) for sample in made.attacks)
    risks = tuple(replace(risk, protocol=name) for risk in made.risks)
    return replace(made, results=results, attacks=attacks, risks=risks)


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.usefixtures("undrawn")
def test_a_report_of_any_protocol_alone_describes_its_attacker(name: str) -> None:
    made = under(name)
    threat, page = made.results[0].threat, Page(report_html(made))
    sentences = " ".join(build_page(made.results).sentences)
    for text in (page.said(), report_md(made), sentences, threat_line(summarise(made.results))):
        assert ("not know of" in text) == (not threat.knows_defense)
    for text in (page.said(), report_md(made), sentences):
        assert ("secret key" in text) == threat.key_known
    assert threats.shadow_models(threat) in page.said() and threats.budget(threat) in page.said()
    assert ("No scores were kept" in page.said()) == (made.rows is None)
    curves = f"ROC of the attacker's choice, {threats.budget(threat)}" in page.said("figcaption")
    risks = "Records most at risk" in page.said("h2")
    assert curves == risks == (made.rows is not None)


@pytest.mark.parametrize("configured", [True, False])
@pytest.mark.usefixtures("undrawn")
def test_an_audit_of_a_server_has_a_report_with_and_without_its_configuration(
    configured: bool,
) -> None:
    page = Page(report_html(served_evidence(configured=configured)))
    assert ("does not know the server's defense" in page.said()) == (not configured)
    assert ("knows the defense and its parameters" in page.said()) == configured
    assert "ROC of the attacker's choice, 1 query a record" in page.said("figcaption")
    assert "undefended" not in page.said("h4", "summary", "th", "title")


@pytest.mark.behaviour
def test_who_was_not_run_is_said() -> None:
    made = evidence()
    extra = paper_records(("none", "noise", "selena"))
    pools = [one for one in made.results if one.protocol != "paper"]
    page = Page(report_html(replace(made, results=(*extra, *pools))))
    assert "not run" in page.said("td")
    assert "Not run on a pool of models" in page.said("p")


@pytest.mark.behaviour
def test_attacks_are_called_by_their_titles() -> None:
    made = evidence(queries=(1,), paper=False)
    name = "lira(variance=example)"
    results = tuple(
        replace(r, attack=name if r.attack == "lira" else r.attack) for r in made.results
    )
    kept = tuple(replace(s, attack=name if s.attack == "lira" else s.attack) for s in made.attacks)
    page = Page(report_html(replace(made, results=results, attacks=kept)))
    assert "LiRA (variance=example)" in page.said("td", "th") and name not in page.said()


def test_the_markdown_is_short_and_says_the_same() -> None:
    text = report_md(evidence())
    assert "**Level: high.** Of 100 members an attacker picks out 10 [9, 11] at one false" in text
    assert "### What to do next\n" in text and "0.680 [0.670, 0.690]" in text
    assert "`dynanoise bench digits --seeds 3`" in text
    paper = report_md(Evidence(tuple(paper_records())))
    assert "> **The honest protocol was not run." in paper


@pytest.mark.behaviour
def test_the_same_evidence_gives_the_same_page(both: str) -> None:
    assert report_html(evidence()) == both


def test_texts_of_every_block_are_escaped() -> None:
    table = make_table("&caption", ["<head>", "x"], [["<row>", '"cell"']])
    blocks = (Text("<p>: 1 < 2", "lead", led=True), table)
    made = render_html(Document("<t>", "<s>", "c", (Section("k", "<h2>", blocks),)))
    assert '<p class="lead"><strong>&lt;p&gt;: </strong>1 &lt; 2</p>' in made
    assert 'aria-label="&amp;caption"' in made and "&lt;row&gt;" in made and "&lt;h2&gt;" in made
    assert "<head>" in made and made.count("<head>") == 1 and "<s>" not in made


def test_ids_of_pictures_get_a_prefix_and_notes_go() -> None:
    file = (
        '<?xml version="1.0"?><svg width="2pt" viewBox="0 0 2 1"><metadata>http://x</metadata>'
        '<defs><style type="text/css">*{a: b}</style><path id="a"/></defs>'
        '<use xlink:href="#a" clip-path="url(#b)"/></svg>'
    )
    chart = Chart("A", "B", file.encode, make_table("T <", ["x"], []))
    made = inline_svg(chart, "c1")
    assert "metadata" not in made.body and "style" not in made.body
    assert 'id="c1-a"' in made.body and 'href="#c1-a"' in made.body and "url(#c1-b)" in made.body
    assert made.box == "0 0 2 1"


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def tokens(style: str, scheme: str) -> dict[str, str]:
    """Colours of a style sheet; the second block of them is dark."""
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[scheme == "dark"]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(scheme: str) -> None:
    """At least 4.5 to 1, what WCAG's AA asks of text of any size."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    style = resources.files("dynanoise.report.render").joinpath("report.css").read_text("utf-8")
    colour = tokens(style, scheme)
    for text in ("ink", "muted", "accent"):
        for ground in ("paper", "sunk"):
            assert contrast(colour[text], colour[ground]) >= 4.5, (text, ground)
    for text in ("ink", "accent"):
        assert contrast(colour[text], colour["accent-soft"]) >= 4.5
    assert contrast(INK, "#FFFFFF") >= 4.5 and contrast(FAINT, "#FFFFFF") >= 4.5
    used = set(re.findall(r"(?<![-\w])color: ([^;]+);", style))
    assert used <= {f"var(--{name})" for name in ("ink", "muted", "accent")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_those_of_the_page(scheme: str) -> None:
    report = resources.files("dynanoise.report.render").joinpath("report.css").read_text("utf-8")
    page = resources.files("dynanoise.web").joinpath("style.css").read_text("utf-8")
    colours = tokens(report, scheme)
    assert len(colours) > 8 and colours.items() <= tokens(page, scheme).items()
