"""Pages made from results and from --help are the ones that are committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate import PAGES, RESULTS, ROOT
from dynanoise.core.result import Result
from dynanoise.report.io.results import read_results
from dynanoise.report.summary import summarise


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=getattr(pytest.mark, kind), id=page.name)
        for page in PAGES
        for kind in ["process" if page.name == "cli.md" else "behaviour"]
    ],
)
def test_generated_pages_are_up_to_date(page: Path) -> None:
    assert page.read_text() == PAGES[page](), f"run `make docs`: {page.relative_to(ROOT)} is stale"


@pytest.mark.behaviour
def test_the_committed_records_are_what_the_code_gives(twenty_seeds: list[Result]) -> None:
    """The same versions and processor give the same bits; elsewhere, nearly the same numbers."""
    rows = ("none", "temperature", "static", "dynanoise")  # the peers would take minutes
    committed = [r for r in read_results(RESULTS) if r.method in rows and r.protocol == "paper"]
    assert len(committed) == len(twenty_seeds)
    same_place = (committed[0].versions, committed[0].hardware) == (
        twenty_seeds[0].versions,
        twenty_seeds[0].hardware,
    )
    for old, new in zip(committed, twenty_seeds, strict=True):
        same = ("method", "attack", "seed", "split", "counts")
        assert [getattr(old, name) for name in same] == [getattr(new, name) for name in same]
        if same_place:
            assert old.metrics == new.metrics
    for method in ("none", "temperature", "static", "dynanoise"):
        # The spread over seeds leaves a mean of 20 an error of 0.005.
        for attack, metric in (("confidence", "asr"), ("lira_by_class", "asr"), (None, "accuracy")):
            before, after = (
                summarise(rows).spread(method, attack, metric).mean
                for rows in (committed, twenty_seeds)
            )
            assert abs(before - after) < 0.015
