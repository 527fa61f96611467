"""Outputs as an attacker sees them: of the target model, and of its own shadow models."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dynanoise.core.errors import QueryBudgetError, check
from dynanoise.core.membership import Slots, find_slots
from dynanoise.core.numerics import Bools, Float64, Int8, Int16, Int64, centred
from dynanoise.core.outputs import Outputs


def _single_query(count: int) -> Iterator[Float64]:
    raise QueryBudgetError(
        f"The attack repeated each query {count} times; its query budget is 1.",
        "Use a threat model with more repeats.",
    )


@dataclass(frozen=True, eq=False)
class Observation:
    """Outputs of one model, as an attacker sees them; without membership.

    Attributes:
        labels: int64 [N], the true classes.
        ids: int64 [N], positions of the records in the data set.
        log_probs: float64 [N, A, K], ln of the (defended) outputs.
        query_budget: outputs that the threat model allows for each query, these included, >= 1.
        repeat: ``repeat(Q)`` yields Q further outputs of every query, in chunks
            [Q, n, A, K] of consecutive records; it raises QueryBudgetError for more than
            ``query_budget - 1``.
        undo: from ln of outputs [..., K] to the attacker's estimate of the logits [..., K]:
            `Defense.undo` for an attacker who knows the defense, else centring.
        constant: True if repeated queries give the same outputs again.
        population: outputs of the same model on known non-members; None without any.
        inputs: numbers [D, F] of the whole data set, of which ``ids`` are rows;
            all observations share one array. None where inputs are not known.
        columns: further statistics of every record by name, float64 [N, 1] each, such as distances
            that were found by chosen inputs; larger or smaller for members, which attacks learn.
            All models of an attack have the same names. Where queries found them, each name stands
            for a run with the whole query budget, so that an attack uses one of them.
        memo: values that are computed once: statistics by name, and scores by an attack that learns
            nothing. A copy made by `dataclasses.replace` starts empty.
    """

    labels: Int64
    ids: Int64
    log_probs: Float64
    query_budget: int = 1
    repeat: Callable[[int], Iterator[Float64]] = field(default=_single_query, repr=False)
    undo: Callable[[Float64], Float64] = field(default=centred, repr=False)
    constant: bool = False
    population: Observation | None = field(default=None, repr=False)
    inputs: Float64 | None = field(default=None, repr=False)
    columns: Mapping[str, Float64] = field(default_factory=dict, repr=False)
    memo: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return int(self.log_probs.shape[2])

    def with_columns(self, columns: Mapping[str, Float64]) -> Observation:
        """Add further statistics, float64 [N, 1] each; the memo is shared with this observation."""
        added = replace(self, columns={**self.columns, **columns})
        object.__setattr__(added, "memo", self.memo)
        return added


@dataclass(frozen=True, eq=False)
class ShadowObservations:
    """Outputs of an attacker's shadow models, with their membership.

    Attributes:
        observations: one `Observation` for each of S shadow models, as the attacker expects the
            target's outputs: behind the same defense if it is known, else undefended.
        use: int8 [S, N]; 1 = in, 0 = out, -1 = hidden.
        outputs: undefended outputs that contain the shadow models'.
        positions: the shadow models' positions in ``outputs``; None for all, in their order.
        memo: statistics of all models by name, which `attacks.statistics` keeps here. A copy made
            by `dataclasses.replace` starts empty, as do the two below.
        drawn: values by name that depend on ``use`` and the records' ids alone.
        source: the pool that these models were selected from, with their positions int64 [S] in
            it: selections share its ``memo``. None where these were not selected.
    """

    observations: tuple[Observation, ...]
    use: Int8
    outputs: Outputs
    positions: tuple[int, ...] | None = None
    memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    drawn: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)
    source: tuple[ShadowObservations, Int64] | None = field(default=None, init=False, repr=False)

    @property
    def pool(self) -> ShadowObservations:
        """The pool that these models were selected from, or these."""
        return self if self.source is None else self.source[0]

    @property
    def slots(self) -> Slots:
        """The k in- and k out-models of each record that has shadow models.

        Raises:
            InputError: if records have different numbers of them.
        """
        if "slots" not in self.drawn:
            self.drawn["slots"] = find_slots(self.use)
        slots: Slots = self.drawn["slots"]
        return slots

    def locate(self, models: Int64 | Int16, records: Int64) -> Int64:
        """Find pairs of model and record among the values of all models of the pool.

        Args:
            models: integers [...], positions of shadow models.
            records: integers [...], positions of records.

        Returns:
            int64 [...], positions in values [M, N] of the pool's models, one row after the other.
        """
        places = np.arange(len(self.use)) if self.source is None else self.source[1]
        return np.asarray((places * len(self.ids))[models] + records)

    def select(
        self, models: Sequence[int], use: Int8, drawn: dict[Hashable, Any] | None = None
    ) -> ShadowObservations:
        """Select some of the shadow models; nothing is copied.

        Args:
            models: positions of those to select, each in 0..S-1.
            use: int8 [len(models), N], their membership from here on.
            drawn: values that were drawn from ``use`` before; None without any.

        Returns:
            The outputs of the selected models.
        """
        before = range(len(self.observations)) if self.positions is None else self.positions
        places = np.asarray(models) if self.source is None else self.source[1][list(models)]
        observations = tuple(self.observations[model] for model in models)
        positions = tuple(before[model] for model in models)
        selected = ShadowObservations(observations, use, self.outputs, positions)
        object.__setattr__(selected, "source", (self.pool, places))
        if drawn is not None:
            object.__setattr__(selected, "drawn", drawn)
        return selected

    def with_observations(self, observations: tuple[Observation, ...]) -> ShadowObservations:
        """Replace the outputs of all shadow models, with the same membership."""
        replaced = replace(self, observations=observations)
        object.__setattr__(replaced, "drawn", self.drawn)
        return replaced

    @property
    def clean(self) -> Outputs:
        """The shadow models' undefended outputs, copied on access."""
        if self.positions is None:
            return self.outputs
        return self.outputs.select(models=list(self.positions))

    @property
    def ids(self) -> Int64:
        """Positions of the records in the data set, int64 [N]."""
        return self.outputs.ids

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return self.outputs.classes

    def rows(self, models: int | None = None) -> tuple[Float64, Int64, Bools]:
        """Pool the outputs on original inputs over shadow models.

        Args:
            models: use only the first ones; None for all.

        Returns:
            log_probs: float64 [R, K], of all pairs of model and record that are not hidden.
            labels: int64 [R].
            members: bool [R].

        Raises:
            InputError: if all pairs are members, or all are non-members.
        """
        pairs = list(zip(self.observations, self.use, strict=True))[:models]
        members = np.concatenate([use[use >= 0] == 1 for _, use in pairs])
        check(
            bool(members.any() and not members.all()),
            f"The outputs of the first {len(pairs)} shadow models are on {members.sum()} "
            f"members and {(~members).sum()} non-members.",
            "Give every shadow model both kinds.",
        )
        return (
            np.concatenate([shadow.log_probs[use >= 0, 0] for shadow, use in pairs]),
            np.concatenate([shadow.labels[use >= 0] for shadow, use in pairs]),
            members,
        )
