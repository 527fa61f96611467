"""Queries with inputs that an attacker chooses: the functions that answer them, and their count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import QueryBudgetError
from dynanoise.core.numerics import Floats, Int64

Inputs = npt.NDArray[Any]
"""Inputs [n, ...] in the data's own kind: numbers float32, images uint8, texts token ids."""


class QueryFunction(Protocol):
    """A model, with or without a defense, as a function of inputs."""

    def __call__(self, inputs: Inputs) -> Floats:
        """Compute the outputs of a batch.

        Args:
            inputs: [n, ...], in the data's own dtype and range.

        Returns:
            float [n, K], logits or probabilities as the function's maker says.
        """


@runtime_checkable
class GradientFunction(Protocol):
    """A model whose input gradients can be had, as an attacker has those of its shadow models."""

    def gradient(self, inputs: Inputs, weights: Floats) -> Floats:
        """Compute the gradient of a weighted sum of logits, with respect to the inputs.

        Args:
            inputs: [n, ...].
            weights: float [n, K], of the logits of each input.

        Returns:
            float32 [n, ...] in the shape of ``inputs``.
        """


_Answer = TypeVar("_Answer")


class CountedQueries(Generic[_Answer]):
    """Queries to a target model, counted for each record, and refused beyond a budget.

    Args:
        function: the target model as its users meet it: from inputs [n, ...] to outputs, or to
            labels.
        records: N, the number of records.
        budget: queries that may be sent for each record, >= 0.

    Attributes:
        counts: int64 [N], queries sent for each record so far.

    >>> counted = CountedQueries(lambda inputs: np.zeros((len(inputs), 2)), records=2, budget=1)
    >>> counted(np.ones((1, 4)), np.array([1])).shape, counted.counts.tolist()
    ((1, 2), [0, 1])
    """

    def __init__(self, function: Callable[[Inputs], _Answer], records: int, budget: int) -> None:
        self._function = function
        self.budget = budget
        self.counts: Int64 = np.zeros(records, dtype=np.int64)

    def count(self, rows: Int64) -> None:
        """Count one query for each entry of ``rows``, such as those that were sent before.

        Args:
            rows: int64 [n], the record of each query.

        Raises:
            QueryBudgetError: if a record would exceed the budget; nothing is counted then.
        """
        counts = self.counts + np.bincount(rows, minlength=len(self.counts))
        if counts.max(initial=0) > self.budget:
            raise QueryBudgetError(
                f"{int(counts.max())} queries were to be sent for one record; the threat model "
                f"allows {self.budget}.",
                "Use a threat model with more queries, or an attack that needs fewer.",
            )
        self.counts = counts

    def __call__(self, inputs: Inputs, rows: Int64) -> _Answer:
        """Send queries in one batch.

        Args:
            inputs: [n, ...].
            rows: int64 [n], the record that each of them is about.

        Returns:
            What the function returns.

        Raises:
            QueryBudgetError: if a record would exceed the budget; nothing is sent then.
        """
        self.count(rows)
        return self._function(inputs)
