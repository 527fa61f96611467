"""Inputs of any kind as a few numbers a record, for models that learn from numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, issparse

from dynanoise.core.numerics import Float64, Int64
from dynanoise.core.seeding import derive
from dynanoise.data.dataset import Data

MOST_FEATURES = 100
"""Numbers of a record; of more, as many principal components."""


def data_features(data: Data, ids: Int64, seed: int) -> Float64:
    """Make at most 100 numbers of some records of a data set; of texts from counts of words.

    Args:
        data: the data set.
        ids: records.
        seed: seed of principal components.

    Returns:
        float64 [D, F], a row for every record of the data set; NaN for those that are not named.

    >>> data = Data("made up", np.arange(6.0).reshape(3, 2), np.array([0, 1, 0]), 2)
    >>> data_features(data, np.array([0, 2]), seed=0).tolist()
    [[0.0, 1.0], [nan, nan], [4.0, 5.0]]
    """
    inputs: Any = data.inputs[ids]
    if data.vocabulary_size is not None:
        starts = np.arange(len(inputs) + 1) * inputs.shape[1]
        counts = np.ones(inputs.size)
        inputs = csr_array((counts, inputs.ravel(), starts), (len(ids), data.vocabulary_size))
    numbers = number_features(inputs, seed)
    features = np.full((len(data.labels), numbers.shape[1]), np.nan)
    features[ids] = numbers
    return features


def number_features(inputs: Any, seed: int) -> Float64:
    """Make at most 100 numbers a record: columns, codes of their texts, or principal components.

    Args:
        inputs: inputs of N records, in any form that rows can be taken from.
        seed: seed of the principal components.

    Returns:
        float64 [N, F].

    Raises:
        TypeError: if the inputs are neither numbers nor texts, nor columns of them.
        ValueError: likewise.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer

    state = derive(seed, "components") % 2**32
    if not issparse(inputs):
        names = getattr(inputs, "column_names", getattr(inputs, "columns", None))
        if names is not None:
            columns = [np.asarray(inputs[name]) for name in names]
        else:
            array = np.asarray(inputs)
            if array.ndim == 1 and array.dtype.kind in "OU":
                inputs = HashingVectorizer(n_features=2**12).transform([str(x) for x in array])
            array = array.reshape(len(array), -1)
            columns = list(array.T)
        if not issparse(inputs):
            wide = np.column_stack([_numbers(column) for column in columns])
            # Boosting takes missing values, and infinite ones it does not.
            wide[~np.isfinite(wide)] = np.nan
            if wide.shape[1] <= MOST_FEATURES:
                return wide
            filled = np.nan_to_num(wide)
            spread = filled.std(axis=0)
            inputs = (filled - filled.mean(axis=0)) / np.where(spread > 0, spread, 1)
    if inputs.shape[1] <= MOST_FEATURES:
        return np.asarray(inputs.toarray(), dtype=np.float64)
    return np.asarray(TruncatedSVD(MOST_FEATURES, random_state=state).fit_transform(inputs))


def _numbers(column: npt.NDArray[Any]) -> Float64:
    """A column as numbers; texts and other values by their place in sorted order."""
    try:
        return column.astype(np.float64)
    except (TypeError, ValueError):
        return np.unique([str(value) for value in column], return_inverse=True)[1].astype(float)
