"""What an attacker holds: answers of the target, and of models of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dynanoise.core.errors import QueryBudgetError, check
from dynanoise.core.membership import Slots, slots
from dynanoise.core.numerics import Bools, Float64, Int8, Int64, centred
from dynanoise.core.outputs import Outputs


def _ask_once(count: int) -> Iterator[Float64]:
    raise QueryBudgetError(
        f"The attack asked for {count} further answers to each query; one answer is all there is.",
        "Use a threat model with more repeats.",
    )


@dataclass(frozen=True, eq=False)
class Observation:
    """What an attacker holds on one model: never membership, which stays with the harness.

    Attributes:
        labels: int64 [N], the true classes.
        ids: int64 [N].
        log_probs: float64 [N, A, K], ln of the defended answers.
        repeats: answers the threat model allows to each query, these included.
        ask: ``ask(Q)`` gives Q further answers to every query, in chunks [Q, n, A, K] of
            consecutive examples; it raises QueryBudgetError for more than ``repeats - 1``.
        undo: what the attacker can make of ln of the answers, [..., K]: `Defense.undo` for one
            who knows the defense, else only centring.
        constant: True if further answers would be the same again.
        population: the same model's answers about known non-members, where the attacker has some.
        memo: what was computed from these answers once, by name; statistics keep themselves here.
            A copy made by `dataclasses.replace` starts with nothing.
    """

    labels: Int64
    ids: Int64
    log_probs: Float64
    repeats: int = 1
    ask: Callable[[int], Iterator[Float64]] = field(default=_ask_once, repr=False)
    undo: Callable[[Float64], Float64] = field(default=centred, repr=False)
    constant: bool = False
    population: Observation | None = field(default=None, repr=False)
    memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return int(self.log_probs.shape[2])


@dataclass(frozen=True, eq=False)
class ShadowObservations:
    """What an attacker holds on models of its own: answers, and who was trained on.

    Attributes:
        observed: one `Observation` for each shadow model, as the attacker expects the target to
            answer: behind the same defense if the attacker knows of it, else undefended.
        use: int8 [M, N]; 1 = in, 0 = out, -1 = hidden.
        asked: undefended outputs in which the shadow models' are.
        positions: of the shadow models among ``asked``; None for all, in their order.
    """

    observed: tuple[Observation, ...]
    use: Int8
    asked: Outputs
    positions: tuple[int, ...] | None = None

    @cached_property
    def slots(self) -> Slots:
        """The k in- and k out-models of each example that has shadows.

        Raises:
            InputError: if examples have different numbers of them.
        """
        return slots(self.use)

    @property
    def clean(self) -> Outputs:
        """The shadow models' undefended outputs, copied out only when an attack wants them."""
        if self.positions is None:
            return self.asked
        return self.asked.select(models=list(self.positions))

    @property
    def ids(self) -> Int64:
        """Which records they are about, int64 [N]."""
        return self.asked.ids

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return self.asked.classes

    def rows(self, models: int | None = None) -> tuple[Float64, Int64, Bools]:
        """Answers about original inputs pooled over the first ``models`` shadows (all if None).

        Returns:
            log_probs [R, K], labels [R] and membership [R] of all pairs that are not hidden.

        Raises:
            InputError: if they are all members, or all non-members.
        """
        chosen = list(zip(self.observed, self.use, strict=True))[:models]
        members = np.concatenate([use[use >= 0] == 1 for _, use in chosen])
        check(
            bool(members.any() and not members.all()),
            f"The answers of the first {len(chosen)} shadow models are about {members.sum()} "
            f"members and {(~members).sum()} non-members.",
            "Give every shadow model both kinds.",
        )
        return (
            np.concatenate([seen.log_probs[use >= 0, 0] for seen, use in chosen]),
            np.concatenate([seen.labels[use >= 0] for seen, use in chosen]),
            members,
        )
