"""A document as one HTML file that needs nothing else, neither network nor scripts."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import count

import jinja2
from markupsafe import Markup, escape

from dynanoise.core.errors import MissingExtraError
from dynanoise.core.extras import require
from dynanoise.report.document import Chart, Document


def render_html(document: Document) -> str:
    """Write a document as HTML, its charts drawn into it, or their numbers without matplotlib.

    Args:
        document: its texts are escaped, whatever they hold.

    Returns:
        A whole page. The same document and matplotlib version give the same text.
    """
    keys = (f"c{number}" for number in count(1))
    missing = missing_charts()
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            document=document,
            style=Markup(_style()),  # noqa: S704
            missing=missing,
            picture=lambda chart: None if missing else inline_svg(chart, next(keys)),
        )
    )


def render_first_page(document: Document) -> str:
    """Write the first section of a document for a notebook, in a frame that keeps its style.

    Args:
        document: its texts are escaped, whatever they hold.
    """
    page = render_html(replace(document, sections=document.sections[:1]))
    title = escape(document.title)
    return (
        f'<iframe srcdoc="{escape(page)}" title="{title}" sandbox style="width: 100%; '
        'height: 34rem; border: 1px solid #d0d4da"></iframe>'
    )


def missing_charts() -> str | None:
    """Explain why a page has numbers in place of charts; None if matplotlib is installed."""
    try:
        require("matplotlib", "Drawing charts")
    except MissingExtraError as error:
        return f"Charts are left out, and their numbers are in tables: {error}"
    return None


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dynanoise.report", "render"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["coded"] = code_spans
    return environment


def code_spans(text: str) -> Markup:
    """Escape a text and set its parts between backticks as code, as Markdown does.

    >>> code_spans("run `dynanoise audit FILE` on <b>")
    Markup('run <code>dynanoise audit FILE</code> on &lt;b&gt;')
    """
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


def _style() -> str:
    return resources.files("dynanoise.report.render").joinpath("report.css").read_text("utf-8")


@dataclass(frozen=True)
class Inline:
    """An SVG file as part of a page.

    Attributes:
        key: the prefix of its ids.
        box: its viewBox.
        pixels: its natural width.
        body: its elements.
    """

    key: str
    box: str
    pixels: int
    body: Markup


def inline_svg(chart: Chart, key: str) -> Inline:
    """Draw a chart as a part of a page.

    Its ids get a prefix, for two charts would share them. Metadata and styles are left out: they
    would name other places, or apply to the rest of the page. White grounds are left out, so that
    the page's own shows.

    Args:
        chart: its picture is an SVG file of matplotlib, whose texts are paths.
        key: letters and digits, unique within the page.
    """
    picture = chart.picture().decode()
    body = picture[picture.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\n?", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{key}-', body)
    body = re.sub(r'(xlink:href="|url\()#', rf"\1#{key}-", body)
    body = re.sub(r"fill: #ffffff\b", "fill: none", body)
    opening, rest = body.split(">", 1)
    box = re.search(r'viewBox="(0 0 ([\d.]+) [\d.]+)"', opening)
    assert box is not None
    elements = rest.strip().removesuffix("</svg>")
    return Inline(key, box[1], round(float(box[2]) * 4 / 3), Markup(elements))  # noqa: S704
