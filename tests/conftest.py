"""Settings of the test suite."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, max_examples=100)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=100,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# For the loop of editing and testing: `make test-fast` takes it.
settings.register_profile("fast", deadline=None, max_examples=20)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def unexpected_skips(reasons: list[str]) -> list[str]:
    """Reasons of skipped tests that tests/skips.txt does not allow."""
    lines = (Path(__file__).parent / "skips.txt").read_text().splitlines()
    allowed = [line for line in lines if line and not line.startswith("#")]
    return [reason for reason in reasons if not any(re.search(line, reason) for line in allowed)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of CI that skipped a test for a reason that is not listed."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or hasattr(session.config, "workerinput") or reporter is None:
        return
    reasons = [
        str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        for report in reporter.stats.get("skipped", [])
    ]
    refused = unexpected_skips(reasons)
    if refused:
        reporter.ensure_newline()
        reporter.write_line("Skips that tests/skips.txt does not allow:", red=True)
        for reason in sorted(set(refused)):
            reporter.write_line(f"  {reason}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNANOISE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
