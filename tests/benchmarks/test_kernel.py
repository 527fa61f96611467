"""The kernel's benchmark compares the same pipelines, and writes what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs: pip install 'dynanoise[train]'")
pytest.importorskip("numba", reason="the kernel needs: pip install 'dynanoise[fast]'")

from benchmarks import kernel  # noqa: E402
from tests.noise.build_keyed import rows  # noqa: E402


class Given:
    """A noise source whose normals were drawn elsewhere."""

    repeatable = True

    def __init__(self, normals: object) -> None:
        self.normals = np.asarray(normals, float)

    def draw(self, logits: object, draws: int, purpose: str) -> object:
        return logits, self.normals[None]


def test_torch_has_the_same_pipeline() -> None:
    logits = rows(40, 7).astype(np.float32)
    torch.manual_seed(0)
    found = kernel.by_torch(torch.from_numpy(logits), kernel.DEFENSE).numpy()
    torch.manual_seed(0)
    normals = torch.randn_like(torch.from_numpy(logits)).numpy()
    expected = kernel.DEFENSE(logits, Given(normals))  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_faster_counts() -> None:
    seconds = {"torch, 2": [4.0, 1.0, 6.0], "torch, 1": [2.0, 4.0, 2.0], "floor, numpy": [1.0] * 3}
    seconds |= {"kernel, fresh": [0.5, 0.5, 1.0], "kernel, keyed": [1.0] * 3}
    found = kernel.summary({**seconds, "call, fresh": [1.0] * 3, "call, keyed": [2.0] * 3})
    assert found["times_as_fast_as_torch"]["kernel, fresh"]["value"] == 4.0
    assert found["keyed_over_fresh"]["value"] == 2.0 and found["fresh_over_floor"]["value"] == 0.5


def test_everything_is_measured_and_written(tmp_path: Path) -> None:
    out, before = tmp_path / "kernel.json", torch.get_num_threads()
    kernel.main(["--shapes", "2x3", "--rounds", "1", "--out", str(out)])
    found = json.loads(out.read_text())
    assert {"numba", "torch", "numpy"} <= set(found["versions"])
    assert {"processor", "load_before"} <= set(found["hardware"])
    assert set(found["by_shape"]["2x3"]["times_as_fast_as_torch"]) == {
        "kernel, fresh",
        "kernel, keyed",
        "call, fresh",
        "call, keyed",
    }
    assert torch.get_num_threads() == before
