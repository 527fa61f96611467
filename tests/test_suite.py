"""The suite's own rules."""

from __future__ import annotations

from tests.conftest import unexpected_skips


def test_only_listed_reasons_may_skip_a_test() -> None:
    listed = ["Skipped: sst2 is in no local folder", "Skipped: keeps nothing apart"]
    assert unexpected_skips(listed) == []
    assert unexpected_skips([*listed, "Skipped: too slow today"]) == ["Skipped: too slow today"]
