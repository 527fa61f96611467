"""Shadow models played as targets, for what an attacker tunes before it sees the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dynanoise.core import membership
from dynanoise.core.errors import TooFewRecordsError
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Bools, Int8, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.seeding import derive


@dataclass(frozen=True, eq=False)
class Pseudo:
    """One shadow model as a target, and the others as its shadows.

    Attributes:
        target: what it answers.
        shadows: the other models, with one in- and one out-model fewer for every example.
        members: bool [N], whether it was trained on the example; only meaningful where known.
        known: bool [N], whether that is known, and the example has shadows.
    """

    target: Observation
    shadows: ShadowObservations
    members: Bools
    known: Bools


@dataclass(frozen=True, eq=False)
class Role:
    """Who plays a target and who its shadows, told by membership alone, before anybody is asked.

    Attributes:
        target: position of the target among the models.
        others: positions of its shadows.
        use: int8 [S, N], what the shadows were trained on, with what must not show hidden.
    """

    target: int
    others: tuple[int, ...]
    use: Int8

    @cached_property
    def slots(self) -> Slots:
        """Of the shadows."""
        return membership.slots(self.use)

    def shadows(self, models: ShadowObservations) -> ShadowObservations:
        """The shadows' answers among those of all models."""
        made = among(models, self.others, self.use)
        # The cached value, which a copy with another use forgets.
        vars(made)["slots"] = self.slots
        return made

    def play(self, models: ShadowObservations) -> Pseudo:
        """The target's and the shadows' answers among those of all models."""
        own = models.use[self.target]
        return Pseudo(
            target=models.observed[self.target],
            shadows=self.shadows(models),
            members=own == 1,
            known=(own >= 0) & membership.eligible(self.use),
        )


def pseudo_targets(shadows: ShadowObservations, count: int, seed: int = 0) -> Iterator[Pseudo]:
    """Some of the shadow models as targets, the first of a random order first.

    Args:
        shadows: of a pool, with the same number k >= 2 of in- and out-models for every example.
        count: how many, at most as many as there are shadow models.
        seed: of the order, and of who is hidden.

    Raises:
        TooFewRecordsError: if k is 1: without the one model no shadow of its kind is left.
        InputError: for different numbers of in- and out-models.
    """
    for role in pseudo_roles(shadows.use, shadows.ids, count, seed):
        yield role.play(shadows)


def pseudo_roles(use: Int8, ids: Int64, count: int, seed: int) -> Iterator[Role]:
    """The roles in `pseudo_targets`, which raises the same.

    Args:
        use: int8 [S, N], of the shadow models.
        ids: int64 [N].
        count: how many.
        seed: of the order, and of who is hidden.
    """
    k = membership.slots(use).k
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
        left = fewer(use[list(others)], ids, k - 1, derive(seed, "pseudo", target))
        yield Role(target, others, left)


def fewer(use: Int8, ids: Int64, k: int, seed: int) -> Int8:
    """`membership.equal_numbers`, drawn by ids: the order of the examples makes no difference.

    Args:
        use: int8 [S, N].
        ids: int64 [N].
        k: how many of either kind, >= 1.
        seed: of the drawing.
    """
    order = np.argsort(ids)
    kept = np.empty_like(use)
    kept[:, order] = membership.equal_numbers(use[:, order], k, seed)
    return kept


def among(shadows: ShadowObservations, models: Sequence[int], use: Int8) -> ShadowObservations:
    """Some of the shadow models, with another use."""
    before = shadows.positions
    positions = tuple(model if before is None else before[model] for model in models)
    return ShadowObservations(
        tuple(shadows.observed[model] for model in models), use, shadows.asked, positions
    )
