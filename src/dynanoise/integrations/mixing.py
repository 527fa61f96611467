"""Classifiers of scikit-learn that predict a record by the records beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _num_samples

from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Floats
from dynanoise.integrations.batches import differs

MIXED = 64
"""Training records that are predicted together and apart."""


def first_records(X: Any, count: int) -> Any:
    """Take the first records of inputs of any kind that scikit-learn takes.

    Args:
        X: inputs of N records.
        count: how many, at most.
    """
    (rows,) = indexable(X)
    return _safe_indexing(rows, np.arange(min(count, _num_samples(rows))))


def refuse_mixing(estimator: Any, X: Any, predict: Callable[[Any, Any], Floats]) -> None:
    """Refuse a classifier that predicts other probabilities for a record beside other records.

    Args:
        estimator: a fitted classifier.
        X: inputs of N records; the first half is predicted twice, beside the other and alone.
        predict: computes probabilities [N, K] from the classifier and inputs.

    Raises:
        InputError: if they differ by more than rounding.

    >>> def centred(_, rows):
    ...     return rows - rows.mean(axis=0)
    >>> refuse_mixing("m", np.eye(4), lambda _, rows: rows)
    >>> refuse_mixing("m", np.eye(4), centred)
    Traceback (most recent call last):
        ...
    dynanoise.core.errors.InputError: str predicts other probabilities for a record beside ...
    """
    half = _num_samples(X) // 2
    if half and differs(predict(estimator, X)[:half], predict(estimator, first_records(X, half))):
        raise InputError(
            f"{type(estimator).__name__} predicts other probabilities for a record beside other "
            "records, or from call to call: repeated queries would average keyed noise out.",
            "Fit what depends on several records, such as scaling: StandardScaler() in place of "
            "FunctionTransformer(scale).",
        )
