"""Pages made from results and from --help are the ones that are committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate import PAGES, ROOT


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
