"""The table, sentences and picture of time and memory say what the results say."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dynanoise.core.errors import InputError
from dynanoise.core.result import Metric
from dynanoise.report.charts import time_ratios
from dynanoise.report.io import published
from dynanoise.report.pages import build_page
from dynanoise.report.render.console import table_text
from dynanoise.report.render.markdown import table_markdown
from dynanoise.report.tables import time_table
from dynanoise.report.tables.time_table import Times, collect_times, time_caption, time_findings
from tests.factories.results import overhead_record, overhead_records, records

PUBLISHED = Path(published.__file__).parent / "published.json"


@pytest.fixture
def times() -> Times:
    return collect_times(overhead_records())


def printed(times: Times, width: int) -> str:
    return table_text(time_table.time_table(times), width)


def test_published_values_are_the_papers() -> None:
    table = json.loads(PUBLISHED.read_text())["inference_overhead"]
    assert {
        "none": 1.0, "dynanoise": table["dynanoise"], "memguard": table["memguard"],
    } == time_table.PUBLISHED  # fmt: skip
    assert {"dynanoise": table["dynanoise_ms_per_sample"]} == time_table.PUBLISHED_MS


def test_ours_stands_beside_the_published(times: Times) -> None:
    text = printed(times, 100)
    lines = [line.split() for line in text.splitlines()]
    assert ["none", "1.00", "1.00", "1.00", "0.100", "0.0500", "<0.01", "1.3", "2.0"] in lines
    assert ["dynanoise", "1.25", "1.25", "1.01", "0.125", "0.0625", "<0.01", "1.3", "2.0"] in lines
    assert ["[1.23,1.27]", "[1.23,1.27]"] in lines
    assert ["memguard", "250.0", "250.0", "198.8", "25.0", "12.5", "<0.01", "1.3", "2.3"] in lines
    temperature = next(line for line in lines if line[:1] == ["temperature"])
    assert temperature[3] == "-"
    assert ["[245.0,255.0]", "[245.0,255.0]"] in lines


def test_80_columns_are_enough_for_one_batch_size_and_usual_numbers() -> None:
    text = printed(collect_times(overhead_records()[:3]), 80)
    assert "[1.23,1.27]  [1.23,1.27]" in text


def test_markdown_has_the_same_numbers(times: Times) -> None:
    lines = table_markdown(time_table.time_table(times)).splitlines()
    assert lines[0].startswith(
        "| Method | Time, batch 1 | Time, batch 256 | Time, paper | ms, batch 1 |"
    )
    assert lines[4].startswith("| dynanoise | 1.25 [1.23, 1.27] | 1.25 [1.23, 1.27] | 1.01 |")
    assert len({line.count("|") for line in lines}) == 1


def test_sentences_name_the_noise_and_the_published(times: Times) -> None:
    noise, published = time_findings(times)
    assert noise == (
        "Timed twice a round, the undefended model's second time was 1.00 [0.99, 1.02] of the "
        "first at batch 1 and 1.00 [0.99, 1.02] of the first at batch 256; differences of that "
        "size are noise."
    )
    assert "1.01 with dynanoise, 198.8 with memguard, 0.1432 ms a record with dyn" in published
    assert "on 1 thread." in time_caption(times)


def test_a_machine_that_is_not_quiet_is_said_to_be_so() -> None:
    none, *others = overhead_records()
    loud = replace(none, metrics={**none.metrics, "repeat_ratio_batch_1": Metric(1, 0.8, 1.1)})
    noise = time_findings(collect_times([loud, *others]))[0]
    assert "The machine was not quiet: differences below 20% are noise." in noise


def test_without_published_rows_nothing_is_said_of_them() -> None:
    assert len(time_findings(collect_times(overhead_records()[:2]))) == 1


def test_other_batch_sizes_have_columns_too() -> None:
    def renamed(name: str) -> str:
        return name.replace("batch_256", "batch_32")

    rows = [
        replace(row, metrics={renamed(name): value for name, value in row.metrics.items()})
        for row in overhead_records()
    ]
    assert collect_times(rows).batches == (1, 32)
    assert "| Time, batch 32 |" in table_markdown(time_table.time_table(collect_times(rows)))


def test_what_is_no_run_of_overhead_is_refused() -> None:
    rows = overhead_records()
    for wrong, says in (
        ([], "of nothing"),
        (records(), r"made up \(paper\)"),
        ([*rows, records()[0]], r"made up \(overhead\), made up \(paper\)"),
        ([*rows, overhead_record("none", 1.0)], "Pass one for each"),
    ):
        with pytest.raises(InputError, match=says):
            collect_times(wrong)


@pytest.mark.parametrize(
    ("row", "name"),
    [(0, "repeat_ratio_batch_1"), (1, "ms_per_record_batch_256"), (2, "fitted_mib")],
)
def test_records_that_lack_a_metric_are_named(row: int, name: str) -> None:
    rows = overhead_records()
    metrics = {key: value for key, value in rows[row].metrics.items() if key != name}
    rows[row] = replace(rows[row], metrics=metrics)
    with pytest.raises(InputError, match=f"{rows[row].method} lacks {name}"):
        collect_times(rows)


def test_a_page_is_of_the_kind_of_its_records() -> None:
    assert build_page(overhead_records()).picture_name == "overhead.svg"
    assert build_page(records()).picture_name == "attack_success.svg"
    with pytest.raises(InputError, match="Pass those of one"):
        build_page([*records(), *overhead_records()])


def test_the_picture_is_svg_and_repeats_itself() -> None:
    pytest.importorskip("matplotlib", reason="pictures need: pip install 'dynanoise[plot]'")
    page = build_page(overhead_records())
    assert page.picture is not None
    first = page.picture()
    assert first == page.picture()
    assert ET.fromstring(first).tag.endswith("svg")


def test_the_picture_shows_ours_and_the_published_on_a_log_axis(
    times: Times,
) -> None:
    pytest.importorskip("matplotlib", reason="pictures need: pip install 'dynanoise[plot]'")
    from matplotlib.figure import Figure

    figure = Figure()
    time_ratios.draw_times(figure, times)
    (axes,) = figure.axes
    lines = {line.get_label(): np.asarray(line.get_xdata()).tolist() for line in axes.get_lines()}
    assert lines["one record"] == lines["batch of 256"] == [1.0, 1.0, 1.25, 250.0]
    assert lines["published (arXiv:2505.13362v2)"] == [1.01, 198.8]
    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    assert low < 0.98 and high > 255
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("198.8×") == 1 and texts.count("250.0×") == 2


def test_a_published_value_beyond_ours_is_not_cut_off() -> None:
    faster = overhead_record("memguard", 3.0)
    low, high = time_ratios.time_span(collect_times([*overhead_records()[:3], faster]))
    assert low < 0.98 and high > 198.8
