"""Pages made from Records and from --help are the ones that are committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynanoise.record import Record
from dynanoise.report.records import load
from tests.generated import PAGES, RECORDS, ROOT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_pages_are_up_to_date(page: Path) -> None:
    assert page.read_text() == PAGES[page](), f"run `make docs`: {page.relative_to(ROOT)} is stale"


def test_the_committed_records_are_what_the_code_gives(twenty_seeds: list[Record]) -> None:
    """The same versions and processor give the same bits; elsewhere, nearly the same numbers."""
    committed = load(RECORDS)
    assert len(committed) == len(twenty_seeds)
    same_place = (committed[0].versions, committed[0].hardware) == (
        twenty_seeds[0].versions,
        twenty_seeds[0].hardware,
    )
    for old, new in zip(committed, twenty_seeds, strict=True):
        assert (old.contender, old.attack, old.seed, old.split, old.command) == (
            new.contender,
            new.attack,
            new.seed,
            new.split,
            new.command,
        )
        if same_place:
            assert old.metrics == new.metrics
        elif "asr" in old.metrics:
            assert abs(old.metrics["asr"].value - new.metrics["asr"].value) < 0.1
        else:
            assert abs(old.metrics["accuracy"].value - new.metrics["accuracy"].value) < 0.05
