"""A pool of models, each trained on its own random half of the same records."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int8, Int64
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.seeding import derive
from dynanoise.data.dataset import Data
from dynanoise.data.near_duplicates import NearDuplicates
from dynanoise.data.splits import split_of
from dynanoise.training.jobs import Answers, Further, Job


@dataclass(frozen=True, eq=False)
class PoolSplit:
    """Disjoint record ids in ascending order, and who is trained on what.

    Attributes:
        pool: int64 [N], the records that models are trained on and attacked about.
        use: int8 [M, N], 1 where a model is trained on a record, else 0.
        reference: int64, known non-members of all models.
        test: int64, what utility is measured on.
    """

    pool: Int64
    use: Int8
    reference: Int64
    test: Int64

    @property
    def ids(self) -> Int64:
        """All ids that play a part, in ascending order."""
        return np.sort(np.concatenate([self.pool, self.reference, self.test]))

    @property
    def attacked(self) -> Int64:
        """The ids of the pool and the reference, in ascending order."""
        return np.sort(np.concatenate([self.pool, self.reference]))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over all of it."""
        digest = hashlib.sha256()
        for ids in (self.pool, self.reference, self.test):
            digest.update(f"{len(ids)}:".encode() + ids.astype("<i8").tobytes())
        digest.update(self.use.tobytes())
        return digest.hexdigest()[:16]

    @property
    def counts(self) -> dict[str, int]:
        """How many records and models play each part."""
        return {
            "pool": len(self.pool),
            "models": len(self.use),
            "reference": len(self.reference),
            "test": len(self.test),
        }


def pool_split(data: Data, pool: int, models: int, reference: int, seed: int) -> PoolSplit:
    """Records for a pool, and membership by a fair coin for every model and record.

    Not "each record in exactly half of the models": then the other models' membership gives a
    model's own away. The records are those of `splits.split_of` with the same numbers and seed.

    Args:
        data: the data set.
        pool: how many records, >= 10.
        models: how many models, >= 2. More of them leave the membership of the first unchanged.
        reference: how many known non-members.
        seed: the run's seed.

    Raises:
        InputError: if the parts do not fit into the records, or models is below 2.

    >>> from dynanoise.data.datasets.digits import digits
    >>> split = pool_split(digits(), pool=600, models=4, reference=300, seed=0)
    >>> split.counts
    {'pool': 600, 'models': 4, 'reference': 300, 'test': 897}
    >>> split.use.sum(axis=1).tolist(), np.bincount(split.use.sum(axis=0)).tolist()
    ([293, 307, 288, 282], [48, 144, 228, 150, 30])
    """
    if models < 2:
        raise InputError(f"models is {models}.", "Use a target and at least one shadow model.")
    parts = split_of(data, pool, reference, seed)
    attacked = [parts.members, parts.non_members, parts.shadow_members, parts.shadow_non_members]
    ids = np.sort(np.concatenate(attacked))
    coins = [
        np.random.default_rng(derive(seed, "membership", model)).random(len(ids)) < 0.5
        for model in range(models)
    ]
    return PoolSplit(ids, np.array(coins).astype(np.int8), parts.reference, parts.test)


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
