"""Turns: so many at once, fair among clients, and a queue that ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynanoise.oip.faults import Refused
from dynanoise.serving.turns import Turns

LONG = 1e6


class Office:
    """Requests that end when the test says so, and the order in which they began."""

    def __init__(self, turns: Turns) -> None:
        self.turns, self.begun, self.refused = turns, [], []  # type: ignore[var-annotated]
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str) -> None:
        """Begin a request such as "alice 1"."""

        async def work() -> None:
            try:
                async with self.turns.take(name.split(maxsplit=1)[0]):
                    self.begun.append(name)
                    await self.ends[name].wait()
            except Refused as refused:
                self.refused.append((name, refused.status, refused.retry_after))

        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(work())
        await settle()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await settle()

    async def leave(self, name: str) -> None:
        self.tasks[name].cancel()
        await asyncio.gather(self.tasks[name], return_exceptions=True)
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_clients_take_turns_whoever_sends_more() -> None:
    async def check() -> None:
        office = Office(Turns(1, 100, LONG))
        for name in ("alice 0", "alice 1", "alice 2", "alice 3", "bob 1", "carol 1", "bob 2"):
            await office.ask(name)
        for number in range(7):
            await office.end(office.begun[number])
        order = ["alice 0", "alice 1", "bob 1", "carol 1", "alice 2", "bob 2", "alice 3"]
        assert office.begun == order and not office.refused

    asyncio.run(check())


def test_a_client_has_its_own_limit() -> None:
    async def check() -> None:
        office = Office(Turns(3, 100, LONG, each=1))
        for name in ("alice 0", "alice 1", "bob 0"):
            await office.ask(name)
        assert office.begun == ["alice 0", "bob 0"]
        await office.leave("alice 0")
        assert office.begun[2:] == ["alice 1"]

    asyncio.run(check())


def test_a_full_queue_refuses_the_client_with_most_requests() -> None:
    async def check() -> None:
        office = Office(Turns(1, 3, LONG))
        for number in range(5):
            await office.ask(f"alice {number}")
        assert office.refused == [("alice 4", 429, 1.0)]
        await office.ask("bob 0")
        assert office.refused[1:] == [("alice 3", 429, 1.0)]
        await office.ask("bob 1")
        assert office.refused[2:] == [("bob 1", 429, 1.0)]
        for name in ("alice 0", "alice 1", "bob 0", "alice 2"):
            await office.end(name)
        assert office.begun == ["alice 0", "alice 1", "bob 0", "alice 2"]

    asyncio.run(check())


def test_a_full_queue_gives_the_place_of_a_client_who_is_just_leaving() -> None:
    async def check() -> None:
        office = Office(Turns(1, 2, LONG))
        for name in ("alice 0", "alice 1", "alice 2"):
            await office.ask(name)

        async def enter() -> str:
            async with office.turns.take("bob"):
                return "bob"

        bob = asyncio.create_task(enter())
        office.tasks["alice 2"].cancel()  # its turn is still in the queue when bob comes
        await settle()
        await office.end("alice 0")
        await office.end("alice 1")
        assert await bob == "bob" and not office.refused
        assert not office.turns._busy and not office.turns._queues

    asyncio.run(check())


def test_without_a_queue_and_after_the_wait_it_is_busy() -> None:
    async def check(waiting: int, seconds: float) -> None:
        office = Office(Turns(1, waiting, seconds))
        await office.ask("alice 0")
        await office.ask("bob 0")
        await asyncio.wait([office.tasks["bob 0"]])
        assert office.refused == [("bob 0", 503, 1.0)]
        await office.end("alice 0")
        await office.ask("bob 1")
        assert office.begun == ["alice 0", "bob 1"]

    asyncio.run(check(0, LONG))
    asyncio.run(check(5, 1e-3))


steps = st.lists(
    st.tuples(st.sampled_from(["ask", "end", "leave"]), st.integers(0, 3), st.integers(0, 99)),
    max_size=60,
)


@given(steps, st.integers(1, 3), st.integers(0, 4), st.none() | st.integers(1, 2))
def test_no_turn_is_lost_and_none_is_given_twice(
    said: list[tuple[str, int, int]], at_once: int, waiting: int, each: int | None
) -> None:
    async def check() -> None:
        office = Office(Turns(at_once, waiting, LONG, each))
        asked = 0
        for what, client, which in said:
            working = [name for name in office.begun if not office.tasks[name].done()]
            waits = [n for n, t in office.tasks.items() if not t.done() and n not in office.begun]
            if what == "ask":
                await office.ask(f"{client} {asked}")
                asked += 1
            elif what == "end" and working:
                await office.end(working[which % len(working)])
            elif what == "leave" and working + waits:
                await office.leave((working + waits)[which % len(working + waits)])
            check_all(office)
        for task in office.tasks.values():
            task.cancel()
        await asyncio.gather(*office.tasks.values(), return_exceptions=True)
        assert not office.turns._busy and not office.turns._queues

    def check_all(office: Any) -> None:
        working = [name for name in office.begun if not office.tasks[name].done()]
        waits = [n for n, t in office.tasks.items() if not t.done() and n not in office.begun]
        of_each = Counter(name.split()[0] for name in working)
        limit = at_once if each is None else each
        assert len(working) <= at_once and max(of_each.values(), default=0) <= limit
        assert len(waits) <= waiting
        # Whoever waits could not begin.
        assert all(len(working) == at_once or of_each[n.split()[0]] == limit for n in waits)

    asyncio.run(check())


@pytest.mark.parametrize("late", [False, True])
def test_a_turn_that_is_given_to_a_client_who_leaves_is_passed_on(late: bool) -> None:
    async def check() -> None:
        office = Office(Turns(1, 5, LONG))
        for name in ("alice 0", "bob 0", "carol 0"):
            await office.ask(name)
        office.ends["alice 0"].set()
        await asyncio.sleep(0)  # alice's turn ends
        if not late:
            await asyncio.sleep(0)
        await office.leave("bob 0")
        await office.end("carol 0")
        assert office.begun[-1] == "carol 0"

    asyncio.run(check())
