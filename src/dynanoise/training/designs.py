"""Jobs of a design, and their outputs laid out for evaluation: the paper's split, and a pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dynanoise.core.numerics import Int8, Int64
from dynanoise.core.outputs import Outputs, Pool, Run
from dynanoise.core.seeding import derive
from dynanoise.data.dataset import Data
from dynanoise.data.near_duplicates import NearDuplicates
from dynanoise.data.splits import PaperSplit, PoolSplit
from dynanoise.training.jobs import Answers, Further, Job


def paper_jobs(
    split: PaperSplit,
    model: Any,
    recipe: Any,
    *,
    seed: int,
    shadows: int,
    threads: int,
    device: str = "cpu",
) -> list[Job]:
    """The target and the shadow models of the paper's protocol.

    All shadows are trained on the same records, as published; they differ in their seeds.

    Args:
        split: who plays which part.
        model: an architecture, such as `models.mlp.Mlp`.
        recipe: how to train it, such as `recipes.plain.Plain`.
        seed: the run's seed.
        shadows: how many shadow models.
        threads: of the processor for each model.
        device: where to train.
    """
    names = ["target", *(f"shadow {index}" for index in range(shadows))]
    return [
        Job(
            name=name,
            model=model,
            recipe=recipe,
            members=split.members if name == "target" else split.shadow_members,
            reference=split.reference,
            seed=derive(seed, "model", name),
            asked=split.ids,
            threads=threads,
            device=device,
        )
        for name in names
    ]


def paper_run(data: Data, split: PaperSplit, answers: Sequence[Answers], *, seed: int) -> Run:
    """Arranges what the models of `paper_jobs` answered.

    Args:
        data: the data set.
        split: the one the jobs were made from.
        answers: the target's first, then the shadows', of whom there may be none.
        seed: the run's seed.
    """
    said = np.stack([answered.logits for answered in answers])

    def outputs(models: slice, parts: list[Int64], members: Int64) -> Outputs:
        # Sorted by id, which a random permutation dealt out: members first would tell the attacker
        # everything by the order of the rows.
        ids = np.sort(np.concatenate(parts))
        chosen = said[models][:, np.searchsorted(split.ids, ids)]
        use = np.broadcast_to(np.isin(ids, members), chosen.shape[:2])
        return Outputs(chosen, data.labels[ids], ids, use.astype(np.int8))

    nobody = np.empty(0, dtype=np.int64)
    target, shadows = slice(0, 1), slice(1, None)
    return Run(
        target=outputs(target, [split.members, split.non_members], split.members),
        shadows=outputs(
            shadows, [split.shadow_members, split.shadow_non_members], split.shadow_members
        ),
        test=outputs(target, [split.test], nobody),
        reference=outputs(slice(None), [split.reference], nobody),
        random=np.stack([answered.random for answered in answers]),
        seed=seed,
        split=split.digest,
    )


def pool_jobs(
    split: PoolSplit,
    model: Any,
    recipe: Any,
    *,
    seed: int,
    models: int | None = None,
    threads: int,
    device: str = "cpu",
    near: NearDuplicates | None = None,
) -> list[Job]:
    """The models of a pool.

    Args:
        split: who is trained on what.
        model: an architecture, such as `models.mlp.Mlp`.
        recipe: how to train it, such as `recipes.plain.Plain`.
        seed: the run's seed.
        models: only the first so many; None for all of the split.
        threads: of the processor for each model.
        device: where to train.
        near: near-duplicates of the pool's and the reference records to ask about as well.
    """
    further = None if near is None else Further(near, split.attacked)
    return [
        Job(
            name=f"model {index}",
            model=model,
            recipe=recipe,
            members=split.pool[row == 1],
            reference=split.reference,
            seed=derive(seed, "pool model", index),
            asked=split.ids,
            threads=threads,
            device=device,
            further=further,
        )
        for index, row in enumerate(split.use[:models])
    ]


def pool_of(data: Data, split: PoolSplit, answers: Sequence[Answers], *, seed: int) -> Pool:
    """Arranges what the models of `pool_jobs` answered.

    Where they were asked about near-duplicates, these follow the originals on the axis of inputs,
    for the pool and the reference; test data have originals only.
    """
    said = np.stack([answered.logits for answered in answers])
    near = [answered.near for answered in answers if answered.near is not None]
    count = len(said)

    def outputs(ids: Int64, use: Int8, asked_more: bool) -> Outputs:
        logits = said[:, np.searchsorted(split.ids, ids)]
        if near and asked_more:
            rows = np.searchsorted(split.attacked, ids)
            logits = np.concatenate([logits, np.stack([one[rows] for one in near])], axis=2)
        return Outputs(logits, data.labels[ids], ids, use)

    def nobody(ids: Int64, asked_more: bool) -> Outputs:
        return outputs(ids, np.zeros((count, len(ids)), dtype=np.int8), asked_more)

    return Pool(
        examples=outputs(split.pool, split.use[:count], True),
        test=nobody(split.test, False),
        reference=nobody(split.reference, True),
        seed=seed,
        split=split.digest,
        random=np.stack([answered.random for answered in answers]),
    )
