"""A plan for a budget of queries: all records once, again, and further if outputs differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int64
from dynanoise.core.seeding import derive

QUERIES = 16
"""Queries of each record by default, if the budget allows."""

PROBED = 16
"""Number of records that are queried alone, several times each."""

ALONE = 4
"""Queries of each record that is queried alone."""

SAME = 1e-5
"""Largest difference of probabilities that rounding explains."""

Array = npt.NDArray[Any]

Query = Callable[[Array], Array]
"""A model: records [n, ...] to outputs [n, K]."""


@dataclass(frozen=True)
class Plan:
    """A plan of queries.

    Attributes:
        records: number of records.
        queries: queries of each record, at most.
        probed: number of records that are queried alone as well, `ALONE` times.
    """

    records: int
    queries: int
    probed: int

    def requests(self, batch: int) -> int:
        """Number of requests, at most, with ``batch`` records in each."""
        return -(-self.records // batch) * self.queries + self.probed * ALONE


def plan_queries(records: int, budget: int, queries: int | None) -> Plan:
    """Plan how to spend a budget.

    With ``queries``, the plan has as many records as the budget allows. Without, it has all
    records, as long as each can be queried twice.

    Args:
        records: number of records available.
        budget: number of queries.
        queries: queries of each record, or None.

    Raises:
        InputError: if the budget is not enough for any record.

    >>> plan_queries(600, 10_000, None)
    Plan(records=600, queries=16, probed=16)
    >>> plan_queries(2_000, 10_000, None), plan_queries(2_000, 10_000, 64).records
    (Plan(records=2000, queries=4, probed=16), 155)
    """
    probed = min(PROBED, records, budget // (4 * ALONE))
    left = budget - probed * ALONE
    count = min(records, left // (queries or 2))
    if count < 1:
        raise InputError(f"The budget is {budget}.", "Allow some queries for each record.")
    return Plan(count, queries or max(1, min(QUERIES, left // count)), min(probed, count))


@dataclass(frozen=True, eq=False)
class RepeatedOutputs:
    """Outputs of repeated queries.

    Attributes:
        passes: [Q, N, K], of every record; only one pass if repeated outputs are the same.
        alone: [ALONE, n, K], of the records that were queried alone.
        probed: int64 [n], indices of these records.
        constant: whether all outputs of a record are the same, up to rounding.
        identical: whether they are the same to the last bit.
    """

    passes: Array
    alone: Array
    probed: Int64
    constant: bool
    identical: bool

    @property
    def different(self) -> Int64:
        """Number of different outputs of each probed record, int64 [n]."""
        together = np.concatenate([self.passes[:, self.probed], self.alone]).swapaxes(0, 1)
        return np.array([len(np.unique(outputs, axis=0)) for outputs in together], np.int64)


def run_plan(query: Query, inputs: Array, plan: Plan, seed: int) -> RepeatedOutputs:
    """Query a model as planned, without repeats that cannot differ.

    Records come in another order each time, so that others stand beside them in a request.

    Args:
        query: the model.
        inputs: [N, ...], as many as planned.
        plan: number of queries.
        seed: seed of the orders.
    """
    generator = np.random.default_rng(derive(seed, "orders of asking"))
    first = _shuffled(query, inputs, generator)
    probed = np.sort(generator.permutation(len(inputs))[: plan.probed])
    alone = np.empty((ALONE, len(probed), *first.shape[1:]), first.dtype)
    for repeat in range(ALONE):
        for place, row in enumerate(probed):
            alone[repeat, place] = query(inputs[row : row + 1])[0]
    passes = [first]
    if plan.queries > 1:
        passes.append(_shuffled(query, inputs, generator))
    spread = max(_spread(first[None, probed], alone), _spread(first[None], np.stack(passes)))
    constant = spread <= SAME
    further = range(2, 1 if constant else plan.queries)
    passes += [_shuffled(query, inputs, generator) for _ in further]
    return RepeatedOutputs(np.stack(passes), alone, probed, constant, spread == 0)


def _shuffled(query: Query, inputs: Array, generator: np.random.Generator) -> Array:
    order = generator.permutation(len(inputs))
    shuffled = query(inputs[order])
    outputs = np.empty_like(shuffled)
    outputs[order] = shuffled
    return outputs


def _spread(first: Array, others: Array) -> float:
    return float(np.abs(others - first).max(initial=0.0))


def choose_records(member: Sequence[bool] | npt.NDArray[np.bool_], count: int, seed: int) -> Int64:
    """Draw records, members and non-members in about their shares.

    Args:
        member: whether each record is a member, [N].
        count: number of records to draw.
        seed: seed of the draw.

    Returns:
        Sorted indices.

    >>> choose_records([True] * 6 + [False] * 6, 4, seed=0).tolist()
    [0, 1, 7, 10]
    """
    truth = np.asarray(member, bool)
    if count >= len(truth):
        return np.arange(len(truth))
    generator = np.random.default_rng(derive(seed, "records that are asked"))
    sides = [generator.permutation(np.flatnonzero(truth == side)) for side in (True, False)]
    share = round(count * len(sides[0]) / len(truth))
    return np.sort(np.concatenate([sides[0][:share], sides[1][: count - share]])).astype(np.int64)
