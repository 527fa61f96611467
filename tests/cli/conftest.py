"""Every test of a command has an empty cache."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """So that no test finds models of another one, and none are left in the user's cache."""
    monkeypatch.setenv("DYNANOISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
