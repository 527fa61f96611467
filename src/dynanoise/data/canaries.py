"""Canaries: mislabelled and atypical records, which models learn by heart if they learn any."""

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
    """Which records were changed, and how.

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
        """How many of each kind."""
        return {
            "canaries_mislabelled": len(self.mislabelled),
            "canaries_atypical": len(self.atypical),
        }


def plant(data: Data, ids: Int64, count: int, seed: int) -> tuple[Data, Canaries]:
    """Turns some records into canaries, which stand for the records that leak most.

    An average over typical records says little about the few that are learned by heart (Aerni,
    Zhang & Tramer 2024, arXiv:2404.17399). Half of the canaries, the larger one, get a label of
    another class, drawn uniformly. The others become atypical: the mean of their input and that of
    another record of a different class, rounded where inputs are integers; of texts, the tokens of
    the two alternating (see `alternating`). Their label is either record's, by a fair coin. What
    they are made of are records as they were, the other one of the same ids; it stays where it is.

    Args:
        data: the data set, which stays as it is.
        ids: int64 [N], which records may become canaries.
        count: how many do, 1..N.
        seed: the run's seed.

    Returns:
        The data with these records changed, under the same name, and which records these are.

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
    found = Canaries(np.sort(chosen[:half]), np.sort(chosen[half:]))
    inputs, labels = data.inputs.copy(), data.labels.copy()
    away = generator.integers(1, data.classes, half)
    labels[found.mislabelled] = (labels[found.mislabelled] + away) % data.classes
    for own in found.atypical:
        other = generator.choice(ids[data.labels[ids] != data.labels[own]])
        labels[own] = data.labels[generator.choice([own, other])]
        inputs[own] = _mixed(data, own, other)
    return replace(data, inputs=inputs, labels=labels), found


def _mixed(data: Data, first: int, second: int) -> npt.NDArray[Any]:
    """An input that looks like neither of two."""
    one, two = data.inputs[first], data.inputs[second]
    if data.vocabulary_size is not None:
        return alternating(one, two)
    mean = (one.astype(np.float64) + two) / 2
    rounded: npt.NDArray[Any] = np.rint(mean) if one.dtype.kind in "iu" else mean
    return rounded.astype(one.dtype)


def alternating(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The tokens of two texts by turns, then what is left of the longer one, cut to their length.

    Args:
        first: token ids [L], padded with 0.
        second: likewise.

    >>> alternating(np.array([5, 6, 0, 0, 0]), np.array([7, 8, 9, 0, 0])).tolist()
    [5, 7, 6, 8, 9]
    >>> alternating(np.array([1, 2, 3]), np.array([4, 0, 0])).tolist()
    [1, 4, 2]
    """
    parts = [tokens[tokens != PADDING] for tokens in (first, second)]
    turns = np.concatenate([2 * np.arange(len(part)) + i for i, part in enumerate(parts)])
    mixed = np.concatenate(parts)[np.argsort(turns)][: len(first)]
    return np.pad(mixed, (0, len(first) - len(mixed)), constant_values=PADDING)
