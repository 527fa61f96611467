"""Spends a budget of queries on records: all once, all again, and again where that tells more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int64
from dynanoise.core.seeding import derive

USUAL = 16
"""Answers to each query that are aimed at, where nobody says how many."""

PROBED = 16
"""Records that are asked alone, several times each."""

ALONE = 4
"""How often."""

ALIKE = 1e-5
"""Probabilities that differ by no more came from one computation, rounded otherwise."""

Array = npt.NDArray[Any]


Ask = Callable[[Array], Array]
"""Gives answers [n, K] about records [n, ...]."""


@dataclass(frozen=True)
class Plan:
    """What is asked.

    Attributes:
        records: how many.
        queries: how often each, at most.
        probed: how many of them are asked alone as well, `ALONE` times.
    """

    records: int
    queries: int
    probed: int

    def requests(self, batch: int) -> int:
        """How many requests, at most, with so many records in each."""
        return -(-self.records // batch) * self.queries + self.probed * ALONE


def planned(records: int, budget: int, queries: int | None) -> Plan:
    """What a budget is spent on.

    How often each record is asked is given, and then as many records are asked as the budget
    reaches; or it is not, and then all records are, as long as each can be asked twice.

    Args:
        records: that there are.
        budget: in queries.
        queries: of each record, or None.

    Raises:
        InputError: if the budget is not enough for anything.

    >>> planned(600, 10_000, None)
    Plan(records=600, queries=16, probed=16)
    >>> planned(2_000, 10_000, None), planned(2_000, 10_000, 64).records
    (Plan(records=2000, queries=4, probed=16), 155)
    """
    probed = min(PROBED, records, budget // (4 * ALONE))
    left = budget - probed * ALONE
    asked = min(records, left // (queries or 2))
    if asked < 1:
        raise InputError(f"The budget is {budget}.", "Allow some queries for each record.")
    return Plan(asked, queries or max(1, min(USUAL, left // asked)), min(probed, asked))


@dataclass(frozen=True, eq=False)
class Answers:
    """What was answered.

    Attributes:
        passes: [Q, N, K], about every record; the first one, and as many more as told more.
        alone: [ALONE, n, K], about records that were asked alone.
        probed: int64 [n], which records these are.
        constant: whether all answers about a record were alike, up to rounding.
        identical: whether they were so to the last bit.
    """

    passes: Array
    alone: Array
    probed: Int64
    constant: bool
    identical: bool

    @property
    def different(self) -> Int64:
        """How many different answers each probed record got, int64 [n]."""
        together = np.concatenate([self.passes[:, self.probed], self.alone])
        return np.array([len(np.unique(one, axis=0)) for one in together.swapaxes(0, 1)], np.int64)


def answers(ask: Ask, inputs: Array, plan: Plan, seed: int) -> Answers:
    """Asks as planned; stops asking again where answers repeat themselves.

    Records come in another order each time, so that other ones stand beside them in a request.

    Args:
        ask: the model.
        inputs: [N, ...], as many as planned.
        plan: how often.
        seed: of the orders.
    """
    generator = np.random.default_rng(derive(seed, "orders of asking"))
    first = _shuffled(ask, inputs, generator)
    probed = np.sort(generator.permutation(len(inputs))[: plan.probed])
    alone = np.empty((ALONE, len(probed), *first.shape[1:]), first.dtype)
    for repeat in range(ALONE):
        for place, row in enumerate(probed):
            alone[repeat, place] = ask(inputs[row : row + 1])[0]
    passes = [first]
    if plan.queries > 1:
        passes.append(_shuffled(ask, inputs, generator))
    spread = max(_spread(first[None, probed], alone), _spread(first[None], np.stack(passes)))
    constant = spread <= ALIKE
    passes += [_shuffled(ask, inputs, generator) for _ in range(2, 1 if constant else plan.queries)]
    return Answers(np.stack(passes), alone, probed, constant, spread == 0)


def _shuffled(ask: Ask, inputs: Array, generator: np.random.Generator) -> Array:
    order = generator.permutation(len(inputs))
    found = ask(inputs[order])
    back = np.empty_like(found)
    back[order] = found
    return back


def _spread(first: Array, others: Array) -> float:
    return float(np.abs(others - first).max(initial=0.0))


def chosen(member: Sequence[bool] | npt.NDArray[np.bool_], count: int, seed: int) -> Int64:
    """Positions of so many records, members and others in about their shares, drawn and sorted.

    >>> chosen([True] * 6 + [False] * 6, 4, seed=0).tolist()
    [0, 1, 7, 10]
    """
    truth = np.asarray(member, bool)
    if count >= len(truth):
        return np.arange(len(truth))
    generator = np.random.default_rng(derive(seed, "records that are asked"))
    sides = [generator.permutation(np.flatnonzero(truth == side)) for side in (True, False)]
    share = round(count * len(sides[0]) / len(truth))
    return np.sort(np.concatenate([sides[0][:share], sides[1][: count - share]])).astype(np.int64)
