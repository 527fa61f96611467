"""The search's objective against an attacker who chooses its inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dynanoise.core.errors import InputError
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.evaluation.provenance import Provenance
from dynanoise.tuning.options import TuneOptions
from dynanoise.tuning.tuning import TunePlan, tune


def test_outputs_without_models_are_refused() -> None:
    generator = np.random.default_rng(0)
    use = (generator.random((8, 40)) < 0.5).astype(np.int8)

    def part(count: int, use: np.ndarray, first: int) -> Outputs:
        logits = generator.normal(size=(8, count, 1, 3))
        ids = np.arange(first, first + count)
        return Outputs(logits, generator.integers(0, 3, count), ids, use)

    outside = np.zeros((8, 20), dtype=np.int8)
    pool = Pool(part(40, use, 0), part(20, outside, 40), part(20, outside, 60), 0, "split")
    with pytest.raises(InputError, match="answer no chosen inputs"):
        tune(pool, TunePlan(trials=1, chosen=True), Provenance("made up", "none", ""))


def test_a_file_of_outputs_is_refused_before_it_is_read(tmp_path: Path) -> None:
    from dynanoise.cli.tune import _read_pool
    from dynanoise.tuning.options import SourceOptions

    with pytest.raises(InputError, match="holds outputs, which answer no chosen inputs"):
        _read_pool(SourceOptions(tmp_path / "outputs.npz"), TuneOptions(chosen=True))


def test_budgets_that_the_protocol_does_not_have_are_refused() -> None:
    with pytest.raises(InputError, match="budget of 1 to 256"):
        TuneOptions(queries=300, chosen=True)
