"""Timing with a clock that only moves with the work of predictors, so every ratio is known."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from dynanoise.benchmark.latency.timing import Effort, Timing, peak_mib, time_side_by_side
from dynanoise.core.errors import InputError


class Machine:
    """Its clock moves by what is worked, times how slow the machine is just now."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slowness = 1.0
        self.asked: dict[str, list[Any]] = {}

    def worker(self, name: str, seconds: float) -> Callable[[Any], None]:
        def answer(batch: Any) -> None:
            self.now += seconds * self.slowness
            self.asked.setdefault(name, []).append(batch)

        return answer

    def clock(self) -> float:
        return self.now


def numbered(turn: int, calls: int) -> Sequence[Any]:
    return [(turn, call) for call in range(calls)]


def timed(
    machine: Machine,
    answers: dict[str, Callable[[Any], None]],
    effort: Effort,
    batches: Callable[[int, int], Sequence[Any]] = numbered,
) -> dict[str, Timing]:
    return time_side_by_side(answers, batches, effort, seed=0, clock=machine.clock)


def test_ratios_are_of_the_same_round() -> None:
    """The machine gets slower by the round; the ratios do not see it."""
    machine = Machine()
    answers = {"none": machine.worker("none", 0.001), "slow": machine.worker("slow", 0.003)}

    def slower(turn: int, calls: int) -> Sequence[Any]:
        machine.slowness = 1.0 + max(turn, 0)
        return numbered(turn, calls)

    found = timed(machine, answers, Effort(10), slower)
    assert found["slow"].ratios == pytest.approx([3.0] * 10)
    assert found["none"].ratios == pytest.approx([1.0] * 10)
    assert found["slow"].seconds == pytest.approx([0.003 * (1 + turn) for turn in range(10)])
    assert found["slow"].calls == 7 and found["slow"].total == pytest.approx(7 * 0.003 * 55)


def test_the_first_one_is_compared_by_the_mean_of_its_two_times() -> None:
    """1 ms in its first block that counts and 3 ms in its second are 2 ms."""
    machine = Machine()
    blocks: dict[int, int] = {}

    def moody(batch: tuple[int, int]) -> None:
        turn, call = batch
        blocks[turn] = blocks.get(turn, 0) + (call == 0)
        machine.now += {2: 0.001, 3: 0.003}.get(blocks[turn], 0.001) if turn >= 0 else 0.001

    found = timed(machine, {"none": moody, "two": machine.worker("two", 0.002)}, Effort(6))
    assert found["none"].ratios == pytest.approx([3.0] * 6)
    assert found["two"].ratios == pytest.approx([1.0] * 6)


def test_a_cold_start_of_a_round_does_not_count() -> None:
    machine = Machine()
    seen: set[int] = set()

    def cold(batch: tuple[int, int]) -> None:
        machine.now += 0.001 if batch[0] in seen else 5.0
        seen.add(batch[0])

    found = timed(machine, {"none": cold, "same": machine.worker("same", 0.001)}, Effort(8))
    assert found["none"].ratios == pytest.approx([1.0] * 8)
    assert found["same"].ratios == pytest.approx([1.0] * 8)


def test_the_slow_sit_out_rounds_evenly_and_everybody_gets_the_same_batches() -> None:
    machine = Machine()
    answers = {"none": machine.worker("none", 0.01), "slow": machine.worker("slow", 1.0)}
    found = timed(machine, answers, Effort(30, budget=10.0))
    assert len(found["none"].seconds) == 30 and len(found["slow"].seconds) == 10
    assert found["slow"].ratios == pytest.approx([100.0] * 10)
    turns = [turn for turn, _ in machine.asked["slow"] if turn >= 0]
    assert turns == list(range(0, 30, 3))
    assert {turn for turn, _ in machine.asked["none"]} >= set(range(30))  # others in every round
    assert {call for _, call in machine.asked["none"]} == {0, 1}  # 20 ms of 10 ms
    assert {call for turn, call in machine.asked["slow"] if turn >= 0} == {0}


def test_nobody_sits_out_more_than_an_interval_allows() -> None:
    machine = Machine()
    answers = {"none": machine.worker("none", 0.01), "slow": machine.worker("slow", 1e3)}
    assert len(timed(machine, answers, Effort(30))["slow"].seconds) == 6


def test_the_order_changes_and_is_the_seeds() -> None:
    def orders(seed: int) -> list[str]:
        machine, said = Machine(), []

        def named(name: str) -> Callable[[Any], None]:
            def answer(batch: tuple[int, int]) -> None:
                machine.now += 1.0
                if batch[0] >= 0:
                    said.append(name)

            return answer

        time_side_by_side(
            {n: named(n) for n in "abc"}, numbered, Effort(8), seed, clock=machine.clock
        )
        return ["".join(said[i : i + 5]) for i in range(0, 40, 5)]

    assert orders(1) == orders(1) != orders(2)
    rounds = orders(1)
    assert all(sorted(turn) == list("aaabc") and turn[0] == "a" for turn in rounds)
    assert len(set(rounds)) > 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rounds": 5}, "rounds is 5. Use an integer of at least 6"),
        ({"rounds": 6, "block": 0}, "block is 0"),
        ({"rounds": 6, "budget": float("nan")}, "budget is nan"),
        ({"rounds": 6, "calls": 0}, "calls is 0"),
    ],
)
def test_impossible_efforts_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Effort(**wrong)


def test_nobody_to_time_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to time"):
        time_side_by_side({}, numbered, Effort(6), seed=0)


def test_memory_is_the_peak_and_not_what_is_left() -> None:
    kept = np.ones(2**20)  # 8 MiB that were there before

    def call() -> float:
        first, second = kept + 1, kept + 2
        return float(first.sum() + second.sum())

    assert 16.0 <= peak_mib(call) < 16.1
    assert not tracemalloc.is_tracing()


def test_memory_does_not_end_the_tracing_of_others() -> None:
    tracemalloc.start()
    try:
        before = np.ones(2**20)
        assert 8.0 <= peak_mib(lambda: before + 1) < 8.1
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()
