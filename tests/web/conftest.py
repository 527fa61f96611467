"""One node for all tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.web.javascript import JavaScript


@pytest.fixture(scope="session")
def js() -> Iterator[JavaScript]:
    running = JavaScript()
    yield running
    running.close()
