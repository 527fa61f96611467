"""Every text of every chart lies inside its picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from docs.generate import ROOT
from dynanoise.core.result import Metric, Result
from dynanoise.report.charts.parameter_lines import sweep_plot
from dynanoise.report.charts.search_front import SearchPoints, search_plot
from dynanoise.report.document import Chart, Document, Figures
from dynanoise.report.evidence_report import build_report
from dynanoise.report.io.results import read_results
from dynanoise.report.io.samples import read_evidence
from dynanoise.report.pages import build_page
from dynanoise.report.tables.settings_table import MeasuredSetting
from tests.factories.evidence import evidence, paper_records, pool_records, served_evidence
from tests.factories.results import overhead_record, overhead_records, records

pytest.importorskip("matplotlib", reason="pictures need: pip install 'dynanoise[plot]'")

pytestmark = pytest.mark.process

RUNS = sorted((ROOT / "results").glob("*/results.json"))
ATTACKED = [path for path in RUNS if path.parent.name != "overhead"]
LONG = "dynanoise(base_variance=0.3, lambda_scale=2, temperature=10, keep_label=True)"
MANY = ("none", "temperature", "dynanoise", LONG, *(f"{i} {LONG}" for i in range(12)))


OUTSIDE = """() => {
    const svg = document.querySelector("svg"), page = svg.getBoundingClientRect();
    return [...svg.querySelectorAll("g[id^=text_]")].flatMap(text => {
        const box = text.getBoundingClientRect();
        const name = [...text.childNodes].find(node => node.nodeType === 8)?.data.trim();
        const inside = box.left >= page.left && box.top >= page.top
            && box.right <= page.right && box.bottom <= page.bottom;
        return inside || !box.width ? [] : [name];
    });
}"""


class Pictures:
    """Pictures as Chromium draws them at their own size."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def clipped(self, picture: bytes) -> list[str]:
        """The texts that reach out of a picture."""
        self.page.set_content(f"<body style='margin: 20px'>{picture.decode()}")
        assert self.page.locator("g[id^=text_]").count() > 3
        outside: list[str] = self.page.evaluate(OUTSIDE)
        return outside

    def clipped_of(self, document: Document) -> list[str]:
        """Those of a report's first and last chart of each kind, of which it may have dozens."""
        blocks = [block for section in document.sections for block in section.blocks]
        charts = [c for block in blocks if isinstance(block, Figures) for c in block.charts]
        assert charts
        kinds: dict[str, list[Chart]] = {}
        for chart in charts:
            kinds.setdefault(chart.picture.__module__ + chart.picture.__qualname__, []).append(
                chart
            )
        drawn = [chart for kind in kinds.values() for chart in (kind[0], *kind[1:][-1:])]
        return [text for chart in drawn for text in self.clipped(chart.picture())]

    def clipped_of_page(self, results: Sequence[Result]) -> list[str]:
        """Those of the picture of a run."""
        picture = build_page(results).picture
        assert picture is not None
        return self.clipped(picture())


@pytest.fixture(scope="module")
def pictures(browser: Any) -> Iterator[Pictures]:
    page = browser.new_page(viewport={"width": 1200, "height": 2000})
    yield Pictures(page)
    page.close()


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.parent.name)
def test_committed_pictures(path: Path, pictures: Pictures) -> None:
    for picture in path.parent.glob("*.svg"):
        assert pictures.clipped(picture.read_bytes()) == []
    assert pictures.clipped_of_page(read_results(path)) == []


@pytest.mark.behaviour
@pytest.mark.parametrize("path", ATTACKED, ids=lambda path: path.parent.name)
def test_reports_of_committed_results(path: Path, pictures: Pictures) -> None:
    found = read_evidence(path.parent)
    assert pictures.clipped_of(build_report(found)) == []


@pytest.mark.behaviour
@pytest.mark.parametrize(
    ("methods", "queries"),
    [(("none", "noise"), (1, 4, 16, 64)), (("none", LONG), (1, 4, 16, 64)), (MANY, (1, 16))],
    ids=["short", "long", "many"],
)
def test_reports_of_long_and_many_names(
    methods: tuple[str, ...], queries: tuple[int, ...], pictures: Pictures
) -> None:
    report = build_report(evidence(queries=queries, methods=methods))
    assert pictures.clipped_of(report) == []


def test_an_audit_of_a_server(pictures: Pictures) -> None:
    assert pictures.clipped_of(build_report(served_evidence(configured=False))) == []


@pytest.mark.parametrize("methods", [("none", LONG), MANY])
def test_attack_success_of_long_and_many_names(
    methods: tuple[str, ...], pictures: Pictures
) -> None:
    for rows in (paper_records(methods), pool_records(16, methods)):
        named = [replace(row, preset="a_data_set_with_a_long_name_of_its_own") for row in rows]
        assert pictures.clipped_of_page(named) == []


def test_times_of_long_names_and_large_ratios(pictures: Pictures) -> None:
    rows = [*overhead_records(), overhead_record(LONG, 12345.6), overhead_record("slow", 0.01)]
    named = [replace(row, model="a model whose name is long " * 3) for row in rows]
    assert pictures.clipped_of_page(named) == []


@pytest.mark.parametrize("count", [2, 12])
def test_sweeps_of_few_and_many_values(count: int, pictures: Pictures) -> None:
    rows = []
    for row in records():
        if row.method == "none":
            rows.append(row)
        if row.method == "dynanoise":
            values = [f"base_variance={0.001 * 3**step:.6g}" for step in range(count)]
            rows += [replace(row, method=value) for value in values]
    named = [replace(row, preset="a_data_set_with_a_long_name_of_its_own") for row in rows]
    assert pictures.clipped(sweep_plot(named)) == []


@pytest.mark.parametrize("far", [0.1, 5.0])
def test_searches(far: float, pictures: Pictures) -> None:
    gain = {"adaptive": Metric(0.1, 0.05, 0.15)}
    settings = [MeasuredSetting(f"setting_{i}", {}, gain, 0.0, 1.0 + i * far, 0.1) for i in (1, 2)]
    front = [(1.0, 0.05), (1.0 + far, 0.2)]
    points = SearchPoints(
        front, front, front, (1.2, 0.1), 1.0, 1.0 + 3 * far, 4096, settings, "setting_1"
    )
    assert pictures.clipped(search_plot(points)) == []
