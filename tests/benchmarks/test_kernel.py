"""The kernel's benchmark compares equal pipelines and writes its measurements."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs: pip install 'dynanoise[train]'")
pytest.importorskip("numba", reason="the kernel needs: pip install 'dynanoise[fast]'")

from benchmarks import kernel  # noqa: E402
from tests.factories.keyed_noise import rows  # noqa: E402


class FixedNormals:
    """A noise source with normals that were drawn elsewhere."""

    repeatable = True

    def __init__(self, normals: object) -> None:
        self.normals = np.asarray(normals, float)

    def draw(self, logits: object, draws: int, purpose: str) -> object:
        return logits, self.normals[None]


def test_torch_has_the_same_pipeline() -> None:
    logits = rows(40, 7).astype(np.float32)
    torch.manual_seed(0)
    result = kernel.by_torch(torch.from_numpy(logits), kernel.DEFENSE).numpy()
    torch.manual_seed(0)
    normals = torch.randn_like(torch.from_numpy(logits)).numpy()
    expected = kernel.DEFENSE(logits, FixedNormals(normals))  # type: ignore[arg-type]
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_the_faster_counts() -> None:
    seconds = {"torch, 2": [4.0, 1.0, 6.0], "torch, 1": [2.0, 4.0, 2.0], "floor, numpy": [1.0] * 3}
    seconds |= {"kernel, fresh": [0.5, 0.5, 1.0], "kernel, keyed": [1.0] * 3}
    result = kernel.summary({**seconds, "call, fresh": [1.0] * 3, "call, keyed": [2.0] * 3})
    assert result["times_as_fast_as_torch"]["kernel, fresh"]["value"] == 4.0
    assert result["keyed_over_fresh"]["value"] == 2.0 and result["fresh_over_floor"]["value"] == 0.5


def test_everything_is_measured_and_written(tmp_path: Path) -> None:
    out, before = tmp_path / "kernel.json", torch.get_num_threads()
    kernel.main(["--shapes", "2x3", "--rounds", "1", "--out", str(out)])
    result = json.loads(out.read_text())
    assert {"numba", "torch", "numpy"} <= set(result["versions"])
    assert {"processor", "load_before"} <= set(result["hardware"])
    assert set(result["by_shape"]["2x3"]["times_as_fast_as_torch"]) == {
        "kernel, fresh",
        "kernel, keyed",
        "call, fresh",
        "call, keyed",
        "call, fresh, float64",
    }
    assert torch.get_num_threads() == before
