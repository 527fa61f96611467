"""One table, the same numbers in every renderer; layouts that fit where they can."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.console import Console

from dynanoise.core.errors import InputError
from dynanoise.core.result import Metric
from dynanoise.report.document import Document, Section
from dynanoise.report.numbers import change
from dynanoise.report.render.console import console_table, table_text
from dynanoise.report.render.csv_file import table_csv
from dynanoise.report.render.html import render_html
from dynanoise.report.render.markdown import captioned_markdown, table_markdown
from dynanoise.report.table import MISSING, Cell, Column, Table, make_table, number_cell

HEADINGS: list[str | Column] = [
    "Method",
    "AUC",
    Column("Mod. entropy", short="Entr."),
    "adaptive_recipe: worst",
]


def table() -> Table:
    auc = Metric(0.56649, 0.5571, 0.5759)
    worst = Metric(-0.0041, -0.0104, 0.0021)
    return make_table(
        "made up",
        HEADINGS,
        [
            ["none", number_cell(auc, note="LiRA"), number_cell(Metric(0.5)), MISSING],
            [
                "static",
                number_cell(None),
                Cell("0.5", emphasis="strong"),
                number_cell(worst, change),
            ],
        ],
    )


def test_every_renderer_has_the_same_numbers() -> None:
    html = render_html(Document("t", "s", "c", (Section("k", "h", (table(),)),)))
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    texts = [table_text(table(), 100), table_markdown(table()), re.sub(r"<[^>]+>", " ", body)]
    numbers = [[float(number) for number in re.findall(r"[+-]?\d*\.\d+", text)] for text in texts]
    assert numbers[0] == numbers[1] == numbers[2]
    assert numbers[0] == [0.566, 0.557, 0.576, 0.5, 0.5, -0.004, -0.010, 0.002]


def test_markdown_aligns_and_emphasises() -> None:
    assert table_markdown(table()).splitlines() == [
        "| Method | AUC | Mod. entropy | adaptive_recipe: worst |",
        "| :-- | --: | --: | --: |",
        "| none | 0.566 [0.557, 0.576]<br>LiRA | 0.500 | - |",
        "| static | - | **0.5** | -0.004 [-0.010, +0.002] |",
    ]
    assert captioned_markdown([table()]).startswith("made up\n\n| Method |")


def test_a_terminal_gets_the_widest_layout_that_fits() -> None:
    lines = table_text(table(), 80).splitlines()
    assert "none" in lines[3] and "0.566 [.557,.576] LiRA" in lines[3]
    stacked = table_text(table(), 45).splitlines()
    assert stacked[1].split() == ["adaptive_"] and "Entr." in stacked[2]
    assert any(line.split() == ["[.557,.576]"] for line in stacked)
    parts = table_text(table(), 34)
    assert parts.count("Method") == 2 and parts.count("[.557,.576]") == 1 and "-0.004" in parts
    for width in (80, 45, 34):
        assert max(map(len, table_text(table(), width).splitlines())) <= width


def test_groups_end_with_a_line() -> None:
    grouped = replace(table(), group_ends=frozenset({0}))
    rules = [line for line in table_text(grouped, 80).splitlines() if set(line) <= {"─", " "}]
    assert len(rules) == 2
    assert '<tr class="end">' in render_html(
        Document("t", "s", "c", (Section("k", "h", (grouped,)),))
    )


def test_names_are_no_markup_of_the_terminal() -> None:
    evil = make_table("[bold]x[/nothing]", ["[/red]"], [["[/blue]name"]])
    assert table_text(evil, 80).count("[/") == 3
    Console(width=80, quiet=True).print(console_table(evil, 80))


def test_csv_has_full_precision() -> None:
    assert table_csv(table()).splitlines()[1:] == [
        "none,0.56649,0.5,-",
        "static,-,0.5,-0.0041",
    ]


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match="Row 1 of the table 'x' has 1 cells for 2 columns"):
        make_table("x", ["a", "b"], [["1", "2"], ["1"]])
