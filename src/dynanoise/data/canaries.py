"""Canaries: mislabelled and atypical records, which models memorise first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Int64
from dynanoise.core.seeding import derive
from dynanoise.data.dataset import Data
from dynanoise.data.text import PADDING


@dataclass(frozen=True, eq=False)
class Canaries:
    """Records that were changed to canaries.

    Attributes:
        mislabelled: int64 [n], ids in ascending order; they have another class's label.
        atypical: int64 [n], ids in ascending order; their input is made of two records.
    """

    mislabelled: Int64
    atypical: Int64

    @property
    def ids(self) -> Int64:
        """All of them, in ascending order."""
        return np.sort(np.concatenate([self.mislabelled, self.atypical]))

    @property
    def counts(self) -> dict[str, int]:
        """Number of canaries of each kind, by the names of `Result.counts`."""
        return {
            "canaries_mislabelled": len(self.mislabelled),
            "canaries_atypical": len(self.atypical),
        }


def plant(data: Data, ids: Int64, count: int, seed: int) -> tuple[Data, Canaries]:
    """Turn some records into canaries, which stand for the records that leak most.

    An average over typical records says little about the few that are memorised (Aerni, Zhang &
    Tramer 2024, arXiv:2404.17399). Half of the canaries, the larger one, get a label of
    another class, drawn uniformly. The others become atypical: the mean of their input and that of
    another record of a different class, rounded where inputs are integers; of texts, the tokens of
    the two alternating (see `alternating`). Their label is either record's, by a fair coin. Both
    records are taken from the data before any change, the other one from the same ids; the other
    one is not changed.

    Args:
        data: the data set, which is not changed.
        ids: int64 [N], the records that may become canaries.
        count: number of canaries, 1..N.
        seed: the run's seed.

    Returns:
        The data with these records changed, under the same name, and the canaries.

    Raises:
        InputError: for another count, or if all of these records are of one class.

    >>> from dynanoise.data.datasets.digits import digits
    >>> changed, canaries = plant(digits(), np.arange(600), 4, seed=0)
    >>> canaries.mislabelled.tolist(), canaries.atypical.tolist()
    ([353, 525], [319, 488])
    >>> digits().labels[canaries.mislabelled].tolist(), changed.labels[[353, 525]].tolist()
    ([4, 9], [7, 6])
    """
    if not 1 <= count <= len(ids):
        raise InputError(
            f"{count} canaries do not fit a pool of {len(ids)} records.",
            f"Use 1 to {len(ids)} of them.",
        )
    if len(np.unique(data.labels[ids])) < 2:
        raise InputError("All records of the pool are of one class.", "Use a larger pool.")
    generator = np.random.default_rng(derive(seed, "canaries"))
    chosen = generator.choice(ids, count, replace=False)
    half = (count + 1) // 2
    canaries = Canaries(np.sort(chosen[:half]), np.sort(chosen[half:]))
    inputs, labels = data.inputs.copy(), data.labels.copy()
    away = generator.integers(1, data.classes, half)
    labels[canaries.mislabelled] = (labels[canaries.mislabelled] + away) % data.classes
    for record in canaries.atypical:
        other = generator.choice(ids[data.labels[ids] != data.labels[record]])
        labels[record] = data.labels[generator.choice([record, other])]
        inputs[record] = _mixed(data, record, other)
    return replace(data, inputs=inputs, labels=labels), canaries


def _mixed(data: Data, first: int, second: int) -> npt.NDArray[Any]:
    """The mean of two records' inputs, or their tokens by turns."""
    a, b = data.inputs[first], data.inputs[second]
    if data.vocabulary_size is not None:
        return alternating(a, b)
    mean = (a.astype(np.float64) + b) / 2
    rounded: npt.NDArray[Any] = np.rint(mean) if a.dtype.kind in "iu" else mean
    return rounded.astype(a.dtype)


def alternating(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The tokens of two texts by turns, then the rest of the longer one, cut to their length.

    Args:
        first: token ids [L], padded with 0.
        second: token ids [L], padded with 0.

    Returns:
        Token ids [L], padded with 0.

    >>> alternating(np.array([5, 6, 0, 0, 0]), np.array([7, 8, 9, 0, 0])).tolist()
    [5, 7, 6, 8, 9]
    >>> alternating(np.array([1, 2, 3]), np.array([4, 0, 0])).tolist()
    [1, 4, 2]
    """
    parts = [tokens[tokens != PADDING] for tokens in (first, second)]
    turns = np.concatenate([2 * np.arange(len(part)) + i for i, part in enumerate(parts)])
    mixed = np.concatenate(parts)[np.argsort(turns)][: len(first)]
    return np.pad(mixed, (0, len(first) - len(mixed)), constant_values=PADDING)
