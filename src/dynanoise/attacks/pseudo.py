"""Shadow models played as targets, for what an attacker tunes before it sees the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dynanoise import pool
from dynanoise.errors import TooFewRecordsError
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
    """
    k = pool.slots(shadows.use).k
    if k < 2:
        raise TooFewRecordsError(
            "Examples have one shadow model of either kind, too few to play one as the target.",
            "Use more models.",
        )
    order = np.random.default_rng(derive(seed, "pseudo order")).permutation(len(shadows.use))
    for index in order[:count]:
        yield _played(shadows, int(index), k, derive(seed, "pseudo", int(index)))


def _played(shadows: Shadows, index: int, k: int, seed: int) -> Pseudo:
    others = [model for model in range(len(shadows.use)) if model != index]
    # Where the model is not hidden its column would show in the others' counts: k - 1 of one kind.
    use = pool.equal_numbers(shadows.use[others], k - 1, seed)
    own = shadows.use[index]
    return Pseudo(
        target=shadows.observed[index],
        shadows=among(shadows, others, use),
        members=own == 1,
        known=(own >= 0) & pool.eligible(use),
    )


def among(shadows: Shadows, models: Sequence[int], use: Int8) -> Shadows:
    """Some of the shadow models, with another use."""
    chosen = list(models)
    return Shadows(
        tuple(shadows.observed[model] for model in chosen),
        use,
        shadows.clean.select(models=chosen),
    )
