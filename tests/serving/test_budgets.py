"""Accounts of clients, in this process and in a store: never more answers than the budget has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynanoise.core.errors import InputError
from dynanoise.oip.faults import Refused
from dynanoise.serving.budgets import Budget, Budgets, LocalBudgets
from tests.factories.gateways import wait_until
from tests.factories.stores import Store

PERIOD, TOTAL, BURST, NEAR = 10.0, 12, 7, 5

events = st.lists(
    st.tuples(
        st.sampled_from(["spend", "answer", "fail"]),
        st.integers(1, 6),
        st.floats(0, 6),
        st.integers(0, 2),
    ),
    max_size=40,
)


class Local:
    """Budgets in this process, on a clock of the test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runner = asyncio.Runner()

    def run(self, made: Any) -> Any:
        return self.runner.run(made)

    def budgets(self, budget: Budget) -> Budgets:
        return LocalBudgets(budget, lambda: self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def close(self) -> None:
        self.runner.close()


class Stored(Local):
    """Budgets in a store, whose accounts are made older."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.store, self.made, self.begun = Store(folder), [], time.monotonic()  # type: ignore[var-annotated]

    def budgets(self, budget: Budget) -> Budgets:
        from dynanoise.serving.store import StoreAddress, StoredBudgets

        self.made.append(StoredBudgets(budget, StoreAddress(self.store.url), f"m{len(self.made)}"))
        return self.made[-1]  # type: ignore[no-any-return]

    def pass_time(self, seconds: float) -> None:
        self.store.pass_time(seconds)
        self.now += seconds

    def close(self) -> None:
        for budgets in self.made:
            self.run(budgets.close())
        super().close()
        self.store.close()


@pytest.fixture(scope="module", params=["local", pytest.param("stored", marks=pytest.mark.process)])
def accounts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Local]:
    made = Local() if request.param == "local" else Stored(tmp_path_factory.mktemp("store"))
    yield made
    made.close()


@settings(max_examples=25)
@given(said=events)
def test_neither_period_burst_nor_cell_has_too_many_answers(
    accounts: Local, said: list[tuple[str, int, float, int]]
) -> None:
    """Whatever fails, whenever: what is given back was taken from another period, perhaps."""
    budget = Budget(rate=2.0, burst=BURST, total=TOTAL, period=PERIOD, near=NEAR)
    budgets = accounts.budgets(budget)
    # A store's own clock goes on, too: between the readings before and after a charge.
    real = time.monotonic if isinstance(accounts, Stored) else float
    pending: list[tuple[tuple[float, float], int, str, dict[bytes, int]]] = []
    answered: list[tuple[tuple[float, float], int, str, dict[bytes, int]]] = []
    waits: list[float] = []
    for what, count, wait, cell in said:
        accounts.pass_time(wait)
        if what == "spend":
            cells, before = {b"%d" % cell: min(count, NEAR)}, accounts.now + real()
            try:
                period = accounts.run(budgets.spend("alice", count, cells))
                pending.append(((before, accounts.now + real()), count, period, cells))
            except Refused as refused:
                waits.append(refused.retry_after or 0.0)
        elif pending and what == "answer":
            answered.append(pending.pop(0))
        elif pending:
            _, given_back, period, cells = pending.pop(0)
            accounts.run(budgets.give_back("alice", given_back, period, cells))
    assert all(wait > 0 for wait in waits)
    by_period: dict[Any, int] = {}
    for _, count, period, cells in answered:
        by_period[period] = by_period.get(period, 0) + count
        for digest, number in cells.items():
            by_period[period, digest] = by_period.get((period, digest), 0) + number
    assert all(
        count <= (NEAR if isinstance(place, tuple) else TOTAL) for place, count in by_period.items()
    )
    for (first, _), _, _, _ in answered:
        for (_, last), _, _, _ in answered:
            inside = sum(n for (low, high), n, _, _ in answered if first <= low and high <= last)
            assert last < first or inside <= BURST + 2.0 * (last - first) + 1e-6


def test_what_failed_is_given_back_to_its_own_period(accounts: Local) -> None:
    budgets, run = accounts.budgets(Budget(rate=0, total=10, period=1000)), accounts.run
    old = run(budgets.spend("alice", 5))
    accounts.pass_time(1100)
    new = run(budgets.spend("alice", 8))
    run(budgets.give_back("alice", 5, old))
    with pytest.raises(Refused):
        run(budgets.spend("alice", 3))
    run(budgets.give_back("alice", 8, new))
    run(budgets.spend("alice", 10))


def test_a_charge_is_corrected_and_taken_back(accounts: Local) -> None:
    run = accounts.run
    budgets = accounts.budgets(Budget(rate=1e-6, burst=10, total=20, period=1000, near=3))
    assert budgets.most == 10
    charge = run(budgets.charge("alice", 2))
    run(charge.correct(7))
    run(charge.correct(5, {b"a": 3}))
    with pytest.raises(Refused) as caught:
        run(budgets.charge("alice", 6))
    assert (caught.value.status, caught.value.reason) == (429, "rate")
    with pytest.raises(Refused) as caught:
        run(charge.correct(11))
    assert caught.value.status == 413
    with pytest.raises(Refused) as caught:
        run(budgets.spend("alice", 1, {b"a": 1}))
    assert (caught.value.status, caught.value.reason) == (429, "near")
    with pytest.raises(Refused) as caught:
        run(budgets.spend("alice", 4, {b"a": 4}))
    assert caught.value.status == 413
    run(budgets.spend("bob", 1, {b"a": 1}))
    run(charge.give_back())
    run(charge.give_back())
    run(budgets.charge("alice", 10))
    assert accounts.budgets(Budget(rate=0, total=0)).most is None


def test_cells_of_what_failed_are_not_kept(accounts: Local) -> None:
    run = accounts.run
    budgets: Any = accounts.budgets(Budget(rate=0, total=20, period=1000, near=3))
    run(budgets.spend("alice", 2, {b"a": 2}))
    period = run(budgets.spend("alice", 3, {b"a": 1, b"b": 2}))
    run(budgets.give_back("alice", 3, period, {b"a": 1, b"b": 2}))
    if isinstance(accounts, Stored):
        kept = set(accounts.store.account(budgets._model, "alice"))
        assert kept - {b"tokens", b"filled", b"spent", b"begun"} == {b"a"}
    else:
        assert budgets._accounts["alice"].cells == {b"a": 2}
    run(budgets.spend("alice", 1, {b"a": 1}))
    with pytest.raises(Refused, match="close to these"):
        run(budgets.spend("alice", 1, {b"a": 1}))


@pytest.mark.process
def test_a_cluster_takes_the_scripts_and_no_other_client_is_revoked(tmp_path: Path) -> None:
    """A cluster refuses a script with keys that may lie on different servers."""
    from dynanoise.serving.store import StoreAddress, StoredBudgets, revoke

    store = Store(tmp_path, options=("--cluster-enabled", "yes"))
    store.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    address = StoreAddress(store.url)

    async def check() -> None:
        budgets = StoredBudgets(Budget(rate=0, total=3), address, "m {x}")
        period = await budgets.spend("alice", 3)
        await budgets.give_back("alice", 1, period)
        assert await budgets.spend("alice", 1) == period
        with pytest.raises(
            InputError, match=r"no client 'alcie'.*Did you mean 'alice'.*alice, bob"
        ):
            await revoke(address, "alcie", ["bob"])
        for name in ("alice", "bob"):  # the one has an account, the other a line in the file
            await revoke(address, name, ["bob"])
            with pytest.raises(Refused, match="revoked"):
                await budgets.spend(name, 1)
        await budgets.spend("carol", 1)
        await budgets.close()

    try:
        assert wait_until(lambda: b"cluster_state:ok" in cluster_state(store))
        asyncio.run(check())
    finally:
        store.close()


def cluster_state(store: Store) -> bytes:
    said = store.client.execute_command("CLUSTER", "INFO")
    return said if isinstance(said, bytes) else b"cluster_state:" + said["cluster_state"].encode()


def test_a_password_is_passed_by_reference_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dynanoise.serving.store import StoreAddress

    for url, password in (
        ("redis://:hunter2@127.0.0.1/0", None),
        ("redis://127.0.0.1/0?password=hunter2", None),
        ("http://127.0.0.1/hunter2", None),
        ("redis://127.0.0.1/0", "hunter2"),
    ):
        with pytest.raises(InputError) as caught:
            StoreAddress(url, password)
        assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("STORE", "hunter2")
    address = StoreAddress("redis://127.0.0.1/0", "env:STORE")
    store = address.connect()
    assert store.connection_pool.connection_kwargs["password"] == "hunter2"
    assert "hunter2" not in repr(address) + repr(store)


def test_while_a_store_is_silent_queries_are_counted_here_without_waiting_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("redis", reason="stores: pip install 'dynanoise[redis]'")
    from dynanoise.serving import store

    monkeypatch.setattr(store, "_SECONDS", 0.05)
    monkeypatch.setattr(store, "_AWAY_SECONDS", 1e6)
    connections: list[asyncio.StreamWriter] = []
    attempts: list[Any] = []
    inspect = store.StoredBudgets._inspect

    async def counted(budgets: Any) -> None:
        attempts.append(budgets)
        await inspect(budgets)

    monkeypatch.setattr(store.StoredBudgets, "_inspect", counted)

    async def check() -> None:
        server = await asyncio.start_server(
            lambda _, writer: connections.append(writer), "127.0.0.1"
        )
        port = server.sockets[0].getsockname()[1]
        address = store.StoreAddress(f"redis://127.0.0.1:{port}/0")
        budgets = store.StoredBudgets(Budget(rate=0, total=3), address, "m", local=True)
        period = await budgets.spend("alice", 2)
        await budgets.give_back("alice", 1, period)
        await budgets.spend("alice", 2)
        with pytest.raises(Refused, match="budget is spent"):
            await budgets.spend("alice", 1)
        assert len(attempts) == 1
        for _ in range(3):  # a probe after a failure asks, the next within a second do not
            assert await budgets.ready() and len(attempts) == 2
        monkeypatch.setattr(budgets, "_retry_at", 0.0)
        await asyncio.gather(*(budgets.spend(name, 1) for name in ("bob", "carol", "dave")))
        assert len(attempts) == 3  # one of them asks
        closed = store.StoredBudgets(Budget(rate=0, total=3), address, "m")
        for _ in range(2):
            with pytest.raises(Refused, match="cannot count queries now"):
                await closed.spend("alice", 1)
        assert len(attempts) == 5 and not await closed.ready()
        for made in (budgets, closed):
            await made.close()
        server.close()
        for writer in connections:
            writer.close()

    asyncio.run(check())
