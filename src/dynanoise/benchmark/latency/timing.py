"""Times of several predictors beside the first of them, interleaved in one run."""

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

Predictor = Callable[[Any], object]
"""Makes predictions for one batch."""

Batches = Callable[[int, int], Sequence[Any]]
"""Makes the batches of a round from its number and the number of calls, others in every round."""

Clock = Callable[[], float]
"""Seconds from any beginning."""

FEWEST = 6
"""Rounds of the slowest predictor: with fewer a median has no 95% interval."""

_MOST_CALLS = 500


@dataclass(frozen=True)
class Effort:
    """Rounds and time to spend on a measurement.

    Args:
        rounds: number of rounds, at least 6.
        block: seconds of one predictor in a round, > 0: so many calls that the resolution of the
            clock (under a microsecond) does not matter, at least one and at most 500.
        budget: seconds of one predictor in all rounds together, > 0. A predictor that needs longer
            is left out of some rounds, evenly, but takes part in 6.
        calls: at least so many calls a round, >= 1, where the budget allows them: for predictors
            whose time depends on the query.

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
        """Compute calls a round, and rounds, of a predictor with so many seconds for a call.

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
    """Times of one predictor.

    Attributes:
        seconds: time of a call, the mean of each round that the predictor took part in.
        ratios: the same over the first predictor's time in the same round. For the first one, which
            is timed twice a round: the second time over the first.
        calls: number of calls a round.
    """

    seconds: tuple[float, ...]
    ratios: tuple[float, ...]
    calls: int

    @property
    def total(self) -> float:
        """Seconds of all calls."""
        return self.calls * sum(self.seconds)


def time_side_by_side(
    predictors: Mapping[str, Predictor],
    batches: Batches,
    effort: Effort,
    seed: int,
    *,
    progress: Callable[[int], None] = lambda turn: None,
    clock: Clock = time.perf_counter,
) -> dict[str, Timing]:
    """Time predictors in rounds, each in a random order.

    A disturbance of the machine slows down all of a round, and cancels in its ratios. The first
    predictor is timed twice a round: the others are compared with the mean of both times, and their
    ratio, which would be 1 on a quiet machine, shows the noise of the measurement.

    Args:
        predictors: by name; the first is the reference.
        batches: makes the batches of a round, before the clock starts. All predictors get the same
            ones in a round.
        effort: rounds and time.
        seed: seed of the orders.
        progress: called with the round (from 0) after each.
        clock: seconds from any beginning.

    Returns:
        The timing of each predictor, by name.

    Raises:
        InputError: if there is nothing to time.
    """
    if not predictors:
        raise InputError("There is nothing to time.", "Pass at least one predictor.")
    first = next(iter(predictors))
    shares = {
        name: effort.share(_estimate(predictor, batches, effort, clock))
        for name, predictor in predictors.items()
    }
    shares[first] = (shares[first][0], effort.rounds)
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    ratios: dict[str, list[float]] = {name: [] for name in predictors}
    for turn in range(effort.rounds):
        present = [
            name for name, (_, rounds) in shares.items() if turn * rounds % effort.rounds < rounds
        ]
        inputs = batches(turn, max(shares[name][0] for name in present))
        order = np.random.default_rng(derive(seed, turn)).permutation([*present, first])
        # The first block of a round finds cold caches, so it does not count.
        _mean_seconds(predictors[first], inputs[: shares[first][0]], clock)
        times: dict[str, list[float]] = {name: [] for name in present}
        for name in map(str, order):
            times[name].append(_mean_seconds(predictors[name], inputs[: shares[name][0]], clock))
        once, again = times[first]
        for name in present:
            seconds[name].append(float(np.mean(times[name])))
            ratios[name].append(
                again / once if name == first else times[name][0] / ((once + again) / 2)
            )
        progress(turn)
    return {
        name: Timing(tuple(seconds[name]), tuple(ratios[name]), shares[name][0])
        for name in predictors
    }


def _estimate(predictor: Predictor, batches: Batches, effort: Effort, clock: Clock) -> float:
    """Seconds of a call, roughly; also warms up caches, lazy imports and the processor."""
    for batch in batches(-1, 2):
        predictor(batch)
    once = _mean_seconds(predictor, batches(-2, 1), clock)
    calls = min(20, int(effort.block / max(once, 1e-9)))
    return _mean_seconds(predictor, batches(-3, calls), clock) if calls > 1 else once


def _mean_seconds(predictor: Predictor, batches: Sequence[Any], clock: Clock) -> float:
    """Mean seconds of a call."""
    started = clock()
    for batch in batches:
        predictor(batch)
    return (clock() - started) / len(batches)


def peak_mib(call: Callable[[], object]) -> float:
    """Measure the memory that Python and NumPy hold at most during a call, beyond that before it.

    The result of the call counts. Memory that NumPy does not allocate does not: torch's tensors,
    buffers inside BLAS, memory of other threads' C code. The call runs several times slower than
    usual.

    Returns:
        MiB (2^20 bytes).

    >>> 8.0 <= peak_mib(lambda: np.ones(2**20)) < 8.1
    True
    """
    ours = not tracemalloc.is_tracing()
    if ours:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if ours:
            tracemalloc.stop()
    return (peak - before) / 2**20
