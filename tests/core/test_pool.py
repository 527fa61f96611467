"""Pools of models over the same examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynanoise.core.errors import InputError
from dynanoise.core.pool import Pool
from tests.build_pool import pool_outputs


def test_a_pool_s_parts_are_of_the_same_models() -> None:
    examples = pool_outputs(0, models=4, count=20)
    nobody = replace(examples, use=np.zeros_like(examples.use))
    made = Pool(examples, nobody, nobody, seed=0, split="made up")
    assert made.models == 4
    view = made.view(2)
    np.testing.assert_array_equal(view.members.ids, np.flatnonzero(examples.use[2] == 1))
    np.testing.assert_array_equal(view.members.logits[0], examples.logits[2, view.members.ids])
    np.testing.assert_array_equal(view.reference.logits, nobody.logits[2:3])
    with pytest.raises(InputError, match="Ask every model"):
        Pool(examples, nobody.select(models=[0, 1]), nobody, seed=0, split="")
