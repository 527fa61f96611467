"""Settings of the test suite, and the one long run that several tests look at."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from dynanoise.core.result import Result

settings.register_profile("default", deadline=None, max_examples=100)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=100,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session")
def twenty_seeds() -> list[Result]:
    """DynaNoise and its controls on digits over 20 seeds, about 20 seconds."""
    pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
    from dynanoise.benchmark.benchmark import Plan, bench

    rows = ("temperature", "static", "dynanoise")
    return list(bench(Plan("digits", seeds=20, methods=rows, protocols=("paper",))))
