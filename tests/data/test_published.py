"""The published sets themselves, where they are at hand."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from dynanoise.core.registry import DATASETS
from dynanoise.data import cache, sources
from dynanoise.data.dataset import Data
from dynanoise.data.datasets.cifar10 import CIFAR10
from dynanoise.data.datasets.imagenet10 import IMAGENET10
from dynanoise.data.datasets.sst2 import SST2
from dynanoise.data.splits import split_of

pytest.importorskip("pyarrow", reason="data need pyarrow: pip install 'dynanoise[data]'")
pytest.importorskip("PIL", reason="data need pillow: pip install 'dynanoise[data]'")
pytestmark = pytest.mark.behaviour


def load(published: sources.Published) -> Data:
    if not sources.local(published):
        pytest.skip(f"{published.name} is in no local folder")
    data: Data = DATASETS.get(published.name)()
    return data


def test_cifar10() -> None:
    data = load(CIFAR10)
    assert data.inputs.shape == (60_000, 32, 32, 3) and data.inputs.dtype == np.uint8
    assert data.test_from == 50_000 and data.classes == 10
    assert np.bincount(data.labels[:50_000]).tolist() == [5_000] * 10
    assert np.bincount(data.labels[50_000:]).tolist() == [1_000] * 10
    assert data.class_names[:2] == ("airplane", "automobile")
    # Per-channel mean and deviation of CIFAR-10 as everybody normalises with (0.4914, ...).
    train = data.inputs[:50_000:5].reshape(-1, 3) / 255
    assert train.mean(0) == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-3)
    assert train.std(0) == pytest.approx([0.2470, 0.2435, 0.2616], abs=5e-3)
    split = split_of(data, pool=50_000, reference=2_000, seed=0)
    assert list(split.counts.values()) == [28_000, 7_000, 7_500, 7_500, 2_000, 8_000]


def test_imagenet10() -> None:
    data = load(IMAGENET10)
    assert data.inputs.shape == (5_500, 64, 64, 3) and data.test_from == 5_000
    assert np.bincount(data.labels[:5_000]).tolist() == [500] * 10
    assert np.bincount(data.labels[5_000:]).tolist() == [50] * 10
    assert data.class_names[0] == "king penguin"


def test_sst2() -> None:
    data = load(SST2)
    assert len(data) == 6_920 + 872 + 1_821 and data.test_from == 6_920
    assert data.inputs.shape[1] == 64 and data.inputs.dtype == np.int32
    assert data.classes == 2 and data.vocabulary_size == data.inputs.max() + 1
    # No sentence is empty or cut, and few words are unknown.
    assert (data.inputs[:, 0] > 0).all() and not data.inputs[:, -1].any()
    assert (data.inputs == 1).sum() / (data.inputs > 0).sum() < 0.1


def test_a_second_load_is_the_same_bytes_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNANOISE_CACHE", str(tmp_path))
    started = time.perf_counter()
    first = load(IMAGENET10)
    decoded = time.perf_counter()

    def undone(data: Data) -> memoryview:
        raise AssertionError("decoded again")

    monkeypatch.setattr(cache, "_dump", undone)
    second = load(IMAGENET10)
    print(f"decoded in {decoded - started:.2f} s, cached {time.perf_counter() - decoded:.2f} s")
    assert first.inputs.tobytes() == second.inputs.tobytes()
    assert first.labels.tobytes() == second.labels.tobytes()
    assert first.digest == second.digest and first.class_names == second.class_names
