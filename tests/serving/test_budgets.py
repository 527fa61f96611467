"""Accounts of clients: never more answers in one period than there are in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynanoise.oip.faults import Refused
from dynanoise.serving.clients import Budget, Budgets

PERIOD, TOTAL, BURST = 10.0, 12, 7

events = st.lists(
    st.tuples(st.sampled_from(["spend", "answer", "fail"]), st.integers(1, 6), st.floats(0, 6)),
    max_size=40,
)


@given(events)
def test_neither_period_nor_burst_has_too_many_answers(
    said: list[tuple[str, int, float]],
) -> None:
    """Whatever fails, whenever: what is given back was taken from another period, perhaps."""
    now = 0.0
    budgets = Budgets(Budget(rate=2.0, burst=BURST, total=TOTAL, period=PERIOD), lambda: now)
    pending: list[tuple[float, int, float]] = []
    answered: list[tuple[float, int, float]] = []
    waits: list[float] = []
    for what, count, wait in said:
        now += wait
        if what == "spend":
            try:
                pending.append((now, count, budgets.spend("alice", count)))
            except Refused as refused:
                waits.append(refused.retry_after or 0.0)
        elif pending and what == "answer":
            answered.append(pending.pop(0))
        elif pending:
            _, given_back, period = pending.pop(0)
            budgets.give_back("alice", given_back, period)
    assert all(wait > 0 for wait in waits)
    by_period: dict[float, int] = {}
    for _, count, period in answered:
        by_period[period] = by_period.get(period, 0) + count
    assert all(count <= TOTAL for count in by_period.values())
    for first, _, _ in answered:
        for last, _, _ in answered:
            inside = sum(count for when, count, _ in answered if first <= when <= last)
            assert last < first or inside <= BURST + 2.0 * (last - first) + 1e-6


def test_what_failed_is_given_back_to_its_own_period() -> None:
    now = 0.0
    budgets = Budgets(Budget(rate=0, total=10, period=10), lambda: now)
    old = budgets.spend("alice", 5)
    now = 11.0
    new = budgets.spend("alice", 8)
    budgets.give_back("alice", 5, old)
    with pytest.raises(Refused):
        budgets.spend("alice", 3)
    budgets.give_back("alice", 8, new)
    budgets.spend("alice", 10)


def test_a_charge_is_corrected_and_taken_back() -> None:
    now = 0.0
    budgets = Budgets(Budget(rate=1, burst=10, total=20, period=100), lambda: now)
    assert budgets.most == 10
    charge = budgets.charge("alice", 2)
    charge.correct(7)
    charge.correct(5)
    with pytest.raises(Refused) as caught:
        budgets.charge("alice", 6)
    assert caught.value.status == 429
    with pytest.raises(Refused) as caught:
        charge.correct(11)
    assert caught.value.status == 413
    charge.give_back()
    charge.give_back()
    budgets.charge("alice", 10)
    assert Budgets(Budget(rate=0, total=0)).most is None
