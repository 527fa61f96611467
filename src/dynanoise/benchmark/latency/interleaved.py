"""Times several ways of answering against the first of them, side by side in one run."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.core.seeding import derive
from dynanoise.defenses.parameters import count, number

Answer = Callable[[Any], object]
"""Answers one batch."""

Batches = Callable[[int, int], Sequence[Any]]
"""From a round and a number of calls to as many batches, others in every round."""

FEWEST = 6
"""Rounds of the slowest: with fewer a median has no 95% interval."""

_MOST_CALLS = 500


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Args:
        rounds: how often everybody is timed, at least 6.
        block: seconds for which one is timed in a round, > 0: so many calls that the resolution
            of the clock (under a microsecond) does not matter, at least one and at most 500.
        budget: seconds, > 0, that one may take in all rounds together. Who needs longer sits out
            some rounds, evenly, but takes part in 6.
        calls: at least so many calls a round, >= 1, where the budget allows them: for those whose
            time depends on what they are asked.

    Raises:
        InputError: for other values.
    """

    rounds: int
    block: float = 0.02
    budget: float = 20.0
    calls: int = 1

    def __post_init__(self) -> None:
        count("rounds", self.rounds, least=FEWEST)
        number("block", self.block, above=0)
        number("budget", self.budget, above=0)
        count("calls", self.calls)

    def share(self, seconds: float) -> tuple[int, int]:
        """Calls a round, and rounds, of one who takes so many seconds for a call.

        >>> Effort(30).share(0.001), Effort(30).share(2.0), Effort(30).share(1e-9)
        ((20, 30), (1, 10), (500, 30))
        >>> Effort(30, calls=8).share(0.1)
        (6, 30)
        """
        seconds = max(seconds, 1e-9)
        affordable = min(self.calls, int(self.budget / self.rounds / seconds))
        calls = min(_MOST_CALLS, max(1, affordable, math.ceil(self.block / seconds)))
        rounds = int(self.budget / (calls * seconds))
        return calls, min(self.rounds, max(FEWEST, rounds))


@dataclass(frozen=True)
class Timing:
    """What was measured of one.

    Attributes:
        seconds: for a call, the mean of each round it took part in.
        ratios: the same over the first one's seconds in the same round. Of the first one, which is
            timed twice a round: the second time over the first.
        calls: a round.
    """

    seconds: tuple[float, ...]
    ratios: tuple[float, ...]
    calls: int

    @property
    def total(self) -> float:
        """Seconds of all calls."""
        return self.calls * sum(self.seconds)


def side_by_side(
    answers: Mapping[str, Answer],
    batches: Batches,
    effort: Effort,
    seed: int,
    *,
    progress: Callable[[int], None] = lambda turn: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Times every way of answering in rounds, each in a random order.

    Whatever slows the machine down for a while slows all of a round, and cancels in its ratios.
    The first one is timed twice a round: their mean is what the others are compared with, and
    their ratio, which would be 1 on a quiet machine, shows the noise of the measurement.

    Args:
        answers: by name.
        batches: what to answer; made before the clock starts. In a round all answer the same.
        effort: how long.
        seed: of the orders.
        progress: called with the round (from 0) after each.
        clock: seconds from any beginning.

    Raises:
        InputError: if there is nobody to time.
    """
    if not answers:
        raise InputError("There is nothing to time.", "Pass at least one way of answering.")
    first = next(iter(answers))
    shares = {
        name: effort.share(_estimate(answer, batches, effort, clock))
        for name, answer in answers.items()
    }
    shares[first] = (shares[first][0], effort.rounds)
    seconds: dict[str, list[float]] = {name: [] for name in answers}
    ratios: dict[str, list[float]] = {name: [] for name in answers}
    for turn in range(effort.rounds):
        present = [name for name, (_, own) in shares.items() if turn * own % effort.rounds < own]
        given = batches(turn, max(shares[name][0] for name in present))
        order = np.random.default_rng(derive(seed, turn)).permutation([*present, first])
        # Whoever comes first finds cold caches, so the first block does not count.
        _timed(answers[first], given[: shares[first][0]], clock)
        took: dict[str, list[float]] = {name: [] for name in present}
        for name in map(str, order):
            took[name].append(_timed(answers[name], given[: shares[name][0]], clock))
        once, again = took[first]
        for name in present:
            seconds[name].append(float(np.mean(took[name])))
            ratios[name].append(
                again / once if name == first else took[name][0] / ((once + again) / 2)
            )
        progress(turn)
    return {
        name: Timing(tuple(seconds[name]), tuple(ratios[name]), shares[name][0]) for name in answers
    }


def _estimate(
    answer: Answer, batches: Batches, effort: Effort, clock: Callable[[], float]
) -> float:
    """Seconds of a call, roughly; also warms up caches, lazy imports and the processor."""
    for batch in batches(-1, 2):
        answer(batch)
    once = _timed(answer, batches(-2, 1), clock)
    calls = min(20, int(effort.block / max(once, 1e-9)))
    return _timed(answer, batches(-3, calls), clock) if calls > 1 else once


def _timed(answer: Answer, batches: Sequence[Any], clock: Callable[[], float]) -> float:
    """Mean seconds of a call."""
    started = clock()
    for batch in batches:
        answer(batch)
    return (clock() - started) / len(batches)


def peak_mib(call: Callable[[], object]) -> float:
    """MiB (2^20 bytes) that Python and NumPy held at most during a call, beyond what they held.

    The result of the call counts. What NumPy does not allocate does not: torch's tensors, buffers
    inside BLAS, memory of other threads' C code. The call runs several times slower than usual.

    >>> 8.0 <= peak_mib(lambda: np.ones(2**20)) < 8.1
    True
    """
    own = not tracemalloc.is_tracing()
    if own:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if own:
            tracemalloc.stop()
    return (peak - before) / 2**20
