"""Pseudo-targets: shadow models in the role of the target, to tune an attack before its use."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, overload

import numpy as np

from dynanoise.core import membership
from dynanoise.core.errors import TooFewRecordsError
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Bools, Int8, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.seeding import derive


@dataclass(frozen=True, eq=False)
class PseudoTarget:
    """One shadow model as the target, and the others as its shadow models.

    Attributes:
        target: outputs of the model in the role of the target.
        shadows: the other models, with one in- and one out-model fewer for every record.
        members: bool [N], the target's membership; meaningful only where ``scored``.
        scored: bool [N], True where that membership is not hidden and the record has shadow models.
    """

    target: Observation
    shadows: ShadowObservations
    members: Bools
    scored: Bools


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """One model as the target and the others as its shadow models, by position.

    It depends on membership alone, so it is drawn before any model is queried.

    Attributes:
        target: position of the target among the models.
        others: positions of its S shadow models.
        kept: int8 [S, R], membership of the shadow models in ``records``: 1 = in, 0 = out, -1 =
            hidden.
        records: int64 [R], ascending positions of records; None for all. Others are hidden.
        drawn: see `ShadowObservations`.
    """

    target: int
    others: tuple[int, ...]
    kept: Int8
    records: Int64 | None = None
    drawn: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def slots(self) -> Slots:
        """In- and out-models of each record among the shadow models."""
        slots = membership.find_slots(self.kept)
        return slots if self.records is None else replace(slots, rows=self.records[slots.rows])

    def shadows(self, models: ShadowObservations) -> ShadowObservations:
        """Select the shadow models.

        Args:
            models: outputs of all models.

        Returns:
            The outputs of ``others``, with the membership that was kept.
        """
        use = self.kept
        self.drawn["slots"] = self.slots
        if self.records is not None:
            use = np.full((len(use), len(models.ids)), np.int8(-1))
            use[:, self.records] = self.kept
        return models.select(self.others, use, self.drawn)

    def pseudo_target(self, models: ShadowObservations) -> PseudoTarget:
        """Select the target and its shadow models.

        Args:
            models: outputs of all models.

        Returns:
            The outputs of both, with the target's membership.
        """
        member = models.use[self.target]
        scored = np.zeros(len(member), dtype=bool)
        scored[self.slots.rows] = True
        return PseudoTarget(
            target=models.observations[self.target],
            shadows=self.shadows(models),
            members=member == 1,
            scored=(member >= 0) & scored,
        )


class PseudoTargets(Sequence[PseudoTarget]):
    """Pseudo-targets that are made when they are taken: memory holds one of them at a time.

    Args:
        roles: positions and membership of each.
        models: outputs of all models.
    """

    def __init__(self, roles: Sequence[LeaveOneOut], models: ShadowObservations) -> None:
        self._roles, self._models = roles, models

    def __len__(self) -> int:
        return len(self._roles)

    @overload
    def __getitem__(self, index: int) -> PseudoTarget: ...
    @overload
    def __getitem__(self, index: slice) -> PseudoTargets: ...
    def __getitem__(self, index: int | slice) -> PseudoTarget | PseudoTargets:
        if isinstance(index, slice):
            return PseudoTargets(self._roles[index], self._models)
        return self._roles[index].pseudo_target(self._models)


def pseudo_targets(
    shadows: ShadowObservations, count: int, seed: int = 0, records: int | None = None
) -> Iterator[PseudoTarget]:
    """Yield some of the shadow models as targets, in random order.

    Args:
        shadows: shadow models of a pool, with the same number k >= 2 of in- and out-models for
            every record.
        count: how many, at most as many as there are shadow models.
        seed: seed of the order and of which memberships are hidden.
        records: how many records each of them is attacked on, drawn at random; None for all.

    Yields:
        Up to ``count`` pseudo-targets.

    Raises:
        TooFewRecordsError: if k is 1: without the one model no shadow model of its kind is left.
        InputError: for different numbers of in- and out-models.
    """
    for role in leave_one_out(shadows.use, shadows.ids, count, seed, records):
        yield role.pseudo_target(shadows)


def leave_one_out(
    use: Int8,
    ids: Int64,
    count: int,
    seed: int,
    records: int | None = None,
    persons: Int64 | None = None,
) -> Iterator[LeaveOneOut]:
    """Yield the positions and membership behind `pseudo_targets`.

    Args:
        use: int8 [S, N], membership of the shadow models.
        ids: int64 [N], of the records.
        count: how many, at most S.
        seed: seed of the order and of which memberships are hidden.
        records: how many records each of them is attacked on, drawn at random; None for all.
        persons: int64 [N], person of each record, see `membership.draw_persons`; None draws each
            record by itself.

    Yields:
        Up to ``count`` targets with their shadow models.

    Raises:
        TooFewRecordsError, InputError: under the conditions of `pseudo_targets`.
    """
    k = membership.find_slots(use).k
    if k < 2:
        raise TooFewRecordsError(
            "Every example has one in- and one out-model, and a shadow model that is played as a "
            "target leaves none of its kind.",
            "Use a pool with at least two of either kind for each example.",
        )
    order = np.random.default_rng(derive(seed, "pseudo order")).permutation(len(use))
    for target in map(int, order[:count]):
        others = tuple(model for model in range(len(use)) if model != target)
        # Were the target not hidden, its column would show in the others' counts: k - 1 of one
        # kind.
        models, draw = use[list(others)], derive(seed, "pseudo", target)
        if records is None or records >= len(ids):
            yield LeaveOneOut(target, others, balance_shadows_by_id(models, ids, k - 1, draw))
            continue
        generator = np.random.default_rng(derive(seed, "pseudo records", target))
        shuffled = np.argsort(ids)[generator.permutation(len(ids))]
        drawn = np.sort(membership.draw_persons(shuffled, records, persons))
        kept = balance_shadows_by_id(models[:, drawn], ids[drawn], k - 1, draw)
        yield LeaveOneOut(target, others, kept, drawn)


def balance_shadows_by_id(use: Int8, ids: Int64, k: int, seed: int) -> Int8:
    """Draw `membership.balance_shadows` by the records' ids, whatever their order.

    Args:
        use: int8 [S, N].
        ids: int64 [N].
        k: in-models to keep for each record, and out-models; >= 1.
        seed: seed of the draw.

    Returns:
        int8 [S, N], with all but k in- and k out-models of every record hidden.
    """
    order = np.argsort(ids)
    kept = np.empty_like(use)
    kept[:, order] = membership.balance_shadows(use[:, order], k, seed)
    return kept
