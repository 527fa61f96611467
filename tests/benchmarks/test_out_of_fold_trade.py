"""The indirect attack queries models that may have seen the record, nearest inputs first."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the benchmark fits forests")

from benchmarks.out_of_fold_trade import INDIRECT, SETTINGS, indirect
from dynanoise.partition.cells import Cells
from dynanoise.partition.neighbourhood import NumberNoise

ROWS = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
CELLS = Cells.fit(ROWS, folds=6, width=1.0, components=2, neighbourhood=NumberNoise(0.005))


@pytest.mark.parametrize("cells", [CELLS, None])
def test_other_models_are_queried_as_near_the_record_as_they_answer(cells: Cells | None) -> None:
    chosen = indirect(ROWS, np.arange(60), cells)
    for name, queries in chosen.items():
        assert queries.shape == (60, INDIRECT, 3)
        away = ((queries - ROWS[:, None]) ** 2).sum(axis=2)
        assert (away[:, 0] > 0).all() and (away[:, 0] == away.min(axis=1)).all()
        if cells is not None:
            folds = cells.fold(queries.reshape(-1, 3)).reshape(60, INDIRECT)
            assert not cells.touched(ROWS)[folds, np.arange(60)[:, None]].any()
            # Without the cells nearer inputs are chosen, and models that never saw the record.
            nearer = indirect(ROWS, np.arange(60), None)[name]
            assert cells.touched(ROWS)[cells.fold(nearer[:, 0]), np.arange(60)].any()
        if name == "records":
            assert {row.tobytes() for row in queries.reshape(-1, 3)} <= {r.tobytes() for r in ROWS}


def test_a_record_that_no_other_model_answers_near_is_queried_itself() -> None:
    wide = Cells.fit(ROWS, folds=2, width=1.0, components=2, neighbourhood=NumberNoise(0.5))
    closed = wide.touched(ROWS).all(axis=0)
    assert closed.any()
    for queries in indirect(ROWS, np.arange(60), wide).values():
        np.testing.assert_array_equal(
            queries[closed], ROWS[closed][:, None].repeat(INDIRECT, axis=1)
        )


def test_the_settings_have_every_number_of_models_and_the_undefended_model() -> None:
    assert {setting.get("models") for setting in SETTINGS} == {None, 2, 5, 10, 20}
    assert any(setting.get("width") == 0 for setting in SETTINGS)
