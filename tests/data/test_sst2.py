"""The text model on the whole of SST-2, where it is at hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")
pytest.importorskip("pyarrow", reason="data need pyarrow: pip install 'dynanoise[data]'")
pytest.importorskip("PIL", reason="data need pillow: pip install 'dynanoise[data]'")

from dynanoise.benchmark.preset import Kind
from dynanoise.benchmark.presets import PRESETS
from dynanoise.core.registry import DATASETS, RECIPES
from dynanoise.data import sources
from dynanoise.data.datasets.sst2 import SST2
from dynanoise.training.jobs import Job, train_and_query


@pytest.mark.behaviour
def test_the_text_model_learns_sst2_in_seconds() -> None:
    """From its 6,920 training sentences, as the preset trains it."""
    if not sources.local(SST2):
        pytest.skip("sst2 is in no local folder")
    data, preset = DATASETS.get("sst2")(), PRESETS["sst2"]
    members = np.arange(data.test_from)
    job = Job(
        name="text",
        model=preset.architecture(Kind("plain")),
        recipe=RECIPES.get("plain")(**preset.size(None).recipes["plain"]),
        members=members,
        reference=members[:0],
        seed=0,
    )
    started = time.perf_counter()
    trained = train_and_query(job, data)
    seconds = time.perf_counter() - started
    guesses = trained.outputs.logits[data.test_from :, 0].argmax(axis=1)
    accuracy = (guesses == data.labels[data.test_from :]).mean()
    print(f"accuracy {accuracy:.4f} on {len(guesses)} sentences after {seconds:.1f} s")
    assert len(members) == 6_920 and accuracy >= 0.75
