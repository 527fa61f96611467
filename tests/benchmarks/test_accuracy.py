"""The benchmark of accuracy trains on what it says and tests on the official test part."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
pytest.importorskip("pyarrow", reason="data need pyarrow: pip install 'dynanoise[data]'")
pytest.importorskip("PIL", reason="data need pillow: pip install 'dynanoise[data]'")

from benchmarks.accuracy import accuracy
from dynanoise.data import sources
from dynanoise.data.datasets.sst2 import SST2


@pytest.mark.behaviour
def test_a_model_is_trained_and_tested() -> None:
    if not sources.local(SST2):
        pytest.skip("sst2 is in no local folder")
    found = accuracy("sst2", 600, 8, seed=0)
    assert found["training_records"] == 600 and found["epochs"] == 8
    assert found["training_accuracy"] > found["test_accuracy"] > 0.5
