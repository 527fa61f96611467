"""Splits of a data set: members, non-members, the attacker's records, data for utility."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int8, Int64
from dynanoise.core.seeding import derive
from dynanoise.data.dataset import Data


@dataclass(frozen=True, eq=False)
class PaperSplit:
    """Disjoint record ids, each int64 [n], for the paper's protocol.

    Attributes:
        members, non_members: the target model's.
        shadow_members, shadow_non_members: those of the attacker's shadow models.
        reference: known non-members of every model, for defenders that must learn something.
        test: records that utility is measured on.
    """

    members: Int64
    non_members: Int64
    shadow_members: Int64
    shadow_non_members: Int64
    reference: Int64
    test: Int64

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over every part's name and ids, in order."""
        digest = hashlib.sha256()
        for part in fields(self):
            ids: Int64 = getattr(self, part.name)
            digest.update(f"{part.name}:{len(ids)}:".encode() + ids.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    @property
    def ids(self) -> Int64:
        """Ids of all parts, in ascending order."""
        return np.sort(np.concatenate([getattr(self, part.name) for part in fields(self)]))

    @property
    def counts(self) -> dict[str, int]:
        """Number of records of each part."""
        return {part.name: len(getattr(self, part.name)) for part in fields(self)}


def paper_split(records: int, pool: int, reference: int, seed: int) -> PaperSplit:
    """Draw a random split in the proportions of arXiv:2505.13362v2.

    Of ``pool`` records 70% belong to the target (80% of them members) and 30% to the attacker
    (half of them the shadows' members). Of the others ``reference`` are known non-members and the
    rest are test data, so nothing that is scored is used for anything else.

    Args:
        records: number of records.
        pool: number of them that take part in the attack, >= 10.
        reference: number of others that are the defender's known non-members, >= 1.
        seed: the run's seed.

    Raises:
        InputError: if the parts do not fit into the records.

    >>> paper_split(records=50_000 + 10_000, pool=50_000, reference=5_000, seed=0).counts
    ... # doctest: +NORMALIZE_WHITESPACE
    {'members': 28000, 'non_members': 7000, 'shadow_members': 7500, 'shadow_non_members': 7500,
     'reference': 5000, 'test': 5000}
    """
    if pool < 10 or reference < 1 or pool + reference >= records:
        raise InputError(
            f"A pool of {pool} and {reference} reference records do not fit {records} records.",
            "Use a pool of 10 or more and leave at least one record for testing.",
        )
    ids = np.random.default_rng(derive(seed, "split")).permutation(records)
    return _dealt(ids, pool, reference)


def published_split(
    records: int, test_from: int, pool: int, reference: int, seed: int
) -> PaperSplit:
    """Draw a `paper_split` of data with an official test part, which stays the test data.

    The pool is drawn from the ids before ``test_from``. So is the reference where enough of them
    are left, because members come from there too; else it is taken from the test part.

    Args:
        records: number of records.
        test_from: the first id of the official test part.
        pool: number of records before it that take part in the attack, >= 10.
        reference: number of records that are the defender's known non-members, >= 1. The rest of
            the test part is test data.
        seed: the run's seed.

    Raises:
        InputError: if the parts do not fit into the records.

    >>> published_split(60_000, 50_000, pool=50_000, reference=2_000, seed=0).counts
    ... # doctest: +NORMALIZE_WHITESPACE
    {'members': 28000, 'non_members': 7000, 'shadow_members': 7500, 'shadow_non_members': 7500,
     'reference': 2000, 'test': 8000}
    >>> small = published_split(60_000, 50_000, pool=10_000, reference=2_000, seed=0)
    >>> small.counts["test"], int(small.reference.max()) < 50_000
    (10000, True)
    """
    spare = reference if 1 <= reference <= test_from - pool else 0
    if not 10 <= pool <= test_from or not 1 <= reference < records - test_from + spare:
        raise InputError(
            f"A pool of {pool} and {reference} reference records do not fit {test_from} records "
            f"for training and {records - test_from} for testing.",
            "Use a pool of 10 or more and leave at least one record for testing.",
        )
    return _dealt(_ordered(records, test_from, pool + spare, seed), pool, reference)


def _ordered(records: int, test_from: int, before: int, seed: int) -> Int64:
    """Ids in the order of dealing: ``before`` of the training part, then the whole test part."""
    generator = np.random.default_rng(derive(seed, "split"))
    training = generator.permutation(test_from)[:before]
    return np.concatenate([training, test_from + generator.permutation(records - test_from)])


def split_of(data: Data, pool: int, reference: int, seed: int) -> PaperSplit:
    """Draw `published_split` where the data have an official test part, else `paper_split`.

    Args:
        data: the data set.
        pool: see `paper_split`.
        reference: see `paper_split`.
        seed: the run's seed.

    Raises:
        InputError: if the parts do not fit into the records.
    """
    if data.test_from is None:
        return paper_split(len(data), pool, reference, seed)
    return published_split(len(data), data.test_from, pool, reference, seed)


def _dealt(ids: Int64, pool: int, reference: int) -> PaperSplit:
    """Deal out shuffled ids in the paper's proportions: the pool's first, test data last."""
    target = int(0.7 * pool)
    members = int(0.8 * target)
    shadow_members = (pool - target) // 2
    parts = np.split(
        ids,
        np.cumsum(
            [members, target - members, shadow_members, pool - target - shadow_members, reference]
        ),
    )
    return PaperSplit(*(np.sort(part) for part in parts))


@dataclass(frozen=True, eq=False)
class PoolSplit:
    """Disjoint record ids in ascending order, and the members of each model of a pool.

    Attributes:
        pool: int64 [N], the records that models are trained on and attacked about.
        use: int8 [M, N], 1 where a model is trained on a record, else 0.
        reference: int64, known non-members of all models.
        test: int64, records that utility is measured on.
    """

    pool: Int64
    use: Int8
    reference: Int64
    test: Int64

    @property
    def ids(self) -> Int64:
        """Ids of all parts, in ascending order."""
        return np.sort(np.concatenate([self.pool, self.reference, self.test]))

    @property
    def attacked(self) -> Int64:
        """The ids of the pool and the reference, in ascending order."""
        return np.sort(np.concatenate([self.pool, self.reference]))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over all parts and memberships."""
        digest = hashlib.sha256()
        for ids in (self.pool, self.reference, self.test):
            digest.update(f"{len(ids)}:".encode() + ids.astype("<i8").tobytes())
        digest.update(self.use.tobytes())
        return digest.hexdigest()[:16]

    @property
    def counts(self) -> dict[str, int]:
        """Number of records of each part, and of models."""
        return {
            "pool": len(self.pool),
            "models": len(self.use),
            "reference": len(self.reference),
            "test": len(self.test),
        }


def pool_split(data: Data, pool: int, models: int, reference: int, seed: int) -> PoolSplit:
    """Draw records for a pool, and membership by a fair coin for every model and record.

    A record is not in exactly half of the models, because then the membership of all other
    models would give away that of the last one. The records are those of `split_of` with the same
    numbers and seed.

    Args:
        data: the data set.
        pool: number of records, >= 10.
        models: number of models, >= 2. More of them leave the membership of the first unchanged.
        reference: number of known non-members, >= 1.
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
