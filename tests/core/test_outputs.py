"""`Outputs` refuse what does not fit together and are read-only; views of runs and pools."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dynanoise.core.errors import InputError, QueryBudgetError
from dynanoise.core.observation import Observation
from dynanoise.core.outputs import Pool
from tests.factories.attack_cases import pool_outputs, target_and_shadows
from tests.factories.outputs import make_outputs, make_run


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"logits": np.zeros((1, 40, 3), np.float32)}, r"shape \(1, 40, 3\)"),
        ({"logits": np.zeros((1, 40, 1, 3), np.int64)}, "dtype int64"),
        ({"logits": np.full((1, 40, 1, 3), np.nan)}, "NaN or infinity"),
        ({"logits": np.zeros((1, 40, 0, 3))}, "each record at least one input"),
        ({"logits": np.zeros((1, 40, 1, 1))}, "two classes"),
        ({"labels": np.zeros(39, np.int64)}, r"labels has shape \(39,\)"),
        ({"labels": np.full(40, 3)}, "A label is 3 with 3 classes"),
        ({"labels": np.full(40, -1)}, "A label is -1 with 3 classes"),
        ({"labels": np.zeros(40)}, "dtype float64"),
        ({"ids": np.zeros(40, np.int64)}, "name a record twice"),
        ({"use": np.zeros((2, 40), np.int8)}, r"use has shape \(2, 40\)"),
        ({"use": np.full((1, 40), 2)}, r"use holds \[2\]"),
    ],
)
def test_outputs_that_do_not_fit_together_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        replace(make_outputs(), **change)


def test_outputs_are_read_only() -> None:
    rows = make_outputs()
    for array in (rows.logits, rows.labels, rows.ids, rows.use):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


def test_select_takes_the_same_examples_everywhere() -> None:
    rows = make_outputs(models=3)
    chosen = rows.select(models=[2, 0], records=[5, 7])
    assert chosen.models == 2
    np.testing.assert_array_equal(chosen.logits, rows.logits[[2, 0]][:, [5, 7]])
    np.testing.assert_array_equal(chosen.labels, rows.labels[[5, 7]])
    np.testing.assert_array_equal(chosen.ids, rows.ids[[5, 7]])
    np.testing.assert_array_equal(chosen.use, rows.use[[2, 0]][:, [5, 7]])


def test_a_run_gives_each_model_its_own_view() -> None:
    run = make_run()
    for model in range(1 + run.shadows.models):
        view = run.view(model)
        assert view.members.models == view.reference.models == 1
        assert (view.members.use == 1).all()
        np.testing.assert_array_equal(view.reference.logits[0], run.reference.logits[model])
    shadow = run.shadows.select(models=[1], records=run.shadows.use[1] == 1)
    np.testing.assert_array_equal(run.view(2).members.logits, shadow.logits)
    np.testing.assert_array_equal(run.view(2).members.ids, shadow.ids)


def test_a_pool_s_parts_are_of_the_same_models() -> None:
    records = pool_outputs(0, models=4, count=20)
    empty = replace(records, use=np.zeros_like(records.use))
    pool = Pool(records, empty, empty, seed=0, split="made up")
    assert pool.models == 4
    view = pool.view(2)
    np.testing.assert_array_equal(view.members.ids, np.flatnonzero(records.use[2] == 1))
    np.testing.assert_array_equal(view.members.logits[0], records.logits[2, view.members.ids])
    np.testing.assert_array_equal(view.reference.logits, empty.logits[2:3])
    with pytest.raises(InputError, match="Query every model"):
        Pool(records, empty.select(models=[0, 1]), empty, seed=0, split="")


def test_an_attacker_has_no_membership_and_one_answer() -> None:
    assert not {"use", "members"} & set(Observation.__dataclass_fields__)
    observation = target_and_shadows(0, 1.0)[0]
    with pytest.raises(QueryBudgetError, match="repeated each query 3 times"):
        observation.repeat(3)


def test_shadow_rows_of_one_kind_are_refused() -> None:
    """The first shadow model alone is what three of the attacks learn from."""
    shadows = target_and_shadows(0, 1.0, count=10, models=2)[2]
    use = np.stack([np.ones(10), np.zeros(10)]).astype(np.int8)
    with pytest.raises(InputError, match="first 1 shadow models are on 10 members and 0 non-"):
        replace(shadows, use=use).rows(models=1)
    assert len(replace(shadows, use=use).rows()[0]) == 20


def test_hidden_pairs_are_left_out_of_the_rows() -> None:
    shadows = target_and_shadows(0, 1.0, count=10, models=2)[2]
    use = shadows.use.copy()
    use[0, :4] = -1
    log_probs, labels, members = replace(shadows, use=use).rows()
    assert len(log_probs) == len(labels) == len(members) == 16
    np.testing.assert_array_equal(labels[:6], shadows.observations[0].labels[4:])
    np.testing.assert_array_equal(members[:6], use[0, 4:] == 1)
    assert len(replace(shadows, use=use).rows(models=1)[0]) == 6
