"""What results say of the training of their models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'dynanoise[train]'")

from dynanoise.benchmark.layouts import effort
from dynanoise.training.jobs import ModelOutputs


def test_results_have_the_largest_epsilon_of_private_models() -> None:
    nothing = np.zeros((0, 1, 2), dtype=np.float32)
    plain = ModelOutputs(nothing, nothing[:, 0], seconds=2.0)
    private = [
        replace(plain, facts={"epsilon": np.array(value), "delta": np.array(1e-4)})
        for value in (2.5, 3.0, np.inf)  # infinite without noise
    ]
    found = effort(private[:2])
    assert (found["seconds"], found["epsilon"], found["delta"]) == (4.0, 3.0, 1e-4)
    assert effort([*private, plain], private[:1])["epsilon"] == 2.5
    for unbounded in ([plain], private, [private[0], plain]):
        assert "epsilon" not in effort(unbounded)
