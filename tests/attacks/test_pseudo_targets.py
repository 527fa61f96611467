"""Shadow models played as targets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynanoise.attacks.pseudo_targets import leave_one_out, pseudo_targets
from dynanoise.core import membership
from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.evaluation.responses import observe_shadow_logits
from tests.factories.attack_cases import pool_case, reorder_shadows


def test_a_pseudo_target_is_never_its_own_shadow() -> None:
    _, _, shadows = pool_case(0)
    played = list(pseudo_targets(shadows, count=9))
    assert len(played) == len(shadows.observations)
    assert len({id(pseudo.target) for pseudo in played}) == 9
    for pseudo in played:
        others = {id(model) for model in pseudo.shadows.observations}
        assert len(others) == 8
        assert id(pseudo.target) not in others
        answered = pseudo.shadows.clean.logits
        assert answered.shape[0] == pseudo.shadows.use.shape[0] == 8
        for model, logits in zip(pseudo.shadows.observations, answered, strict=True):
            index = [id(target) for target in shadows.observations].index(id(model))
            np.testing.assert_array_equal(logits, shadows.clean.logits[index])


def test_membership_is_the_model_s_own_and_known_only_where_shown() -> None:
    _, _, shadows = pool_case(1)
    k = membership.find_slots(shadows.use).k
    for pseudo in pseudo_targets(shadows, count=9):
        index = [id(model) for model in shadows.observations].index(id(pseudo.target))
        member = shadows.use[index]
        np.testing.assert_array_equal(pseudo.members, member == 1)
        assert not pseudo.scored[member < 0].any()
        assert pseudo.scored[member >= 0].all()  # k - 1 of either kind are always left
        assert membership.find_slots(pseudo.shadows.use).k == k - 1


def test_the_others_counts_do_not_tell_members_apart() -> None:
    """Without hiding one of the other kind, a member's others would hold fewer in-models."""
    _, _, shadows = pool_case(3)
    for pseudo in pseudo_targets(shadows, count=9):
        use = pseudo.shadows.use
        for side in (pseudo.members, ~pseudo.members):
            counts = (use == 1).sum(axis=0)[pseudo.scored & side]
            assert len(np.unique(counts)) == 1


def test_the_order_is_random_and_the_seed_s() -> None:
    _, _, shadows = pool_case(4)
    orders = [
        [id(pseudo.target) for pseudo in pseudo_targets(shadows, 4, seed)] for seed in (0, 0, 1, 2)
    ]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) > 1


def test_the_order_of_records_makes_no_difference() -> None:
    _, _, shadows = pool_case(5)
    order = np.random.default_rng(0).permutation(shadows.use.shape[1])
    moved = reorder_shadows(shadows, order)
    for before, after in zip(pseudo_targets(shadows, 3), pseudo_targets(moved, 3), strict=True):
        np.testing.assert_array_equal(before.shadows.use[:, order], after.shadows.use)


def test_pools_that_cannot_spare_a_model_are_refused() -> None:
    rows = np.zeros((2, 3, 2))
    one_of_each = observe_shadow_logits(rows, [0, 1, 0], [[1, 0, 1], [0, 1, 0]])
    with pytest.raises(TooFewRecordsError, match="at least two of either kind"):
        list(pseudo_targets(one_of_each, 1))
    unequal = replace(one_of_each, use=np.array([[1, 1, 1], [0, 1, 0]], dtype=np.int8))
    with pytest.raises(InputError, match="same number of both"):
        list(pseudo_targets(unequal, 1))


def test_some_of_the_records_are_drawn_for_each_pseudo_target() -> None:
    """The same ones whatever the records' order, with as many models of either kind as others."""
    use, ids = np.tile([[1], [0]], (4, 300)).astype(np.int8), np.arange(300)
    parts = [list(leave_one_out(use, ids, 8, 0, records)) for records in (None, 100, 300)]
    shadows = observe_shadow_logits(np.zeros((8, 300, 2)), np.zeros(300, int), use)
    for every, some, same in zip(*parts, strict=True):
        assert len(some.slots.rows) == 100 and len(every.slots.rows) == 300
        for kind in (0, 1):
            counts = (some.kept == kind).sum(axis=0)
            np.testing.assert_array_equal(counts, (every.kept == kind).sum(axis=0)[0])
        np.testing.assert_array_equal(same.kept, every.kept)
        case = some.pseudo_target(shadows)
        for part, expected in zip(
            vars(case.shadows.slots).values(),
            vars(membership.find_slots(case.shadows.use)).values(),
            strict=True,
        ):
            np.testing.assert_array_equal(part, expected)
        np.testing.assert_array_equal(case.scored, membership.has_shadows(case.shadows.use))
    first, other = parts[1][0].slots.rows, parts[1][1].slots.rows
    assert not np.array_equal(first, other)
    turned = next(leave_one_out(use[:, ::-1], ids[::-1], 8, 0, 100))
    np.testing.assert_array_equal(299 - turned.slots.rows[::-1], first)
    np.testing.assert_array_equal(turned.kept[:, ::-1], parts[1][0].kept)
