"""Shadow models played as targets, for what an attacker tunes before it sees the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dynanoise import pool
from dynanoise.errors import TooFewRecordsError
from dynanoise.numerics import Int64
from dynanoise.observed import Observed, Shadows
from dynanoise.seeding import derive
from dynanoise.types import Bools, Int8


@dataclass(frozen=True, eq=False)
class Pseudo:
    """One shadow model as a target, and the others as its shadows.

    Attributes:
        target: what it answers.
        shadows: the other models, with one in- and one out-model fewer for every example.
        members: bool [N], whether it was trained on the example; only meaningful where known.
        known: bool [N], whether that is known, and the example has shadows.
    """

    target: Observed
    shadows: Shadows
    members: Bools
    known: Bools


def pseudo_targets(shadows: Shadows, count: int, seed: int = 0) -> Iterator[Pseudo]:
    """Some of the shadow models as targets, the first of a random order first.

    Args:
        shadows: of a pool, with the same number k >= 2 of in- and out-models for every example.
        count: how many, at most as many as there are shadow models.
        seed: of the order, and of who is hidden.

    Raises:
        TooFewRecordsError: if k is 1: without the one model no shadow of its kind is left.
        InputError: for different numbers of in- and out-models.
    """
    k = pool.slots(shadows.use).k
    if k < 2:
        raise TooFewRecordsError(
            "Every example has one in- and one out-model, and a shadow model that is played as a "
            "target leaves none of its kind.",
            "Use a pool with at least two of either kind for each example.",
        )
    order = np.random.default_rng(derive(seed, "pseudo order")).permutation(len(shadows.use))
    for index in order[:count]:
        yield _played(shadows, int(index), k, derive(seed, "pseudo", int(index)))


def _played(shadows: Shadows, index: int, k: int, seed: int) -> Pseudo:
    others = [model for model in range(len(shadows.use)) if model != index]
    # Where the model is not hidden its column would show in the others' counts: k - 1 of one kind.
    use = fewer(shadows.use[others], shadows.clean.ids, k - 1, seed)
    own = shadows.use[index]
    return Pseudo(
        target=shadows.observed[index],
        shadows=among(shadows, others, use),
        members=own == 1,
        known=(own >= 0) & pool.eligible(use),
    )


def fewer(use: Int8, ids: Int64, k: int, seed: int) -> Int8:
    """`pool.equal_numbers`, drawn by ids, so that the order of the examples makes no difference.

    Args:
        use: int8 [S, N].
        ids: int64 [N].
        k: how many of either kind, >= 1.
        seed: of the drawing.
    """
    order = np.argsort(ids)
    kept = np.empty_like(use)
    kept[:, order] = pool.equal_numbers(use[:, order], k, seed)
    return kept


def among(shadows: Shadows, models: Sequence[int], use: Int8) -> Shadows:
    """Some of the shadow models, with another use."""
    chosen = list(models)
    return Shadows(
        tuple(shadows.observed[model] for model in chosen),
        use,
        shadows.clean.select(models=chosen),
    )
