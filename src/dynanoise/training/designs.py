"""Jobs of a design, and their outputs laid out for evaluation: the paper's split, and a pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dynanoise.core.numerics import Int8, Int64
from dynanoise.core.outputs import Outputs, Pool, Run
from dynanoise.core.seeding import derive
from dynanoise.data.dataset import Data
from dynanoise.data.near_duplicates import NearDuplicates, NearNumbers
from dynanoise.data.splits import PaperSplit, PoolSplit
from dynanoise.training.jobs import Job, ModelOutputs, NearQueries


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
    """Make the jobs of the paper's protocol: a target and its shadow models.

    All shadow models are trained on the same records, as published; they differ in their seeds.

    Args:
        split: the records of each part.
        model: an architecture, such as `models.mlp.Mlp`.
        recipe: how to train it, such as `recipes.plain.Plain`.
        seed: the run's seed.
        shadows: number of shadow models, >= 0.
        threads: threads of the processor for each model.
        device: where to train, "cpu" or "cuda".

    Returns:
        The target's job first.
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
            queries=split.ids,
            threads=threads,
            device=device,
        )
        for name in names
    ]


def paper_run(data: Data, split: PaperSplit, outputs: Sequence[ModelOutputs], *, seed: int) -> Run:
    """Arrange the outputs of the models of `paper_jobs`.

    Args:
        data: the data set.
        split: the split of the jobs.
        outputs: the target's first, then those of the shadow models, if any.
        seed: the run's seed.
    """
    logits = np.stack([model.logits for model in outputs])

    def rows(models: slice, parts: list[Int64], members: Int64) -> Outputs:
        # Sorted by id, which a random permutation dealt out: with members first, the order of the
        # rows would give membership away.
        ids = np.sort(np.concatenate(parts))
        chosen = logits[models][:, np.searchsorted(split.ids, ids)]
        use = np.broadcast_to(np.isin(ids, members), chosen.shape[:2])
        return Outputs(chosen, data.labels[ids], ids, use.astype(np.int8))

    none = np.empty(0, dtype=np.int64)
    target, shadows = slice(0, 1), slice(1, None)
    return Run(
        target=rows(target, [split.members, split.non_members], split.members),
        shadows=rows(
            shadows, [split.shadow_members, split.shadow_non_members], split.shadow_members
        ),
        test=rows(target, [split.test], none),
        reference=rows(slice(None), [split.reference], none),
        random=np.stack([model.random for model in outputs]),
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
    near: NearDuplicates | NearNumbers | None = None,
) -> list[Job]:
    """Make the jobs of a pool of models.

    Args:
        split: the records and the members of each model.
        model: an architecture, such as `models.mlp.Mlp`.
        recipe: how to train it, such as `recipes.plain.Plain`.
        seed: the run's seed.
        models: number of models, the first of the split; None for all.
        threads: threads of the processor for each model.
        device: where to train, "cpu" or "cuda".
        near: near-duplicates of the pool's and the reference records to query as well.

    Returns:
        A job for each model, in the order of the split.
    """
    queries = None if near is None else NearQueries(near, split.attacked)
    return [
        Job(
            name=f"model {index}",
            model=model,
            recipe=recipe,
            members=split.pool[row == 1],
            reference=split.reference,
            seed=derive(seed, "pool model", index),
            queries=split.ids,
            threads=threads,
            device=device,
            near=queries,
        )
        for index, row in enumerate(split.use[:models])
    ]


def pool_of(data: Data, split: PoolSplit, outputs: Sequence[ModelOutputs], *, seed: int) -> Pool:
    """Arrange the outputs of the models of `pool_jobs`.

    Those on near-duplicates follow the originals on the axis of inputs, for the pool and the
    reference; test data have originals only.

    Args:
        data: the data set.
        split: the split of the jobs.
        outputs: the outputs of each model, in the order of the jobs.
        seed: the run's seed.
    """
    logits = np.stack([model.logits for model in outputs])
    near = [model.near for model in outputs if model.near is not None]
    count = len(logits)

    def rows(ids: Int64, use: Int8, with_near: bool) -> Outputs:
        chosen = logits[:, np.searchsorted(split.ids, ids)]
        if near and with_near:
            places = np.searchsorted(split.attacked, ids)
            chosen = np.concatenate([chosen, np.stack([model[places] for model in near])], axis=2)
        return Outputs(chosen, data.labels[ids], ids, use)

    def non_members(ids: Int64, with_near: bool) -> Outputs:
        return rows(ids, np.zeros((count, len(ids)), dtype=np.int8), with_near)

    return Pool(
        records=rows(split.pool, split.use[:count], True),
        test=non_members(split.test, False),
        reference=non_members(split.reference, True),
        seed=seed,
        split=split.digest,
        random=np.stack([model.random for model in outputs]),
    )
