"""HTML that cannot be broken by names: text is escaped unless it is markup already."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from dynanoise.report.charts.charts import Chart


class Markup(str):
    """HTML that `tag` made; everything else is text."""

    __slots__ = ()


def text(content: str) -> Markup:
    """Escaped text; line ends become breaks.

    >>> text("<b>")
    '&lt;b&gt;'
    """
    if isinstance(content, Markup):
        return content
    return Markup(html.escape(content).replace("\n", "<br>"))


def join(*parts: str) -> Markup:
    """Parts after each other, text among them escaped."""
    return Markup("".join(map(text, parts)))


def tag(name: str, *content: str, **attributes: str) -> Markup:
    """An element; an underscore in an attribute's name is a hyphen, one at its end is dropped.

    >>> tag("p", "1 < 2", tag("b", "x"), class_="a", aria_label='"')
    '<p class="a" aria-label="&quot;">1 &lt; 2<b>x</b></p>'
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{said}>{join(*content)}</{name}>")


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A table whose first row and column are headers, in a box that scrolls by itself."""
    head = tag("tr", *(tag("th", cell, scope="col") for cell in header))
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]))
        for row in rows
    ]
    made = tag(
        "table", tag("caption", tag("span", caption)), tag("thead", head), tag("tbody", *body)
    )
    return tag("div", made, class_="scroll", role="region", tabindex="0", aria_label=caption)


def figure(chart: Chart, key: str) -> Markup:
    """A chart with its text alternative, and its numbers as a table behind a click.

    Args:
        chart: what to show.
        key: of letters and digits, another one for each chart of a page.
    """
    numbers = tag(
        "details",
        tag("summary", "Numbers", tag("span", f" of: {chart.title}", class_="hidden")),
        table(chart.title, chart.header, chart.rows),
    )
    return tag(
        "figure",
        tag("figcaption", chart.title),
        inline(chart.picture.decode(), key, chart.title, chart.alternative),
        numbers,
    )


def inline(picture: str, key: str, title: str, alternative: str) -> Markup:
    """An SVG file of matplotlib as an element of a page.

    Its ids get a prefix, for two charts would share them; what names other places or styles the
    rest of the page is left out.
    """
    body = picture[picture.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\n?", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{key}-', body)
    body = re.sub(r'(xlink:href="|url\()#', rf"\1#{key}-", body)
    opening, rest = body.split(">", 1)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', opening)
    assert box is not None
    pixels = float(box[1]) * 4 / 3
    named = join(tag("title", title, id=f"{key}-title"), tag("desc", alternative, id=f"{key}-desc"))
    return Markup(
        f'<svg viewBox="{box[0][9:-1]}" style="max-width: {pixels:.0f}px" role="img" '
        f'aria-labelledby="{key}-title {key}-desc">{named}{rest.strip()}'
    )
